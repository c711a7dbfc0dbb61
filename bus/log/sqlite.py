"""The embedded log: a durable file for one machine, which several processes may read and write at once.

One thread of a process writes: it takes all that waits, in one transaction, so that appends made at the same time share
one flush to the disk. A few others read. This is the only file that imports sqlite3, and it maps what sqlite3 raises.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar, cast

import structlog

from ..errors import ConfigurationError, LogClosedError, LogError, LogUnavailableError, SnowbusError
from ..event import ProducerRecord, Record, TopicPartition
from . import sqlite_groups as groups
from . import sqlite_tables as tables
from .embedded_reader import EmbeddedReader
from .interface import (
    AutoOffsetReset,
    Committed,
    GroupReader,
    Log,
    LogOptions,
    Metadata,
    Offsets,
    OnAssigned,
    OnRevoked,
    Reader,
    TopicInfo,
    check_metadata,
    check_sizes,
)
from .sqlite_reader import SqliteGroupReader

T = TypeVar("T")
Statements = Callable[[tables.Connection], T]
logger = structlog.get_logger(__name__)

_READ_THREADS = 4
_JOBS_A_TRANSACTION = 500
_BUSY_SECONDS = 5.0
_WATCH_SECONDS = 0.005
_RETENTION_SECONDS = 30.0
_RETENTION_CHUNK = 1000
_TAKE_BYTES = 8 * 1024 * 1024


class _Job(NamedTuple):
    statements: Statements[Any]
    future: asyncio.Future[Any]
    done: Callable[[Any, BaseException | None], None]


class SqliteLog(Log):
    """A log in one SQLite file (WAL, flushed at each commit)."""

    def __init__(self, url: str, path: Path, options: LogOptions) -> None:
        self.url = url
        self.options = options
        self._path = path
        self._file = (0, 0)
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="snowbus-log-writer", daemon=True)
        self._written: asyncio.Future[None] = self._loop.create_future()
        self._readers = ThreadPoolExecutor(_READ_THREADS, thread_name_prefix="snowbus-log-reader")
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._changed: asyncio.Future[None] = self._loop.create_future()
        self._background: list[asyncio.Task[None]] = []

    @classmethod
    async def open(cls, url: str, options: LogOptions, *, create: bool = True) -> Self:
        """Open or make the file. Raises ConfigurationError when it cannot be a log, LogError when it is damaged."""
        path = _path(url)
        if not create and not path.exists():
            raise ConfigurationError(f"there is no log at {path}")
        opened = cls(url, path, options)
        opened._file = await asyncio.to_thread(_prepare, path)
        opened._writer.start()
        opened._background = [
            asyncio.create_task(opened._watch(), name="snowbus-log-watch"),
            asyncio.create_task(opened._expire(), name="snowbus-log-expire"),
        ]
        return opened

    async def append(self, topic: str, records: Sequence[ProducerRecord]) -> list[tuple[int, int]]:
        """See Log.append."""
        check_sizes(topic, records, self.options.max_record_bytes)
        if not records:
            return []
        now = _now_ms()
        appending = self.write(lambda connection: tables.append_records(connection, topic, records, now=now))
        try:
            return await asyncio.wait_for(appending, self.options.append_timeout)
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
        options = self.options

        def create(connection: tables.Connection) -> list[TopicInfo]:
            for topic in topics:
                tables.create_topic(
                    connection,
                    topic,
                    partitions=options.partitions,
                    retention_seconds=options.retention_seconds,
                    retention_bytes=options.retention_bytes,
                )
            return [topic for topic in _topics(connection) if topic.name in topics]

        return await self.write(create)

    async def topics(self) -> list[TopicInfo]:
        """See Log.topics."""
        return await self.fetch(_topics)

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

        def find(connection: tables.Connection) -> dict[TopicPartition, int]:
            return {
                TopicPartition(topic, row.partition): tables.offset_for_time(connection, row, timestamp)
                for row in tables.partition_rows(connection, topic)
            }

        return await self.fetch(find)

    async def groups(self) -> list[str]:
        """See Log.groups."""
        return await self.fetch(groups.group_ids)

    async def group_offsets(self, group_id: str) -> dict[TopicPartition, Committed]:
        """See Log.group_offsets."""
        return await self.fetch(lambda connection: groups.committed(connection, group_id))

    async def reset_group(self, group_id: str, offsets: Offsets, metadata: Metadata | None = None) -> None:
        """See Log.reset_group."""
        now, texts = _now_ms(), check_metadata(metadata)
        await self.write(lambda connection: groups.reset(connection, group_id, offsets, texts, now=now))

    async def close(self) -> None:
        """See Log.close."""
        if self._closed:
            return
        self._closed = True
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self._jobs.put(None)
        await self._written
        self._readers.shutdown()
        for connection in self._connections:
            connection.close()
        self.signal()

    # What the readers stand on

    async def take(self, positions: Sequence[tuple[TopicPartition, int]], max_records: int) -> list[Record]:
        """Records from these positions on, those of the first one first."""
        return await self.fetch(
            lambda connection: tables.read_records(
                connection, positions, max_records=max_records, max_bytes=_TAKE_BYTES
            )
        )

    async def fetch(self, statements: Statements[T]) -> T:
        """Run statements that only read, in one of the reading threads, on one snapshot of the file."""
        self._check_open()

        def run() -> T:
            with _mapped_errors():
                self._check_file()
                if not hasattr(self._local, "connection"):
                    self._local.connection = self._connect()
                with _transaction(self._local.connection, "DEFERRED") as connection:
                    return statements(connection)

        return await self._loop.run_in_executor(self._readers, run)

    def write(self, statements: Statements[T]) -> asyncio.Future[T]:
        """Run statements that write, in the writing thread; the future is done once what they wrote is durable.

        They share a transaction with others: what they raise (a SnowbusError) they must raise before they write.
        """
        self._check_open()
        future: asyncio.Future[T] = self._loop.create_future()

        def settle(result: T, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        def done(result: T, error: BaseException | None) -> None:
            self._call_in_loop(settle, result, error)

        self._jobs.put(_Job(statements, future, done))
        return future

    def next_change(self) -> asyncio.Future[None]:
        """A future that is done when something may have been written, by any process. Take it before reading."""
        self._check_open()
        return self._changed

    def signal(self) -> None:
        """Wake everyone who waits in `changed`."""
        if not self._changed.done():
            self._changed.set_result(None)
        self._changed = self._loop.create_future()

    # The writing thread

    def _write(self) -> None:
        connection: sqlite3.Connection | None = None
        while (job := self._jobs.get()) is not None:
            jobs = [job]
            with contextlib.suppress(queue.Empty):
                while len(jobs) < _JOBS_A_TRANSACTION:
                    following = self._jobs.get_nowait()
                    if following is None:
                        self._jobs.put(None)
                        break
                    jobs.append(following)
            jobs = [job for job in jobs if not job.future.done()]  # nobody waits for the others any more
            try:
                with _mapped_errors():
                    self._check_file()
                    connection = connection or self._connect()
                    outcomes = _run_jobs(connection, jobs)
            except LogError as error:
                outcomes = [(None, error)] * len(jobs)
            for each, outcome in zip(jobs, outcomes, strict=True):
                each.done(*outcome)
            self._call_in_loop(self.signal)
        self._call_in_loop(self._written.set_result, None)

    def _check_file(self) -> None:
        """Raise LogUnavailableError when the file at our path is not the one that we opened: writes would vanish."""
        try:
            found = self._path.stat()
        except OSError as error:
            raise LogUnavailableError(f"embedded log: {self._path}: {error.strerror}; restart to begin anew") from None
        if (found.st_dev, found.st_ino) != self._file:
            raise LogUnavailableError(f"embedded log: {self._path} was replaced; restart to use the new file")

    def _call_in_loop(self, callback: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed without closing the log
            self._loop.call_soon_threadsafe(callback, *arguments)

    # In the background

    async def _watch(self) -> None:
        """Notice what other processes write, by the file's data version."""
        connection = self._connect()
        seen = None
        while True:
            with contextlib.suppress(sqlite3.Error):
                (version,) = connection.execute("PRAGMA data_version").fetchone()
                if version != seen:
                    seen = version
                    self.signal()
            await asyncio.sleep(_WATCH_SECONDS)

    async def _expire(self) -> None:
        """Apply the topics' retention now and then, in chunks so small that appends hardly wait for them."""
        while True:
            deleted = 0
            try:
                deleted = await self._expire_chunk(_now_ms())
            except LogError as error:
                logger.warning("retention not applied", reason=str(error))
            await asyncio.sleep(0 if deleted else _RETENTION_SECONDS)

    def _expire_chunk(self, now: int) -> asyncio.Future[int]:
        def expire(connection: tables.Connection) -> int:
            deleted = tables.expire_records(connection, now=now, chunk=_RETENTION_CHUNK)
            connection.execute(f"PRAGMA incremental_vacuum({_RETENTION_CHUNK})").fetchall()
            return deleted

        return self.write(expire)

    async def _rows(self, topic: str) -> list[tables.PartitionRow]:
        return await self.fetch(lambda connection: tables.partition_rows(connection, topic))

    def _connect(self) -> sqlite3.Connection:
        connection = _connect(self._path)
        self._connections.append(connection)
        return connection

    def _check_open(self) -> None:
        if self._closed:
            raise LogClosedError(f"{self.url} is closed")


def _path(url: str) -> Path:
    """The file of `sqlite:///relative` or `sqlite:////absolute`. Raises ConfigurationError."""
    if not url.startswith("sqlite:///") or url == "sqlite:///" or ":memory:" in url:
        raise ConfigurationError(f"log {url!r}: write sqlite:///relative/path or sqlite:////absolute/path")
    return Path(url.removeprefix("sqlite:///"))


def _prepare(path: Path) -> tuple[int, int]:
    """Make the file unless it is there, check that it is a log, and return its device and inode.

    Raises ConfigurationError when it cannot be a log, LogUnavailableError when it is locked.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"log {path}: {error.strerror or error}") from None
    with _mapped_errors(path), contextlib.closing(_connect(path, create=True)) as connection:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # takes effect only while the file is empty
        connection.execute("PRAGMA journal_mode = WAL")
        with _transaction(connection, "IMMEDIATE"):
            (application_id,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            (objects,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if not objects:
                for statement in tables.SCHEMA:
                    connection.execute(statement)
            elif application_id != tables.APPLICATION_ID:
                raise ConfigurationError(f"{path} is an SQLite file of something else, not a Snowbus log")
            elif version != tables.FORMAT_VERSION:
                raise ConfigurationError(
                    f"{path} has format {version}, and this Snowbus reads format {tables.FORMAT_VERSION}: "
                    "move it away to begin anew, or read it with the Snowbus that made it"
                )
    found = path.stat()
    return found.st_dev, found.st_ino


def _connect(path: Path, *, create: bool = False) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
    connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA journal_size_limit = 67108864")
    return connection


def _run_jobs(connection: sqlite3.Connection, jobs: Sequence[_Job]) -> list[tuple[Any, BaseException | None]]:
    """Run jobs in one transaction; a job's own SnowbusError is its outcome, anything else fails all of them."""
    outcomes: list[tuple[Any, BaseException | None]] = []
    with _transaction(connection, "IMMEDIATE"):
        for job in jobs:
            try:
                outcomes.append((job.statements(cast("tables.Connection", connection)), None))
            except SnowbusError as error:
                outcomes.append((None, error))
            except (ValueError, OverflowError, sqlite3.ProgrammingError) as error:  # values that SQLite cannot hold
                outcomes.append((None, LogError(f"embedded log: {error}")))
    return outcomes


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection, kind: str) -> Iterator[tables.Connection]:
    connection.execute(f"BEGIN {kind}")
    try:
        yield cast("tables.Connection", connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def _mapped_errors(opening: Path | None = None) -> Iterator[None]:
    """What sqlite3 raises, as our own errors: what passes by itself or by making room is LogUnavailableError.

    A file that cannot be opened as a database is ConfigurationError.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        raise LogUnavailableError(f"embedded log: {error}") from error
    except sqlite3.DatabaseError as error:
        if opening is not None:
            raise ConfigurationError(f"{opening} is no log, or damaged: {error}") from error
        raise LogError(f"embedded log: {error}; the file is damaged, or no log at all") from error


def _topics(connection: tables.Connection) -> list[TopicInfo]:
    return [TopicInfo(*row) for row in connection.execute("SELECT name, partitions FROM topics ORDER BY name")]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
