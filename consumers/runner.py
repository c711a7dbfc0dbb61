"""Runs a consumer: reads its group's records, lets workers handle them in key order, and commits what is done with."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection, Iterator
from itertools import groupby
from operator import attrgetter

from snowbus.bus import tracing
from snowbus.bus.backoff import Backoff
from snowbus.bus.consumer_metrics import Standing
from snowbus.bus.diagnostics import Diagnostics
from snowbus.bus.errors import ConfigurationError, LogUnavailableError, NotAssignedError
from snowbus.bus.event import DEAD_TOPIC, EVENTS_TOPIC, RETRY_TOPIC, TopicPartition
from snowbus.bus.log.interface import Assignment, Committed, GroupReader, Log
from snowbus.bus.metrics import Metrics
from snowbus.bus.sparingly import SparingDiagnostics, Sparingly

from .breaker import Outage
from .calls import Calls
from .commits import Commits
from .declare import Consumer
from .dedupe import DedupeStore
from .expired import Jump, expired_in
from .lag import measure_lag
from .offsets import Position
from .progress import read_position
from .record import Record
from .work import Work
from .worker import Worker

logger = Diagnostics(__name__)

_PLACE = attrgetter("topic", "partition")
_OURS = frozenset({EVENTS_TOPIC, DEAD_TOPIC, RETRY_TOPIC})
_POLL_RECORDS = 1_000
_BUFFER_BYTES = 64_000_000
_KEPT_RECORDS = 50_000
_FIRST_WORKERS = 64
_LEAST_SHARE = 100
_LOOK_FOR_ROOM_EVERY = 32  # records
_SAY_SECONDS = 15.0
_SLOWEST_LOOK_SECONDS = 1.0
_COMMIT_AGAIN_SECONDS = 0.2


class Runner:
    """Runs one consumer on a log, until told to stop; the log may come and go.

    A record is handled when no other of its key is in hand or put off, and when no more than `max_in_flight` are in
    hand or finished and not yet committed. When partitions leave (a rebalance, a stop), what is in hand is finished
    within `drain_timeout` seconds and committed; what comes back goes on where it was. Metrics tell of it by its name,
    or as `told_as`, while it runs.
    """

    def __init__(
        self,
        log: Log,
        consumer: Consumer[..., object],
        *,
        metrics: Metrics,
        told_as: str = "",
        drain_timeout: float = 20.0,
    ) -> None:
        self.consumer = consumer
        self.begun = asyncio.Event()  # set once the lifespan is entered and the group joined
        self.assigned = asyncio.Event()  # set once it is known which partitions are ours, and where they begin
        self._log = log
        self._drain_timeout = drain_timeout
        self._counts = metrics.of_consumer(told_as or consumer.name)
        self._work = Work(consumer, self._counts)
        self._commits = Commits(self._work, consumer)
        self._commits.stuck_seconds = self._stuck_seconds
        self._workers: list[Worker] = []
        self.on_leaving: Callable[[Assignment], None] = lambda _: None  # told first of partitions that are to leave
        self._reader: GroupReader | None = None
        self._left: dict[TopicPartition, int | None] = {}
        self._paused: set[TopicPartition] = set()
        self._released = asyncio.Event()
        self._released_since = 0
        self._work.on_released = self._on_released
        self._look_seconds = min(_SLOWEST_LOOK_SECONDS, consumer.timeout / 10)
        self._log_backoff = Backoff(0.5, maximum=5.0)
        self._diagnostics = SparingDiagnostics(logger, seconds=_SAY_SECONDS)
        self._outage_said: Outage | None = None
        self._outage_again = Sparingly(_SAY_SECONDS)

    @property
    def stuck(self) -> str:
        """Which call has taken far too long and cannot be ended, or an empty string."""
        for worker in self._stuck_workers():
            name, seconds = self.consumer.name, round(worker.seconds)
            return f"{name} has been in one call for {seconds} s, with {worker.calling[0]!r}"
        return ""

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set; then drain, commit and leave the group; when cancelled, without draining.

        Raises ConfigurationError when a topic does not exist or the lifespan fails to begin.
        """
        consumer, store = self.consumer, None
        if consumer.dedupe is not None:
            store = await DedupeStore.open(consumer.dedupe, scope=f"{consumer.group_id}/{consumer.name}")
        calls = Calls(consumer, store, system=tracing.system_of(self._log.url))
        try:
            await calls.open()
            async with asyncio.TaskGroup() as tasks:
                self._work.on_short = lambda count: self._add_workers(count, calls, tasks)
                self._add_workers(_FIRST_WORKERS, calls, tasks)
                reading = tasks.create_task(self._read(), name=f"snowbus-{consumer.name}-read")
                others = [
                    tasks.create_task(self._watch(), name=f"snowbus-{consumer.name}-watch"),
                    tasks.create_task(self._commits.run(), name=f"snowbus-{consumer.name}-commit"),
                    tasks.create_task(self._measure_lag(), name=f"snowbus-{consumer.name}-lag"),
                ]
                try:
                    await stop.wait()
                except asyncio.CancelledError:
                    self._drain_timeout = 0.0
                    raise
                finally:
                    self._work.close()
                    reading.cancel()
                    await asyncio.wait({reading})
                    if self._reader is not None:
                        await self._reader.close()
                    for worker in self._workers:
                        worker.stop()
                    for task in others:
                        task.cancel()
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            self._counts.close()
            await calls.close()

    def holds(self, record: Record) -> bool:
        """Whether the partition of a record is still ours, as it was when the record was read."""
        return self._work.holds([record])

    def _add_workers(self, count: int, calls: Calls, tasks: asyncio.TaskGroup) -> None:
        """Let so many more work, but for those that would be more than there may be."""
        if self._work.closed:
            return
        consumer = self.consumer
        for _ in range(min(count, consumer.most_calls - len(self._workers))):
            worker = Worker(self._log, consumer, self._work, calls)
            self._workers.append(worker)
            tasks.create_task(worker.run(), name=f"snowbus-{consumer.name}")

    # Reading

    async def _read(self) -> None:
        while self._reader is None:
            await self._while_the_log_is_away(self._join)
        while True:
            await self._while_the_log_is_away(self._read_some)

    async def _join(self) -> None:
        consumer = self.consumer
        made_here = {topic for topic in consumer.topics if topic in _OURS} | {RETRY_TOPIC, consumer.dead_letter} - {""}
        await self._log.create_topics(sorted(made_here))
        there = {topic.name for topic in await self._log.topics()}
        if missing := sorted(set(consumer.topics) - there):
            raise ConfigurationError(
                f"consumer {consumer.name}: the log has no topic {missing[0]!r}; make it with "
                f"`snowbus topics --create {missing[0]}`"
            )
        self._commits.reader = self._reader = await self._log.join(
            sorted({RETRY_TOPIC, *consumer.topics}),
            group_id=consumer.group_id,
            auto_offset_reset=consumer.auto_offset_reset,
            on_revoked=self._on_revoked,
            on_assigned=self._on_assigned,
        )
        self.begun.set()

    async def _read_some(self) -> None:
        reader = self._reader
        if reader is None:
            return
        records = await reader.poll(max_records=_POLL_RECORDS)
        partitions = self._partitions()
        jumps: list[Jump] = []
        for place, found in groupby(records, key=_PLACE):
            partition, run = TopicPartition(*place), list(found)
            if count := self._work.tracker.untouched(partition, run[0].offset):
                jumps.append(Jump(partition, run[0].offset, count))
            self._work.offer(partition, run)
            if self._fullness(partition, of=partitions) >= 1:
                self._paused.add(partition)
                with contextlib.suppress(NotAssignedError):
                    reader.pause([partition])
        for jump in jumps:
            await self._look_into(jump)

    async def _look_into(self, jump: Jump) -> None:
        """Say what retention has taken before it was read; on a Kafka, offsets may have been without records anyway."""
        if expired := await expired_in(self._log, jump):
            reason = f"{expired:,} records expired before they were read, up to offset {jump.end}"
            self._counts.add("expired", expired)
            self._work.on_trouble(jump.partition, reason)
            logger.error("events are lost to retention", group_id=self.consumer.group_id, reason=reason, **jump.place)

    def _partitions(self) -> int:
        """Among how many partitions what is read ahead is shared out; in the topic of retries there is hardly any."""
        return max(1, sum(partition.topic != RETRY_TOPIC for partition in self._work.held))

    def _fullness(self, partition: TopicPartition, *, of: int) -> float:
        """What is read ahead of a partition, as a part of what it may be, `of` so many."""
        records, kept, size = self._work.buffered(partition)
        most = max(_LEAST_SHARE, self.consumer.buffer // of)
        return max(records / most, kept * of / _KEPT_RECORDS, size * of / _BUFFER_BYTES)

    def _on_released(self, count: int) -> None:
        self._released.set()
        self._released_since += count
        if self._released_since >= _LOOK_FOR_ROOM_EVERY:
            self._look_for_room()

    def _look_for_room(self) -> None:
        """Read on in partitions of which little is left."""
        self._released_since = 0
        if self._reader is None or not self._paused:
            return
        partitions = self._partitions()
        for partition in [each for each in self._paused if self._fullness(each, of=partitions) <= 0.5]:
            self._paused.discard(partition)
            with contextlib.suppress(NotAssignedError):
                self._reader.resume([partition])

    # Partitions that leave and arrive

    async def _on_revoked(self, partitions: Assignment) -> None:
        self._work.leave(partitions)
        self.on_leaving(partitions)
        self._paused.difference_update(partitions)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._drain_timeout
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                while self._in_hand_of(partitions):
                    self._released.clear()
                    await self._released.wait()
        tracker = self._work.tracker
        while not await self._commits.commit(leaving=partitions) and loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_COMMIT_AGAIN_SECONDS)  # the log tells nobody that it is back
        for partition in partitions:
            position = tracker.position(partition)
            self._left[partition] = position.offset if position is not None else None
        if late := self._in_hand_of(partitions):
            logger.warning("a call was not over in time to drain", consumer=self.consumer.name, calls=len(late))
        if self._work.closed:
            for worker in late:
                worker.interrupt("the consumer stops")

    async def _on_assigned(self, partitions: Assignment) -> None:
        reader = self._reader
        if reader is None or self._work.closed:
            return
        committed = await self._committed(reader, partitions)
        calling = [record for worker in self._workers for record in worker.calling]
        for partition in partitions:
            found = committed.get(partition)
            position = read_position(found) if found is not None else Position(reader.position(partition))
            ours = self._work.tracker.position(partition)
            if ours is not None and self._left.get(partition) == position.offset:
                # Nobody has set it back: what was finished here since we left it counts.
                position = position.with_done(ours)
            self._work.arrive(partition, position, calling=calling)
            reader.seek({partition: position.offset})
        gone = self._left.keys() - partitions
        self._left.clear()
        for worker in self._in_hand_of(gone):
            worker.interrupt("its partition went to another member")
        self._work.forget(gone)
        self._work.wake()
        self.assigned.set()

    async def _committed(self, reader: GroupReader, partitions: Assignment) -> dict[TopicPartition, Committed]:
        backoff = Backoff(0.1, maximum=2.0)
        while partitions:
            try:
                return await reader.committed(partitions)
            except LogUnavailableError as error:
                name = self.consumer.name
                self._diagnostics.warning("cannot tell where to begin", consumer=name, reason=str(error))
                await asyncio.sleep(backoff.next_wait())
        return {}

    def _stuck_workers(self) -> list[Worker]:
        """The workers whose call should have ended long ago."""
        limit = self.consumer.timeout + 3 * self._look_seconds
        return [worker for worker in self._workers if worker.seconds > limit]

    def _stuck_seconds(self, partition: TopicPartition) -> float:
        """For how long the longest of those calls with records of a partition has been under way."""
        stuck = self._stuck_workers()
        return max(
            (worker.seconds for worker in stuck if any(record.place == partition for record in worker.calling)),
            default=0.0,
        )

    def _in_hand_of(self, partitions: Collection[TopicPartition]) -> list[Worker]:
        """The workers that have records of these partitions in hand."""
        return [worker for worker in self._workers if any(record.place in partitions for record in worker.in_hand)]

    # Looking after it

    async def _measure_lag(self) -> None:
        await measure_lag(self._log, self._work.tracker, self._counts, assigned=self.assigned)

    async def _watch(self) -> None:
        """End calls that take too long, and tell how the work stands."""
        timeout = self.consumer.timeout
        while True:
            await asyncio.sleep(self._look_seconds)
            for worker in self._workers:
                if worker.seconds > timeout:
                    worker.interrupt(f"the handler took longer than {timeout:g} s")
            for worker in self._stuck_workers():
                record = worker.calling[0]
                self._work.on_trouble(record.place, f"a call with {record!r} should have ended after {timeout:g} s")
            self._look_for_room()
            self._say_outage()
            oldest = min(self._timestamps(), default=None)
            self._counts.tell(
                Standing(
                    in_flight=sum(len(worker.in_hand) for worker in self._workers),
                    waiting=sum(self._work.tracker.state(partition).waiting for partition in self._work.held),
                    is_held=self._work.breaker.outage is not None,
                    partitions=len(self._work.held),
                    oldest_seconds=0.0 if oldest is None else max(0.0, time.time() - oldest / 1000),
                )
            )

    def _timestamps(self) -> Iterator[int]:
        """The timestamps, in ms since 1970, among which is the oldest of what is read and not done with."""
        yield from (record.timestamp for worker in self._workers for record in worker.in_hand)
        yield from self._work.timestamps()

    def _say_outage(self) -> None:
        """Say what the handler waits for, now and then, and that it goes on."""
        outage, said = self._work.breaker.outage, self._outage_said
        now = asyncio.get_running_loop().time()
        if outage is not None and (outage is not said or self._outage_again.due()):
            if outage is not said:
                self._outage_again.reset()
                self._outage_again.due()
            logger.warning(
                "nothing is handled",
                consumer=self.consumer.name,
                reason=outage.reason,
                for_seconds=round(now - outage.since, 1),
                next_try_seconds=round(max(0.0, outage.next_try - now), 1),
            )
        elif outage is None and said is not None:
            logger.info("goes on", consumer=self.consumer.name, after_seconds=round(now - said.since, 1))
        self._outage_said = outage

    async def _while_the_log_is_away(self, call: Callable[[], Awaitable[None]]) -> None:
        """Call once; when the log is away, say so and wait."""
        try:
            await call()
        except LogUnavailableError as error:
            wait = self._log_backoff.next_wait()
            self._diagnostics.warning("the log is away", reason=str(error), next_try_seconds=round(wait, 1))
            await asyncio.sleep(wait)
        else:
            self._log_backoff.reset()
