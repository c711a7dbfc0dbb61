"""Appends batches: those that are for one broker in the same turn of the event loop go in one request.

A broker takes the requests of a connection one after the other, and each costs it as much as dozens of records.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from aiokafka.protocol.produce import ProduceRequest

from ...event import TopicPartition
from ...tasks import cancelled
from .connections import Node


class Placed(NamedTuple):
    """What a broker answers for a batch: the code of an error, or 0, and the offset of its first record."""

    code: int
    offset: int


class _Batch(NamedTuple):
    partition: TopicPartition
    data: bytes
    answer: asyncio.Future[Placed]


class Produces:
    """The batches on their way to the brokers of one cluster; `send` asks a broker, which answers in `timeout_ms`."""

    def __init__(self, send: Callable[[Node, Any], Awaitable[Any]], *, timeout_ms: int) -> None:
        self._send = send
        self._timeout_ms = timeout_ms
        self._gathered: defaultdict[Node, list[_Batch]] = defaultdict(list)
        self._under_way: set[asyncio.Task[None]] = set()

    async def produce(self, leader: Node, partition: TopicPartition, data: bytes) -> Placed:
        """Append one batch, and return once all replicas in sync have it, or not. Raises aiokafka's errors."""
        batch = _Batch(partition, data, asyncio.get_running_loop().create_future())
        gathered = self._gathered[leader]
        gathered.append(batch)
        if len(gathered) == 1:
            task = asyncio.create_task(self._send_gathered(leader), name="snowbus-log-produce")
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return await batch.answer

    async def close(self) -> None:
        """Wait for no answer any more."""
        await cancelled(self._under_way)

    async def _send_gathered(self, leader: Node) -> None:
        waiting = {batch.partition: batch for batch in self._gathered.pop(leader) if not batch.answer.done()}
        by_topic: defaultdict[str, list[tuple[int, bytes]]] = defaultdict(list)
        for (topic, number), batch in waiting.items():
            by_topic[topic].append((number, batch.data))
        try:
            response = await self._send(leader, ProduceRequest(None, -1, self._timeout_ms, list(by_topic.items())))
        except Exception as error:  # noqa: BLE001 - whoever waits raises it
            for batch in waiting.values():
                if not batch.answer.done():
                    batch.answer.set_exception(error)
            return
        for topic, partitions in response.topics:
            for number, code, offset, *_ in partitions:
                answer = waiting[TopicPartition(topic, number)].answer
                if not answer.done():
                    answer.set_result(Placed(code, offset))
