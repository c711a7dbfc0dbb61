"""The embedded log: a durable file for one machine, which several processes may read and write at once."""

import asyncio
import contextlib
from collections.abc import Collection, Sequence
from typing import Self

from ..clock import now_ms
from ..database import Connection
from ..diagnostics import Diagnostics
from ..errors import ConfigurationError, LogError, LogUnavailableError
from ..event import ProducerRecord, Record, TopicPartition
from ..sparingly import SparingDiagnostics
from . import sqlite_groups as groups
from . import sqlite_retention as retention
from . import sqlite_tables as tables
from .embedded_reader import EmbeddedReader
from .interface import (
    AutoOffsetReset,
    Committed,
    Disk,
    GroupReader,
    Log,
    LogOptions,
    Metadata,
    Offsets,
    OnAssigned,
    OnRevoked,
    Place,
    Reader,
    TopicDetails,
    TopicInfo,
    check_metadata,
    check_records,
    check_topic_names,
)
from .sqlite_file import SqliteFile
from .sqlite_open import prepare
from .sqlite_reader import SqliteGroupReader
from .sqlite_url import file_of

logger = Diagnostics(__name__)

_RETENTION_SECONDS = 30.0
_RETENTION_CHUNK = 1000  # records
_RETENTION_CHUNK_BYTES = 2_000_000
_GIVEN_BACK_PAGES = 500  # in one go
_BETWEEN_CHUNKS_SECONDS = 0.005
_LITTLE_ROOM = 16  # times what appends leave free
_SAY_SECONDS = 900.0
_TAKE_BYTES = 8 * 1024 * 1024


class SqliteLog(Log):
    """A log in one SQLite file."""

    def __init__(self, url: str, file: SqliteFile, options: LogOptions) -> None:
        self.url = url
        self.options = options
        self.file = file
        self._closed = False
        self._diagnostics = SparingDiagnostics(logger, seconds=_SAY_SECONDS)
        self._expiring = asyncio.create_task(self._expire(), name="snowbus-log-expire")

    @classmethod
    async def open(cls, url: str, options: LogOptions, *, create: bool = True) -> Self:
        """Open or make the file. Raises ConfigurationError when it cannot be a log, LogError when it is damaged."""
        path = file_of(url)
        if not create and not path.exists():
            raise ConfigurationError(f"there is no log at {path}; name the one to read with --log or SNOWBUS_LOG")
        return cls(url, SqliteFile(path, await asyncio.to_thread(prepare, path)), options)

    async def append(self, topic: str, records: Sequence[ProducerRecord]) -> list[tuple[int, int]]:
        """See Log.append."""
        check_records(topic, records, self.options.max_record_bytes)
        if not records:
            return []
        now = now_ms()

        def append(connection: Connection) -> list[tuple[int, int]]:
            self.file.check_room(self.options.disk_reserve)
            return tables.append_records(connection, topic, records, now=now)

        try:
            async with asyncio.timeout(self.options.append_timeout):
                return await self.file.write(append)
        except TimeoutError:
            raise LogUnavailableError(f"not durable within {self.options.append_timeout} s") from None

    async def read(self, offsets: Offsets) -> Reader:
        """See Log.read."""
        for topic in {partition.topic for partition in offsets}:
            await self.partitions(topic)
        return EmbeddedReader(self, offsets)

    async def join(
        self,
        topics: Collection[str],
        *,
        group_id: str,
        auto_offset_reset: AutoOffsetReset = "earliest",
        on_revoked: OnRevoked | None = None,
        on_assigned: OnAssigned | None = None,
    ) -> GroupReader:
        """See Log.join."""
        for topic in topics:
            await self.partitions(topic)
        return SqliteGroupReader(
            self,
            sorted(topics),
            group_id=group_id,
            from_latest=auto_offset_reset == "latest",
            on_revoked=on_revoked,
            on_assigned=on_assigned,
        )

    async def create_topics(self, topics: Collection[str]) -> list[TopicInfo]:
        """See Log.create_topics."""
        check_topic_names(topics)
        options = self.options

        def create(connection: Connection) -> list[TopicInfo]:
            for topic in topics:
                tables.create_topic(
                    connection,
                    topic,
                    partitions=options.partitions,
                    retention_seconds=options.retention_seconds,
                    retention_bytes=options.retention_bytes,
                )
            return [topic for topic in _topics(connection) if topic.name in topics]

        return await self.file.write(create)

    async def topics(self) -> list[TopicInfo]:
        """See Log.topics."""
        return await self.file.fetch(_topics)

    async def describe_topics(self, topics: Collection[str]) -> dict[str, TopicDetails]:
        """See Log.describe_topics."""
        return await self.file.fetch(lambda connection: tables.describe_topics(connection, topics))

    async def partitions(self, topic: str) -> list[TopicPartition]:
        """See Log.partitions."""
        return [TopicPartition(topic, row.partition) for row in await self._rows(topic)]

    async def beginning_offsets(self, topic: str) -> dict[TopicPartition, int]:
        """See Log.beginning_offsets."""
        return {TopicPartition(topic, row.partition): row.first_offset for row in await self._rows(topic)}

    async def end_offsets(self, topic: str) -> dict[TopicPartition, int]:
        """See Log.end_offsets."""
        return {TopicPartition(topic, row.partition): row.next_offset for row in await self._rows(topic)}

    async def offsets_for_time(self, topic: str, timestamp: int) -> dict[TopicPartition, int]:
        """See Log.offsets_for_time."""

        def find(connection: Connection) -> dict[TopicPartition, int]:
            return {
                TopicPartition(topic, row.partition): tables.offset_for_time(connection, row, timestamp)
                for row in tables.partition_rows(connection, topic)
            }

        return await self.file.fetch(find)

    async def timestamps(self, places: Collection[Place]) -> dict[Place, int]:
        """See Log.timestamps."""
        return await self.file.fetch(lambda connection: tables.timestamps(connection, places))

    async def groups(self) -> list[str]:
        """See Log.groups."""
        return await self.file.fetch(groups.group_ids)

    async def group_offsets(self, group_id: str) -> dict[TopicPartition, Committed]:
        """See Log.group_offsets."""
        return await self.file.fetch(lambda connection: groups.committed(connection, group_id))

    async def reset_group(self, group_id: str, offsets: Offsets, metadata: Metadata | None = None) -> None:
        """See Log.reset_group."""
        now, texts = now_ms(), check_metadata(metadata)
        await self.file.write(lambda connection: groups.reset(connection, group_id, offsets, texts, now=now))

    async def check(self) -> None:
        """See Log.check. It writes a page, as a file that is locked, or a disk that is full, is read from as ever."""
        self.file.check_room(self.options.disk_reserve)
        await self.file.write(tables.touch)

    def disk(self) -> Disk:
        """See Log.disk."""
        return self.file.disk()

    async def close(self) -> None:
        """See Log.close."""
        if self._closed:
            return
        self._closed = True
        self._expiring.cancel()
        await asyncio.wait({self._expiring})
        await self.file.close()

    # What the readers stand on

    async def take(self, positions: Sequence[tuple[TopicPartition, int]], max_records: int) -> list[Record]:
        """Records from these positions on, those of the first one first."""
        return await self.file.fetch(
            lambda connection: tables.read_records(
                connection, positions, max_records=max_records, max_bytes=_TAKE_BYTES
            )
        )

    def next_change(self) -> asyncio.Future[None]:
        """A future that is done when something may have been written, by any process. Take it before reading."""
        return self.file.next_change()

    def signal(self) -> None:
        """Wake everyone who waits for a change."""
        self.file.signal()

    # In the background

    async def _expire(self) -> None:
        """Apply the topics' retention now and then, in chunks so small that appends hardly wait for them."""
        while True:
            more = 0
            try:
                more = await self._expire_chunk(now_ms())
            except LogError as error:
                logger.warning("retention not applied", reason=str(error))
            if not more:
                self._say_room()
            await asyncio.sleep(_BETWEEN_CHUNKS_SECONDS if more else _RETENTION_SECONDS)

    def _expire_chunk(self, now: int) -> asyncio.Future[int]:
        def expire(connection: Connection) -> int:
            deleted = retention.expire_records(
                connection, now=now, chunk=_RETENTION_CHUNK, chunk_bytes=_RETENTION_CHUNK_BYTES
            )
            return deleted + retention.give_back(connection, pages=_GIVEN_BACK_PAGES)

        return self.file.write(expire)

    def _say_room(self) -> None:
        with contextlib.suppress(OSError):
            free, reserve = self.disk().free, self.options.disk_reserve
            if free < _LITTLE_ROOM * reserve:
                self._diagnostics.warning(
                    "the disk of the log is nearly full; below the reserve, appends are refused",
                    log=self.url,
                    free_bytes=free,
                    reserve_bytes=reserve,
                )

    async def _rows(self, topic: str) -> list[tables.PartitionRow]:
        return await self.file.fetch(lambda connection: tables.partition_rows(connection, topic))


def _topics(connection: Connection) -> list[TopicInfo]:
    return [TopicInfo(*row) for row in connection.execute("SELECT name, partitions FROM topics ORDER BY name")]
