"""A stream of numbered events under which consumers are killed, and what they have handled or delivered of it."""

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from support.aio import soon
from support.collector_double import CollectorDouble
from support.forwarding import numbered
from support.snowbus import Process

from snowbus.bus.event import DEAD_TOPIC, EVENTS_TOPIC, RETRY_TOPIC, ProducerRecord
from snowbus.bus.log import Log, LogOptions, open_log
from snowbus.cli import exit_codes

KEYS = 97
_TICK_SECONDS = 0.02
_JOURNAL = "journal.txt"
_MODULE = """\
import asyncio, os, random
from snowbus.consumers import consumer

journal = os.open({journal!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

@consumer("snowbus.events", group_id="stock", concurrency=16, max_in_flight={max_in_flight})
async def stock(record):
    await asyncio.sleep(random.uniform(0, 0.01))
    os.write(journal, b"%d %s %s\\n" % (os.getpid(), record.key, record.event_id.encode()))
"""


class Line(NamedTuple):
    """That a process has handled an event: what a handler writes last."""

    pid: int
    key: str
    number: int


class Handled(ABC):
    """What has been handled, in the order in which it was, and what that says of repeats and of order."""

    @abstractmethod
    def lines(self) -> list[Line]:
        """Every line, in order."""

    def numbers(self) -> set[int]:
        """The events that have been handled."""
        return {line.number for line in self.lines()}

    def repeats(self, kills: Sequence[int]) -> list[int]:
        """For each kill, which came when there were so many lines: how many events that were handled before it, and
        after the one before it, were handled again.
        """
        counts = [0] * len(kills)
        for before, _ in self._again():
            counts[min(bisect_right(kills, before), len(kills) - 1)] += 1
        return counts

    def furthest(self, kills: Sequence[int]) -> int:
        """How many lines before its kill the earliest stands whose event was handled again."""
        return max((kills[bisect_right(kills, before)] - before for before, _ in self._again()), default=0)

    def out_of_order(self) -> list[Line]:
        """The lines that are the first of their event, and come behind a later event of their key."""
        latest: dict[str, int] = {}
        seen: set[int] = set()
        found = []
        for line in self.lines():
            if line.number not in seen and line.number < latest.get(line.key, -1):
                found.append(line)
            seen.add(line.number)
            latest[line.key] = max(line.number, latest.get(line.key, -1))
        return found

    def _again(self) -> list[tuple[int, int]]:
        """For each line whose event stands further up: where it does last, and where the line is."""
        last: dict[int, int] = {}
        found = []
        for at, line in enumerate(self.lines()):
            if line.number in last:
                found.append((last[line.number], at))
            last[line.number] = at
        return found


class Journal(Handled):
    """What the consumer `stock` in a folder has handled, whichever process it was."""

    def __init__(self, folder: Path, *, max_in_flight: int) -> None:
        self._path = folder / _JOURNAL
        self._path.touch()
        module = _MODULE.format(journal=str(self._path), max_in_flight=max_in_flight)
        (folder / "stock.py").write_text(module, "utf-8")

    @property
    def size(self) -> int:
        """How many lines there are."""
        return self._path.read_bytes().count(b"\n")

    def lines(self) -> list[Line]:
        """Every line, in order, but for one that is being written."""
        whole, _, _ = self._path.read_text("utf-8").rpartition("\n")
        found = (line.split() for line in whole.splitlines())
        return [Line(int(pid), key, int(number)) for pid, key, number in found]

    def has(self, pid: int) -> bool:
        """Whether a process has handled anything."""
        return any(line.pid == pid for line in self.lines())


class Taken(Handled):
    """What a collector double has taken of the events of a Stream."""

    def __init__(self, collector: CollectorDouble) -> None:
        self._collector = collector

    @property
    def size(self) -> int:
        """How many events, repeats included."""
        return len(self._collector.accepted)

    def lines(self) -> list[Line]:
        """Every event, in the order of arrival."""
        return [Line(0, payload["uid"], int(payload["eid"])) for payload in list(self._collector.accepted)]


class Stream(threading.Thread):
    """Appends events 0, 1, 2, … of many users, so many a second, until it is stopped; each append waits for the log.

    They have these parameters of the tracker protocol, beside those of each.
    """

    def __init__(self, url: str, *, rate: int = 500, **parameters: str) -> None:
        super().__init__(daemon=True)
        self.count = 0
        self.url = url
        self._rate = rate
        self._parameters = parameters
        self._ended = threading.Event()
        self._begun = threading.Event()

    def run(self) -> None:
        """Called by the thread."""
        asyncio.run(self._append())

    def start(self) -> None:
        """Start, and return when the topics are there and the first events appended."""
        super().start()
        assert self._begun.wait(30), "nothing was appended"

    def stop(self) -> int:
        """End with the append under way; returns how many events there are."""
        self._ended.set()
        self.join(60)
        assert not self.is_alive(), "an append is still under way"
        return self.count

    async def _append(self) -> None:
        async with await open_log(self.url, LogOptions(append_timeout=60.0)) as log:
            await log.create_topics([EVENTS_TOPIC, DEAD_TOPIC, RETRY_TOPIC])
            size = round(self._rate * _TICK_SECONDS)
            while not self._ended.is_set():
                due = time.monotonic() + _TICK_SECONDS
                numbers = range(self.count, self.count + size)
                await log.append(EVENTS_TOPIC, [self._record(number) for number in numbers])
                self.count += size
                self._begun.set()
                await asyncio.sleep(due - time.monotonic())

    def _record(self, number: int) -> ProducerRecord:
        return numbered(number, user=f"user-{number % KEYS}", **self._parameters)


async def append_backlog(log: Log, count: int, *, batch: int = 5_000) -> None:
    """Append so many small events, of a thousand users."""
    await log.create_topics([EVENTS_TOPIC, DEAD_TOPIC, RETRY_TOPIC])
    records = [numbered(number, user=f"user-{number % 1_000}") for number in range(batch)]
    for _ in range(count // batch):
        await log.append(EVENTS_TOPIC, records)


def caught_up(handled: Handled, stream: Stream) -> int:
    """End the stream, and wait until all of it has been handled, and a moment for what should not be."""
    count = stream.stop()
    soon(lambda: len(handled.numbers()) >= count, timeout=60, every=0.2)
    time.sleep(0.5)
    assert handled.numbers() == set(range(count))
    return count


def restart_and_rebalance(
    join: Callable[[], Process], handled: Handled, stream: Stream, *, restarts: int, rebalances: int
) -> None:
    """While the stream flows, one member after the other comes and goes, and others beside one that stays: nothing is
    lost, nothing comes again, and keys stay in order. `join` returns once its member has something to do.
    """
    for _ in range(restarts):
        assert join().stop() == exit_codes.OK
    stays = join()
    for number in range(rebalances):
        others = [join() for _ in range(1 + number % 2)]
        for other in others:
            assert other.stop() == exit_codes.OK
    count = caught_up(handled, stream)
    assert stays.stop() == exit_codes.OK
    assert len(handled.lines()) == count, f"{len(handled.lines()) - count} events came again"
    assert handled.out_of_order() == []
    kind = stream.url.partition(":")[0]
    print(
        f"\n{kind}: {count} events, {restarts} restarts, {rebalances} times that others came and went: "
        f"0 lost, none came again, key order kept"
    )
