"""Appends batches: one request after the other to each broker, with all that has come for it meanwhile.

A broker takes the requests of a connection one after the other, and each costs it as much as dozens of records. One
that throttles us by its quota answers, and reads on after the time that it tells (KIP-219): until then nothing is sent,
as it would stay unread while its time runs out.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from aiokafka.protocol.produce import ProduceRequest

from ...diagnostics import Diagnostics
from ...event import TopicPartition
from ...sparingly import SparingDiagnostics
from ...tasks import cancelled
from .connections import Node

logger = Diagnostics(__name__)

_COMPLAIN_SECONDS = 60.0


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
        self._senders: dict[Node, asyncio.Task[None]] = {}
        self._throttled_until: dict[Node, float] = {}
        self._diagnostics = SparingDiagnostics(logger, seconds=_COMPLAIN_SECONDS)

    @property
    def trouble(self) -> str:
        """That a broker throttles us, while one does."""
        now = asyncio.get_running_loop().time()
        is_throttled = any(until > now for until in self._throttled_until.values())
        return "Kafka throttles us by its quota" if is_throttled else ""

    async def permitted(self, leader: Node) -> None:
        """Return when a broker does not throttle us."""
        loop = asyncio.get_running_loop()
        if (rest := self._throttled_until.get(leader, 0.0) - loop.time()) > 0:
            await asyncio.sleep(rest)

    async def produce(self, leader: Node, partition: TopicPartition, data: bytes) -> Placed:
        """Append one batch, and return once all replicas in sync have it, or not. Raises aiokafka's errors."""
        batch = _Batch(partition, data, asyncio.get_running_loop().create_future())
        self._gathered[leader].append(batch)
        if leader not in self._senders:
            self._senders[leader] = asyncio.create_task(self._send_on(leader), name="snowbus-log-produce")
        return await batch.answer

    async def close(self) -> None:
        """Wait for no answer any more."""
        await cancelled(list(self._senders.values()))

    async def _send_on(self, leader: Node) -> None:
        """Send what is for a broker, until nothing is."""
        try:
            while self._gathered[leader]:
                await self.permitted(leader)
                await self._send_gathered(leader)
        finally:
            del self._senders[leader]

    async def _send_gathered(self, leader: Node) -> None:
        waiting = {batch.partition: batch for batch in self._gathered.pop(leader) if not batch.answer.done()}
        if not waiting:
            return
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
        if response.throttle_time_ms:
            seconds = response.throttle_time_ms / 1000
            self._throttled_until[leader] = asyncio.get_running_loop().time() + seconds
            self._diagnostics.warning("Kafka throttles us by its quota; appends wait", broker=leader, seconds=seconds)
        for topic, partitions in response.topics:
            for number, code, offset, *_ in partitions:
                answer = waiting[TopicPartition(topic, number)].answer
                if not answer.done():
                    answer.set_result(Placed(code, offset))
