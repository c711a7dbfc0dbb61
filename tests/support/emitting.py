"""Where emitters send to in tests, and what has arrived there."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snowplow_tracker import PageView, SelfDescribing, SelfDescribingJson, Subject, Tracker
from support.aio import run
from support.collector_double import CollectorDouble
from support.forwarding import read_all
from support.snowbus import Process

from snowbus.bus.envelope import decode_event
from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.log import open_log
from snowbus.bus.payload import load_payload
from snowbus.producers.emitters import BusEmitter, CollectorEmitter, Emitter, LogfileEmitter

Payload = dict[str, str]

ADDED = SelfDescribingJson("iglu:com.acme/added/jsonschema/1-0-0", {"sku": "Ä-1"})
KINDS = ("sqlite", "kafka", "ingest", "collector", "logfile")


@dataclass
class Place:
    """A destination: the class of its emitter, what that is given, and what has arrived there, less `stm`."""

    emitter: type[Emitter]
    address: str
    arrived: Callable[[], list[Payload]]

    def make(self, **options: Any) -> Any:
        """An emitter that sends there."""
        return self.emitter(self.address, **options)  # type: ignore[call-arg, arg-type]

    def script(self, **options: Any) -> str:
        """The same as an expression, for another process."""
        given = "".join(f", {name}={value!r}" for name, value in options.items())
        return f"{self.emitter.__name__}({self.address!r}{given})"


class Recorder:
    """An emitter that keeps what the tracker handed over, as the official emitter would send it."""

    def __init__(self) -> None:
        self.payloads: list[Payload] = []

    def input(self, payload: dict[str, Any]) -> None:
        self.payloads.append({code: str(value) for code, value in payload.items()})


def track(tracker: Tracker, count: int = 1, *, user: str = "u-1") -> None:
    """Two events of one user, so many times."""
    for number in range(count):
        subject = Subject().set_user_id(user)
        tracker.track(PageView(f"https://shop.example/{number}", event_subject=subject))
        tracker.track(SelfDescribing(ADDED, event_subject=subject))


def payloads_on(url: str, topic: str = EVENTS_TOPIC) -> list[Payload]:
    """The payloads on a log, in the order of their partitions and offsets."""

    async def main() -> list[Payload]:
        async with await open_log(url) as log:
            return [load_payload(decode_event(record.value).payload) for record in await read_all(log, topic)]

    return run(main())


def lines_in(*paths: Path) -> list[Payload]:
    """The payloads in logfiles, in order."""
    return [json.loads(line) for path in paths for line in path.read_text("utf-8").splitlines()]


@contextmanager
def place(kind: str, folder: Path, log_url: str) -> Iterator[Place]:
    """One of KINDS. An ingest writes to the log."""
    match kind:
        case "sqlite" | "kafka":
            yield Place(BusEmitter, log_url, lambda: payloads_on(log_url))
        case "ingest":
            with Process("ingest", "--log", log_url, "--listen", "127.0.0.1:0", cwd=folder) as process:
                yield Place(BusEmitter, process.address("ingest"), lambda: without_stm(payloads_on(log_url)))
        case "collector":
            with CollectorDouble() as collector:
                yield Place(CollectorEmitter, collector.url, lambda: without_stm(collector.accepted))
                assert collector.violations == []
        case _:
            path = folder / "events.ndjson"
            yield Place(LogfileEmitter, str(path), lambda: lines_in(path))


def without_stm(payloads: list[Payload]) -> list[Payload]:
    """Payloads, less when they were sent, which whoever sends them writes."""
    return [{code: value for code, value in payload.items() if code != "stm"} for payload in payloads]
