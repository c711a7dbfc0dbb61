"""Reads events in a group, gives each partition its lanes, and commits what the lanes have delivered."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import groupby
from math import ceil
from operator import attrgetter

import structlog

from snowbus.bus.errors import LogError, LogUnavailableError, NotAssignedError
from snowbus.bus.event import DEAD_TOPIC, EVENTS_TOPIC, RETRY_TOPIC, Record, TopicPartition
from snowbus.bus.log.interface import Assignment, GroupReader, Log
from snowbus.bus.metrics import Metrics
from snowbus.bus.settings import Settings
from snowbus.bus.sparingly import Sparingly

from ..backoff import Backoff
from ..offsets import OffsetTracker, Position
from ..retries import is_for
from .collectors import Collectors, Outage, Patience
from .gate import Gate
from .lane import Delivery, Lane
from .sender import Sender

logger = structlog.get_logger(__name__)

_PLACE = attrgetter("topic", "partition")
_COMMIT_SECONDS = 0.2
_READ_AHEAD_BATCHES = 10
_READ_AHEAD_BYTES = 64_000_000
_SAY_SECONDS = 15.0
_SLOWLY = 6  # times the longest backoff, where only a change of configuration helps


class Forwarder:
    """Forwards events from a log to collectors until told to stop; the log and the collectors may come and go."""

    def __init__(self, log: Log, senders: Sequence[Sender], *, settings: Settings, metrics: Metrics) -> None:
        self._log = log
        self._settings = settings
        self._metrics = metrics
        self._collectors = Collectors(
            [(sender.name, sender) for sender in senders],
            Patience(
                first=settings.collect_backoff,
                maximum=settings.collect_backoff_max,
                failback=settings.collect_failback,
                configuration=_SLOWLY * settings.collect_backoff_max,
            ),
            now=time.monotonic(),
        )
        self._gate = Gate(self._collectors, in_flight=settings.collect_in_flight)
        self._delivery = Delivery(
            log=log,
            gate=self._gate,
            metrics=metrics,
            group_id=settings.group,
            batch_events=settings.collect_batch_events,
            batch_bytes=settings.collect_batch_bytes,
            new_backoff=self._new_backoff,
        )
        self._reader: GroupReader | None = None
        self._tracker = OffsetTracker()
        self._lanes: dict[TopicPartition, list[Lane]] = {}
        self._tasks = asyncio.TaskGroup()
        self._closing = False
        self._committing = asyncio.Lock()
        self._log_backoff = self._new_backoff()
        self._log_away = Sparingly(_SAY_SECONDS)

    @property
    def outage(self) -> Outage | None:
        """What keeps events from every collector now, or None."""
        return self._gate.outage

    async def run(self, stop: asyncio.Event) -> None:
        """Forward until `stop` is set; then finish the requests under way, commit, and leave the group."""
        try:
            async with self._tasks:
                background = [
                    self._tasks.create_task(self._read(), name="snowbus-collect-read"),
                    self._tasks.create_task(self._commit_now_and_then(), name="snowbus-collect-commit"),
                ]
                try:
                    await stop.wait()
                finally:
                    self._closing = True
                    for task in background:
                        task.cancel()
                    await asyncio.wait(background)
                    await self._close()
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _read(self) -> None:
        while self._reader is None:
            await self._while_the_log_is_away(self._join)
        while True:
            await self._while_the_log_is_away(partial(self._read_some, self._reader))

    async def _join(self) -> None:
        await self._log.create_topics([EVENTS_TOPIC, DEAD_TOPIC, RETRY_TOPIC])
        self._reader = await self._log.join(
            [EVENTS_TOPIC, RETRY_TOPIC],
            group_id=self._settings.group,
            on_revoked=self._on_revoked,
            on_assigned=self._on_assigned,
        )

    async def _read_some(self, reader: GroupReader) -> None:
        records = await reader.poll(max_records=_READ_AHEAD_BATCHES * self._settings.collect_batch_events)
        for place, run in groupby(records, key=_PLACE):
            partition = TopicPartition(*place)
            lanes = self._lanes.get(partition)
            if lanes is None:  # it went to another member while it was read
                continue
            shares: list[list[Record]] = [[] for _ in lanes]
            for record in run:
                self._tracker.read(partition, record.offset)
                if record.topic == RETRY_TOPIC and not is_for(record, self._settings.group):
                    self._tracker.finish(partition, record.offset)
                    continue
                shares[hash(record.key) % len(lanes)].append(record)
            for lane, share in zip(lanes, shares, strict=True):
                lane.offer(share)
            if any(lane.crowded for lane in lanes):
                with suppress(NotAssignedError):
                    reader.pause([partition])

    async def _on_assigned(self, partitions: Assignment) -> None:
        reader = self._reader
        if self._closing or not partitions or reader is None:
            return
        held = len(self._lanes) + len(partitions)
        lanes = ceil(self._settings.collect_in_flight / held)
        for partition in partitions:
            self._tracker.assign(partition, Position(reader.position(partition)))
            self._lanes[partition] = [
                Lane(
                    self._delivery,
                    self._tasks,
                    max_events=_READ_AHEAD_BATCHES * self._settings.collect_batch_events,
                    max_bytes=max(self._settings.collect_batch_bytes, _READ_AHEAD_BYTES // (held * lanes)),
                    on_done=partial(self._tracker.finish, partition),
                    on_room=partial(self._on_room, partition),
                )
                for _ in range(lanes)
            ]

    async def _on_revoked(self, partitions: Assignment) -> None:
        await self._drain([self._lanes.pop(partition, []) for partition in partitions])
        await self._commit_once()
        self._tracker.revoke(partitions)

    def _on_room(self, partition: TopicPartition) -> None:
        if self._reader is not None and not any(lane.crowded for lane in self._lanes.get(partition, ())):
            with suppress(NotAssignedError):
                self._reader.resume([partition])

    async def _commit_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(_COMMIT_SECONDS)
            await self._commit_once()
            self._metrics.collect_lag_seconds.set(self._oldest_age())
            for state in self._collectors.states(time.monotonic()):
                self._metrics.collect_collector_up.labels(state.name).set(state.up)

    def _oldest_age(self) -> float:
        """The age of the oldest event that is read and not delivered, in seconds."""
        stamps = [lane.oldest for lane in self._all_lanes() if lane.oldest is not None]
        return max(0.0, time.time() - min(stamps) / 1000) if stamps else 0.0

    def _all_lanes(self) -> list[Lane]:
        return [lane for lanes in self._lanes.values() for lane in lanes]

    async def _commit_once(self) -> bool:
        """Commit what is delivered; what cannot be committed now is said, and stays to be committed."""
        async with self._committing:
            snapshot = self._tracker.committable()
            if self._reader is None or not snapshot.positions:
                return True
            try:
                await self._reader.commit(
                    {partition: position.offset for partition, position in snapshot.positions.items()}
                )
            except LogError as error:
                self._tracker.not_committed(snapshot)
                if self._log_away.due():
                    logger.warning("delivered, but not committed", group_id=self._settings.group, reason=str(error))
                return not isinstance(error, LogUnavailableError)
            self._tracker.committed(snapshot)
            return True

    async def _close(self) -> None:
        await self._drain(list(self._lanes.values()))
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.collect_drain_timeout):
                while not await self._commit_once():  # noqa: ASYNC110 - the log tells nobody that it is back
                    await asyncio.sleep(_COMMIT_SECONDS)
        if self._tracker.committable().positions:
            logger.warning("stopped without a last commit; some events will be sent again")
        if self._reader is not None:
            await self._reader.close()

    async def _drain(self, held: list[list[Lane]]) -> None:
        """Drain the lanes of some partitions, those of each up to the furthest of them."""
        await asyncio.gather(
            *(
                lane.drain(self._settings.collect_drain_timeout, until=max(each.reach for each in lanes))
                for lanes in held
                for lane in lanes
            )
        )

    async def _while_the_log_is_away(self, call: Callable[[], Awaitable[None]]) -> None:
        """Call once; when the log is away, say so and wait."""
        try:
            await call()
        except LogUnavailableError as error:
            wait = self._log_backoff.next_wait()
            if self._log_away.due():
                logger.warning("the log is away", reason=str(error), next_try_seconds=round(wait, 1))
            await asyncio.sleep(wait)
        else:
            self._log_backoff.reset()

    def _new_backoff(self) -> Backoff:
        return Backoff(self._settings.collect_backoff, maximum=self._settings.collect_backoff_max)
