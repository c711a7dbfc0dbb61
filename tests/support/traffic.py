"""Who sends events to ingest until each has its 200, and who follows them on the gateway, wherever these are."""

import http.client
import itertools
import json
import random
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect

SCHEMA = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"
HEADERS = {"Content-Type": "application/json"}
Addresses = Callable[[], Sequence[str]]


class Publisher(threading.Thread):
    """Sends events in batches, each again and again until it gets its 200, as trackers do; ingest by chance.

    `acknowledged` holds the `eid`s, and when each was sent first, in seconds of `time.monotonic`.
    """

    def __init__(self, addresses: Addresses, *, name: str = "", batch: int = 1, every: float = 0.0) -> None:
        super().__init__(daemon=True)
        self.acknowledged: dict[str, float] = {}
        self.attempts = 0
        self._addresses = addresses
        self._prefix = name
        self._batch = batch
        self._every = every
        self._ended = threading.Event()

    def run(self) -> None:
        """Called by the thread."""
        numbers = itertools.count()
        while not self._ended.wait(self._every):
            event_ids = [f"{self._prefix}{next(numbers)}" for _ in range(self._batch)]
            events = [
                {"e": "pv", "p": "srv", "tv": "t", "eid": event_id, "uid": f"{self._prefix}user-{number % 7}"}
                for number, event_id in enumerate(event_ids)
            ]
            body = json.dumps({"schema": SCHEMA, "data": events}).encode()
            began = time.monotonic()
            while not self._send(body):
                time.sleep(0.02)
            self.acknowledged.update(dict.fromkeys(event_ids, began))

    def stop(self) -> None:
        """End with the batch under way."""
        self._ended.set()
        self.join(60)
        assert not self.is_alive(), "a batch is still not taken"

    def _send(self, body: bytes) -> bool:
        self.attempts += 1
        with suppress(OSError, http.client.HTTPException, IndexError):
            url = f"{random.choice(self._addresses())}/com.snowplowanalytics.snowplow/tp2"
            with urllib.request.urlopen(urllib.request.Request(url, body, HEADERS), timeout=15) as answer:
                return bool(answer.status == 200)
        return False


class Follower(threading.Thread):
    """Reads the stream, and comes back with its last cursor, to any gateway, whenever it is cut off.

    `seen` holds the `eid`s, and when each came first, in seconds of `time.monotonic`; `places` every event's place.
    """

    def __init__(self, addresses: Addresses) -> None:
        super().__init__(daemon=True)
        self.seen: dict[str, float] = {}
        self.places: list[tuple[int, int]] = []
        self.gaps: list[dict[str, Any]] = []
        self.connections = 0
        self._addresses = addresses
        self._ended = threading.Event()
        self._cursor = "earliest"

    def run(self) -> None:
        """Called by the thread."""
        while not self._ended.wait(0.05):
            with suppress(OSError, ConnectionClosed, InvalidHandshake, TimeoutError, EOFError, IndexError):
                self._follow(random.choice(self._addresses()))

    def stop(self) -> None:
        """End at once."""
        self._ended.set()
        self.join(10)

    def _follow(self, address: str) -> None:
        url = f"{address.replace('http', 'ws')}/v1/events?from={self._cursor}"
        with connect(url, open_timeout=5, close_timeout=0.1) as stream:
            self.connections += 1
            while not self._ended.is_set():
                with suppress(TimeoutError):
                    self._take(json.loads(stream.recv(timeout=0.2)))

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "event":
            self.seen.setdefault(message["payload"]["eid"], time.monotonic())
            self.places.append((message["partition"], message["offset"]))
        elif message["type"] == "gap":
            self.gaps.append(message)
        if message.get("cursor"):
            self._cursor = message["cursor"]


class _Ends(Protocol):
    def start(self) -> None: ...
    def stop(self) -> None: ...


@contextmanager
def flowing(*threads: _Ends) -> Iterator[None]:
    """Let them run meanwhile."""
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.stop()
