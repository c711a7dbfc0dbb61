"""A lane delivers the events of some keys of a partition, one request after another, so that each keeps its order."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from snowbus.bus.errors import LogUnavailableError
from snowbus.bus.event import DEAD_TOPIC, Record
from snowbus.bus.log.interface import Log
from snowbus.bus.metrics import Metrics

from ..backoff import Backoff
from ..dead_letters import Death, append_dead_letter
from .batches import Outgoing, body_of, take_batch
from .gate import Gate
from .verdicts import Answer, Dead, Delivered, Retry, Split, Stop, Verdict, judge

logger = structlog.get_logger(__name__)

_LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What all lanes share: the gate to the collectors, where dead letters go, and the bounds of a request."""

    log: Log
    gate: Gate
    metrics: Metrics
    group_id: str
    batch_events: int
    batch_bytes: int
    new_backoff: Callable[[], Backoff]


class Lane:
    """The records of some keys of a partition that are read and not done with, in order, and the task in `tasks` that
    delivers them.

    `on_done` is called with the offset of each record that is delivered or durable as a dead letter, `on_room` when
    the lane is `crowded` no more: it was full, and has worked off half.
    """

    def __init__(
        self,
        delivery: Delivery,
        tasks: asyncio.TaskGroup,
        *,
        max_events: int,
        max_bytes: int,
        on_done: Callable[[int], None],
        on_room: Callable[[], None],
    ) -> None:
        self._delivery = delivery
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._on_done = on_done
        self._on_room = on_room
        self._queue: deque[Record] = deque()
        self._queued_bytes = 0
        self._in_hand: list[Record] = []
        self._last_done = -1
        self._arrived = asyncio.Event()
        self.crowded = False
        self._draining = False
        self._busy = False
        self._task = tasks.create_task(self._run(), name="snowbus-collect-lane")

    @property
    def oldest(self) -> int | None:
        """The timestamp of the first record of the oldest request that is not done with, in ms since 1970."""
        if self._in_hand:
            return self._in_hand[0].timestamp
        return self._queue[0].timestamp if self._queue else None

    def offer(self, records: Sequence[Record]) -> None:
        """Take records that follow those it has."""
        if not records:
            return
        self._queue.extend(records)
        self._queued_bytes += sum(len(record.value) for record in records)
        if len(self._queue) >= self._max_events or self._queued_bytes >= self._max_bytes:
            self.crowded = True
        self._arrived.set()

    @property
    def reach(self) -> int:
        """The highest offset that it is done with or has in hand; -1 when there is none."""
        return max(self._last_done, self._in_hand[-1].offset if self._in_hand else -1)

    async def drain(self, timeout: float, *, until: int) -> None:
        """Deliver what is read up to the offset `until`, within `timeout` seconds, and stop.

        Then everything before what another lane of the partition has delivered is delivered too, and can be committed.
        While the collector is away it stops at once, but for a request that is under way.
        """
        self._draining = True
        self._queue = deque(record for record in self._queue if record.offset <= until)
        self._arrived.set()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while not self._task.done() and (left := deadline - loop.time()) > 0:
            if not self._busy and self._delivery.gate.outage is not None:
                break
            await asyncio.wait({self._task}, timeout=min(left, _LOOK_SECONDS))
        if not self._task.done():
            if self._busy:
                logger.warning("a request was not answered in time to drain; its events may be sent again")
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        while self._queue or not self._draining:
            if not self._queue:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            batch = take_batch(
                self._queue, max_events=self._delivery.batch_events, max_bytes=self._delivery.batch_bytes
            )
            self._in_hand = batch.records
            self._queued_bytes -= sum(len(record.value) for record in batch.records)
            self._tell_room()
            for record, reason in batch.refused:
                await self._bury(record, reason)
            await self._deliver(batch.events)
            self._in_hand = []

    def _tell_room(self) -> None:
        if self.crowded and len(self._queue) <= self._max_events // 2 and self._queued_bytes <= self._max_bytes // 2:
            self.crowded = False
            self._on_room()

    async def _deliver(self, events: Sequence[Outgoing]) -> None:
        parts = [events] if events else []
        while parts:
            part = parts.pop()
            match await self._send(part):
                case Delivered():
                    self._delivery.metrics.collect_delivered.inc(len(part))
                    for event in part:
                        self._finish(event.record.offset)
                case Retry() | Stop():
                    if self._draining:
                        self._queue.clear()
                        return
                    parts.append(part)
                case Split():
                    middle = len(part) // 2
                    parts += [part[middle:], part[:middle]]
                case Dead(reason, status, response):
                    await self._bury(part[0].record, reason, status=status, response=response)

    async def _send(self, events: Sequence[Outgoing]) -> Verdict:
        metrics = self._delivery.metrics
        async with self._delivery.gate.attempt() as attempt:
            self._busy = True
            try:
                with metrics.collect_in_flight.track_inprogress(), metrics.collect_seconds.time():
                    outcome = await attempt.collector.sender.post(body_of(events, _now_ms()))
            finally:
                self._busy = False
            metrics.collect_requests.labels(outcome.status if isinstance(outcome, Answer) else 0).inc()
            verdict = judge(outcome, events=len(events), now=time.time())
            self._delivery.gate.settle(attempt, verdict)
        return verdict

    async def _bury(self, record: Record, reason: str, *, status: int | None = None, response: str = "") -> None:
        delivery = self._delivery
        death = Death(
            reason=reason,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            group=delivery.group_id,
            time=_now_ms(),
            status=status,
            response=response,
        )
        backoff = delivery.new_backoff()
        while True:
            self._busy = True
            try:
                await append_dead_letter(delivery.log, DEAD_TOPIC, record, death)
                break
            except LogUnavailableError as error:
                logger.warning("a dead letter waits for the log", reason=str(error))
                self._busy = False
                if self._draining:
                    self._queue.clear()
                    return
                await asyncio.sleep(backoff.next_wait())
            finally:
                self._busy = False
        delivery.metrics.collect_dead.inc()
        logger.warning("dead letter", reason=reason, status=status, partition=record.partition, offset=record.offset)
        self._finish(record.offset)

    def _finish(self, offset: int) -> None:
        self._last_done = max(self._last_done, offset)
        self._on_done(offset)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
