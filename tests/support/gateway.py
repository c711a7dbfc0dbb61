"""Runs the gateway in a test, publishes numbered events for it, and reads as its clients do."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from support.asyncapi import check_gateway_message
from websockets.asyncio.client import ClientConnection, connect

from snowbus.bus.envelope import event_record
from snowbus.bus.event import EVENTS_TOPIC, Event, ProducerRecord
from snowbus.bus.log import Log, open_log
from snowbus.bus.metrics import Metrics
from snowbus.bus.payload import dump_payload
from snowbus.bus.settings import Settings
from snowbus.consumers.gateway.server import run_gateway

_CHECKED_EVENTS = 20
_CHECKED_CHARACTERS = 20_000
DEFAULTS = {"gateway_listen": "127.0.0.1:0", "gateway_heartbeat": 0.2}


def numbered(number: int, *, user: str = "", timestamp: int | None = None, **parameters: str) -> ProducerRecord:
    """An event whose `eid` is its number."""
    payload = {"tv": "test-1", "p": "srv", "e": "pv", "eid": str(number), "uid": user or f"user-{number % 7}"}
    payload |= parameters
    now = time.time_ns() // 1_000_000 if timestamp is None else timestamp
    return event_record(Event(payload["eid"], now, dump_payload(payload), {"ip": "203.0.113.7"}), payload)


async def publish(log: Log, numbers: Iterable[int], **parameters: Any) -> None:
    """Append numbered events, making the topic when it is missing."""
    await log.create_topics([EVENTS_TOPIC])
    await log.append(EVENTS_TOPIC, [numbered(number, **parameters) for number in numbers])


class Running:
    """A gateway that runs; `log` is its own."""

    def __init__(self, log: Log, settings: Settings) -> None:
        self.log = log
        self.settings = settings
        self.metrics = Metrics()
        self.address = ""
        self._stop = asyncio.Event()
        self.task: asyncio.Task[None]

    async def start(self) -> None:
        """Start it, and wait until it listens."""
        ready = asyncio.Event()

        def tell(address: str) -> None:
            self.address = address
            ready.set()

        self._stop = asyncio.Event()
        self.task = asyncio.create_task(run_gateway(self.log, self.settings, self.metrics, ready=tell, stop=self._stop))
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({waiting, self.task}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self.task.done():
            self.task.result()

    async def stop(self) -> None:
        """As SIGTERM does."""
        self._stop.set()
        await self.task

    def url(self, query: str = "") -> str:
        """The address of a subscription."""
        return f"{self.address.replace('http://', 'ws://')}/v1/events" + (f"?{query}" if query else "")

    def sample(self, name: str, **labels: str) -> float:
        """A metric's value."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def gateway(log: str | Log, **overrides: Any) -> AsyncIterator[Running]:
    """Run a gateway on a log; stopped at the end, when it is not stopped before."""
    settings = Settings(**(DEFAULTS | overrides))
    opened = await open_log(log, settings.log_options()) if isinstance(log, str) else log
    async with opened:
        running = Running(opened, settings)
        await running.start()
        try:
            yield running
        finally:
            await running.stop()


class Client:
    """A reader: what it was greeted with, and what came since; each message must keep the contract."""

    def __init__(self, connection: ClientConnection, hello: dict[str, Any]) -> None:
        self.connection = connection
        self.hello = hello
        self.cursor: str | None = hello["cursor"]
        self._events = 0

    async def next(self, *types: str) -> dict[str, Any]:
        """The next message, or the next of these types."""
        while True:
            text = await self.connection.recv()
            message: dict[str, Any] = json.loads(text)
            self._check(message, len(text))
            self.cursor = message.get("cursor") or self.cursor
            if not types or message["type"] in types:
                return message

    def _check(self, message: dict[str, Any], size: int) -> None:
        """Every kind of message, the first events, and none that is long: most take half a millisecond."""
        self._events += message["type"] == "event"
        if size < _CHECKED_CHARACTERS and (message["type"] != "event" or self._events <= _CHECKED_EVENTS):
            check_gateway_message(message)

    async def until(self, done: Callable[[list[dict[str, Any]]], Any], *types: str) -> list[dict[str, Any]]:
        """Messages of these types (events unless said), until `done` of all of them is true."""
        messages: list[dict[str, Any]] = []
        while not done(messages):
            messages.append(await self.next(*(types or ("event",))))
        return messages

    async def numbers(self, count: int) -> list[int]:
        """The numbers of the next events."""
        return [int(message["payload"]["eid"]) for message in await self.until(lambda found: len(found) >= count)]


@asynccontextmanager
async def client(running: Running, query: str = "", **options: Any) -> AsyncIterator[Client]:
    """Connect, and take the hello."""
    settings = {"max_size": None, "compression": None, "close_timeout": 0.2} | options
    async with connect(running.url(query), **settings) as connection:
        hello = json.loads(await connection.recv())
        check_gateway_message(hello)
        yield Client(connection, hello)
