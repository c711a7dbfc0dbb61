"""Readers of the embedded log: one that stands where it was put, and one that is a member of a group."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Collection, Sequence
from typing import TYPE_CHECKING
from uuid import uuid4

import structlog

from ..errors import LogClosedError, LogError, NotAssignedError
from ..event import Record, TopicPartition
from . import sqlite_groups as groups
from .interface import (
    Assignment,
    Committed,
    GroupReader,
    Metadata,
    Offsets,
    OnAssigned,
    OnRevoked,
    Reader,
    check_metadata,
)
from .sqlite_tables import Connection, read_records

if TYPE_CHECKING:
    from .sqlite import SqliteLog

logger = structlog.get_logger(__name__)

_POLL_BYTES = 8 * 1024 * 1024
_GENERATION_SECONDS = 0.2


class SqliteReader(Reader):
    """Reads from where it was put."""

    def __init__(self, log: SqliteLog, offsets: Offsets) -> None:
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
        deadline = time.monotonic() + timeout
        while True:
            if self._closed:
                raise LogClosedError("the reader is closed")
            change = self._log.next_change()
            records = await self._read(max_records)
            remaining = deadline - time.monotonic()
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
        still = self._paused | self._moving
        asked = {partition: offset for partition, offset in self._next.items() if partition not in still}
        if not asked:
            return []
        self._turn = (self._turn + 1) % len(asked)
        positions = list(asked.items())
        positions = positions[self._turn :] + positions[: self._turn]

        def read(connection: Connection) -> list[Record]:
            return read_records(connection, positions, max_records=max_records, max_bytes=_POLL_BYTES)

        records = await self._log.fetch(read)
        # A seek, a pause or a rebalance that came while the thread was reading wins.
        still = self._paused | self._moving
        wanted = {
            partition
            for partition, offset in asked.items()
            if self._next.get(partition) == offset and partition not in still
        }
        kept = [record for record in records if record.topic_partition in wanted]
        for record in kept:
            self._next[record.topic_partition] = record.offset + 1
        return kept

    def _check_assigned(self, partitions: Collection[TopicPartition]) -> None:
        missing = sorted(set(partitions) - self._next.keys())
        if missing:
            raise NotAssignedError(f"not assigned here: {', '.join(f'{topic}-{number}' for topic, number in missing)}")


class SqliteGroupReader(SqliteReader, GroupReader):
    """A member of a group; a task of its own renews the membership and moves partitions."""

    def __init__(
        self,
        log: SqliteLog,
        topics: Sequence[str],
        *,
        group_id: str,
        from_latest: bool,
        on_revoked: OnRevoked | None,
        on_assigned: OnAssigned | None,
    ) -> None:
        super().__init__(log, {})
        self._topics = topics
        self._group_id = group_id
        self._member_id = str(uuid4())
        self._from_latest = from_latest
        self._on_revoked = on_revoked
        self._on_assigned = on_assigned
        self._generation = -1
        self._told_to_go = False
        self._renewing = asyncio.create_task(self._keep_renewing(), name=f"snowbus-group-{group_id}")

    async def commit(self, offsets: Offsets, metadata: Metadata | None = None) -> None:
        """See GroupReader.commit."""
        places, texts = dict(offsets), dict(check_metadata(metadata))
        await self._log.write(
            lambda connection: groups.commit(connection, self._group_id, self._member_id, places, texts)
        )

    async def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Committed]:
        """See GroupReader.committed."""
        everything = await self._log.group_offsets(self._group_id)
        return {partition: everything[partition] for partition in partitions if partition in everything}

    async def close(self) -> None:
        """See Reader.close."""
        if self._closed:
            return
        await super().close()
        self._renewing.cancel()
        await asyncio.gather(self._renewing, return_exceptions=True)
        if self._next:
            await self._revoke(self.assignment)
        with contextlib.suppress(LogError):  # those who stay notice by the session timeout
            await self._log.write(lambda connection: groups.leave(connection, self._group_id, self._member_id))

    async def _keep_renewing(self) -> None:
        session = self._log.options.session_timeout
        renewed = 0.0
        while True:
            now = time.monotonic()
            try:
                if now - renewed >= session / 3 or await self._generation_moved():
                    await self._renew(session)
                    renewed = now
            except LogClosedError:
                return
            except LogError as error:
                logger.warning("group membership not renewed", group_id=self._group_id, reason=str(error))
            await asyncio.sleep(min(_GENERATION_SECONDS, session / 10))

    async def _generation_moved(self) -> bool:
        found = await self._log.fetch(lambda connection: groups.generation(connection, self._group_id))
        return found != self._generation

    async def _renew(self, session: float) -> None:
        now = _now_ms()
        joining = self._generation < 0

        def renew(connection: Connection) -> groups.Membership:
            return groups.renew(
                connection,
                self._group_id,
                self._member_id,
                topics=self._topics,
                now=now,
                session_timeout_ms=round(session * 1000),
                from_latest=self._from_latest,
                joining=joining,
            )

        membership = await self._log.write(renew)
        self._generation = -1 if membership.forgotten else membership.generation
        if leaving := self.assignment - (membership.claimed.keys() - membership.surplus):
            await self._revoke(leaving)
        if membership.surplus:
            await self._log.write(
                lambda connection: groups.release(connection, self._group_id, self._member_id, membership.surplus)
            )
        arrived = {
            partition: offset
            for partition, offset in membership.claimed.items()
            if partition not in self._next and partition not in membership.surplus
        }
        if arrived or self._told_to_go:
            await self._assign(arrived)

    async def _revoke(self, partitions: Assignment) -> None:
        self._told_to_go = True
        self._moving.update(partitions)  # what is drained must not grow
        if self._on_revoked is not None:
            try:
                await self._while_alive(self._on_revoked(partitions))
            except Exception:
                logger.exception("on_revoked failed; the partitions are given up all the same", group_id=self._group_id)
        for partition in partitions:
            del self._next[partition]
        self._paused.difference_update(partitions)
        self._moving.difference_update(partitions)

    async def _while_alive(self, callback: Awaitable[None]) -> None:
        """Wait for a callback however long it takes, and stay a member meanwhile."""
        session = self._log.options.session_timeout
        task = asyncio.ensure_future(callback)
        try:
            while not (await asyncio.wait({task}, timeout=session / 3))[0]:
                await self._log.write(
                    lambda connection: groups.keep_alive(
                        connection,
                        self._group_id,
                        self._member_id,
                        now=_now_ms(),
                        session_timeout_ms=round(session * 1000),
                    )
                )
        finally:
            task.cancel()
        task.result()

    async def _assign(self, offsets: Offsets) -> None:
        self._told_to_go = False
        self._moving.update(offsets)  # the callback may say where reading begins
        self._next.update(offsets)
        if self._on_assigned is not None:
            try:
                await self._while_alive(self._on_assigned(frozenset(offsets)))
            except Exception:
                logger.exception("on_assigned failed; the partitions are read all the same", group_id=self._group_id)
        self._moving.difference_update(offsets)
        self._log.signal()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
