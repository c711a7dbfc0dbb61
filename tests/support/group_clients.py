"""Clients of a durable group of the gateway, and how far the group is."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from snowbus.bus.event import DEAD_TOPIC, EVENTS_TOPIC
from snowbus.bus.log import Log
from snowbus.consumers.dead_letters import Death, read_death

from .aio import eventually
from .gateway import Client, Running, client

GROUP = "websocket.g"
HANDLED = {"consumer": "websocket", "outcome": "handled"}


class Worker:
    """A client of a group."""

    def __init__(self, reader: Client) -> None:
        self.reader = reader
        self.messages: list[dict[str, Any]] = []

    @property
    def numbers(self) -> list[int]:
        """The events that it has been sent and has taken."""
        return [int(message["payload"]["eid"]) for message in self.messages]

    async def take(self, count: int) -> list[int]:
        """The numbers of the next events."""
        for _ in range(count):
            self.messages.append(await self.reader.next("event", "error"))
            assert self.messages[-1]["type"] == "event", self.messages[-1]
        return self.numbers[-count:] if count else []

    async def say(self, kind: str = "ack", at: int = -1, **members: Any) -> None:
        """Answer a message, the last unless said."""
        cursor = self.messages[at]["cursor"]
        await self.reader.connection.send(json.dumps({"type": kind, "cursor": cursor, **members}))

    async def ack_all(self, into: list[int]) -> None:
        """Acknowledge everything, until cancelled."""
        while True:
            into += await self.take(1)
            await self.say()

    async def gets_nothing(self) -> None:
        """A heartbeat comes, and no event before it."""
        await self.reader.connection.ping()
        for _ in range(2):
            assert (await self.reader.next("event", "heartbeat"))["type"] == "heartbeat"


@asynccontextmanager
async def worker(running: Running, query: str = "", **options: Any) -> AsyncIterator[Worker]:
    """A connection of group g."""
    async with client(running, f"group=g&from=earliest&{query}", **options) as reader:
        yield Worker(reader)


async def lag(log: Log) -> int:
    """How many events the group has still to do."""
    offsets = await log.group_offsets(GROUP)
    found = await log.lag(GROUP)
    events = [partition for partition in found if partition.topic == EVENTS_TOPIC]
    return sum(found[partition] for partition in events) if offsets else -1


async def committed(log: Log) -> None:
    """Wait until the group has done everything."""

    async def done() -> bool:
        return await lag(log) == 0

    await eventually(done)


async def dead_letters(log: Log) -> list[Death]:
    """The deaths on the topic of dead letters."""
    begin, end = await log.beginning_offsets(DEAD_TOPIC), await log.end_offsets(DEAD_TOPIC)
    deaths: list[Death] = []
    async with await log.read(begin) as reader:
        while len(deaths) < sum(end.values()) - sum(begin.values()):
            deaths += [read_death(record) for record in await reader.poll()]
    return deaths


async def refused(running: Running, query: str) -> tuple[int, str]:
    """How a handshake is refused."""
    with pytest.raises(InvalidStatus) as caught:
        async with client(running, query):
            pass
    response = caught.value.response
    return response.status_code, (response.body or b"").decode()
