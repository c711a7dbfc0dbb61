"""What readers of the embedded logs share: where they stand, what they skip for now, and what members are told."""

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol

from ..diagnostics import Diagnostics
from ..errors import LogClosedError, NotAssignedError, SnowbusError, log_error
from ..event import Record, TopicPartition
from .interface import Assignment, Committed, GroupReader, Offsets, OnAssigned, OnRevoked, Reader

logger = Diagnostics(__name__)


class Source(Protocol):
    """What these readers need of a log."""

    def next_change(self) -> asyncio.Future[None]:
        """A future that is done when something may have been written. Raises LogClosedError."""

    def signal(self) -> None:
        """Wake everyone who waits for a change."""

    async def take(self, positions: Sequence[tuple[TopicPartition, int]], max_records: int) -> list[Record]:
        """Records from these positions on, those of the first one first."""

    async def group_offsets(self, group_id: str) -> dict[TopicPartition, Committed]:
        """Everything that a group has committed."""


class EmbeddedReader(Reader):
    """Reads from where it was put."""

    def __init__(self, log: Source, offsets: Offsets) -> None:
        self._log = log
        self._next: dict[TopicPartition, int] = dict(offsets)
        self._paused: set[TopicPartition] = set()
        self._moving: set[TopicPartition] = set()
        self._turn = 0
        self._closed = False

    @property
    def assignment(self) -> Assignment:
        """See Reader.assignment."""
        return frozenset(self._next)

    async def poll(self, *, max_records: int = 500, timeout: float = 1.0) -> list[Record]:
        """See Reader.poll."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            self._check_open()
            change = self._log.next_change()
            records = await self._read(max_records)
            remaining = deadline - loop.time()
            if records or remaining <= 0:
                return records
            await asyncio.wait({change}, timeout=remaining)

    def position(self, partition: TopicPartition) -> int:
        """See Reader.position."""
        self._check_assigned([partition])
        return self._next[partition]

    def seek(self, offsets: Offsets) -> None:
        """See Reader.seek."""
        self._check_assigned(offsets)
        self._next.update(offsets)
        self._log.signal()

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """See Reader.pause."""
        self._check_assigned(partitions)
        self._paused.update(partitions)

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """See Reader.resume."""
        self._paused.difference_update(partitions)
        self._log.signal()

    async def close(self) -> None:
        """See Reader.close."""
        self._closed = True

    async def _read(self, max_records: int) -> list[Record]:
        asked = self._readable()
        if not asked:
            return []
        self._turn = (self._turn + 1) % len(asked)
        positions = list(asked.items())
        records = await self._log.take(positions[self._turn :] + positions[: self._turn], max_records)
        # A seek, a pause or a rebalance that came while the log was read wins.
        still = self._readable()
        wanted = {partition for partition, offset in asked.items() if still.get(partition) == offset}
        kept = [record for record in records if record.topic_partition in wanted]
        for record in kept:
            self._next[record.topic_partition] = record.offset + 1
        return kept

    def _readable(self) -> dict[TopicPartition, int]:
        skipped = self._paused | self._moving
        return {partition: offset for partition, offset in self._next.items() if partition not in skipped}

    def _check_open(self) -> None:
        if self._closed:
            raise LogClosedError("the reader is closed")

    def _check_assigned(self, partitions: Collection[TopicPartition]) -> None:
        missing = sorted(set(partitions) - self._next.keys())
        if missing:
            raise NotAssignedError(f"not assigned here: {', '.join(f'{topic}-{number}' for topic, number in missing)}")


class EmbeddedGroupReader(EmbeddedReader, GroupReader):
    """A member of a group; a task of its own, which it starts, moves partitions."""

    def __init__(
        self, log: Source, *, group_id: str, on_revoked: OnRevoked | None, on_assigned: OnAssigned | None
    ) -> None:
        super().__init__(log, {})
        self._group_id = group_id
        self._on_revoked = on_revoked
        self._on_assigned = on_assigned
        self._one_at_a_time = asyncio.Lock()
        self._told_to_go = False
        self._failure: SnowbusError | None = None
        self._failure_told = asyncio.Event()
        self._membership = asyncio.create_task(self._stay_member(), name=f"snowbus-group-{group_id}")

    async def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Committed]:
        """See GroupReader.committed."""
        everything = await self._log.group_offsets(self._group_id)
        return {partition: everything[partition] for partition in partitions if partition in everything}

    async def close(self) -> None:
        """See Reader.close. A callback that is under way ends first."""
        if self._closed:
            return
        await super().close()
        async with self._one_at_a_time:
            self._membership.cancel()
        await asyncio.gather(self._membership, return_exceptions=True)
        if self._next:
            await self._revoke(self.assignment)
        await self._leave()

    @abstractmethod
    async def _stay_member(self) -> None:
        """Stay in the group, and give up and take over what is to be moved, until cancelled."""

    @abstractmethod
    async def _leave(self) -> None:
        """Leave the group, and let others have what it had."""

    async def _revoke(self, partitions: Assignment) -> None:
        self._told_to_go = True
        self._moving.update(partitions)  # what is drained must not grow
        try:
            await self._tell(self._on_revoked, partitions)
        except Exception:
            logger.exception("on_revoked failed; the partitions are given up all the same", group_id=self._group_id)
        for partition in partitions:
            del self._next[partition]
        self._paused.difference_update(partitions)
        self._moving.difference_update(partitions)

    async def _take_over(self, offsets: Offsets) -> bool:
        """Begin at these offsets, unless the callback says otherwise; who was told to go is told what it gained.

        When the callback fails they are given up, and this is false once a poll has told so.
        """
        if not offsets and not self._told_to_go:
            return True
        self._told_to_go = False
        self._moving.update(offsets)
        self._next.update(offsets)
        try:
            await self._tell(self._on_assigned, frozenset(offsets))
        except Exception as error:
            logger.exception("on_assigned failed; the partitions are given up", group_id=self._group_id)
            self._told_to_go = True
            if offsets:
                await self._revoke(frozenset(offsets))
            await self._fail(log_error("on_assigned failed", error))
            return False
        self._moving.difference_update(offsets)
        self._log.signal()
        return True

    async def _fail(self, failure: SnowbusError) -> None:
        """Let the next poll raise this, and wait until it has."""
        self._failure = failure
        self._failure_told.clear()
        self._log.signal()
        await self._failure_told.wait()

    def _check_open(self) -> None:
        super()._check_open()
        failure, self._failure = self._failure, None
        if failure is not None:
            self._failure_told.set()
            raise failure

    async def _tell(self, callback: Callable[[Assignment], Awaitable[None]] | None, partitions: Assignment) -> None:
        if callback is not None:
            async with self._one_at_a_time:
                await self._while_alive(callback(partitions))

    async def _while_alive(self, callback: Awaitable[None]) -> None:
        """Wait for a callback however long it takes, and stay a member meanwhile."""
        await callback
