"""The file of the embedded log: which threads read and write it, and how a process notices what others have written.

One thread writes: it takes all that waits, in one transaction, so that appends made at the same time share one flush to
the disk. A few others read.
"""

import asyncio
import contextlib
import queue
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ..database import BUSY_SECONDS, VALUE_ERRORS, Connection, connect, mapped_errors, transaction
from ..diagnostics import Diagnostics
from ..errors import LogClosedError, LogError, LogUnavailableError, SnowbusError
from ..sparingly import SparingDiagnostics
from .interface import Disk
from .sqlite_open import log_name

T = TypeVar("T")
Statements = Callable[[Connection], T]

logger = Diagnostics(__name__)

_READ_THREADS = 4
_JOBS_A_TRANSACTION = 500
_WATCH_SECONDS = 0.005
_WATCH_CLOSELY_SECONDS = 0.001
_BUSY_SECONDS = 1.0
_WAL_BYTES = 64 * 1024 * 1024
_WAL_TOO_LARGE = 4 * _WAL_BYTES
_SHORTEN_MS = 100
_SHORTEN_AGAIN_SECONDS = 1.0
_SAY_SECONDS = 300.0


class _Job(NamedTuple):
    statements: Statements[Any]
    future: asyncio.Future[Any]
    done: Callable[[Any, BaseException | None], None]


class SqliteFile:
    """One SQLite file (WAL, flushed at each commit), and the threads that use it."""

    def __init__(self, path: Path, identity: tuple[int, int]) -> None:
        self._path = path
        self._wal = path.with_name(f"{path.name}-wal")
        self._name = log_name(path)
        self._identity = identity
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._written: asyncio.Future[None] = self._loop.create_future()
        self._readers = ThreadPoolExecutor(_READ_THREADS, thread_name_prefix="snowbus-log-reader")
        self._local = threading.local()
        self._shorten_at = 0.0
        self._diagnostics = SparingDiagnostics(logger, seconds=_SAY_SECONDS)
        self._connections: list[Connection] = []
        self._changed: asyncio.Future[None] = self._loop.create_future()
        threading.Thread(target=self._write, name="snowbus-log-writer", daemon=True).start()
        self._watching = asyncio.create_task(self._watch(), name="snowbus-log-watch")

    async def close(self) -> None:
        """Write what waits, end the threads, and wake everyone who waits for a change."""
        self._closed = True
        self._watching.cancel()
        await asyncio.wait({self._watching})
        self._jobs.put(None)
        await self._written
        self._readers.shutdown()
        for connection in self._connections:
            connection.close()
        self.signal()

    async def fetch(self, statements: Statements[T]) -> T:
        """Run statements that only read, in one of the reading threads, on one snapshot of the file."""
        self._check_open()

        def run() -> T:
            with mapped_errors(self._name):
                self._check_identity()
                if not hasattr(self._local, "connection"):
                    self._local.connection = self._connect()
                with transaction(self._local.connection, "DEFERRED") as connection:
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
        """Wake everyone who waits for a change."""
        if not self._changed.done():
            self._changed.set_result(None)
        self._changed = self._loop.create_future()

    def _write(self) -> None:
        connection: Connection | None = None
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
                with mapped_errors(self._name):
                    self._check_identity()
                    connection = connection or self._connect()
                    outcomes = self._run_jobs(connection, jobs)
            except LogError as error:
                outcomes = [(None, error)] * len(jobs)
            for each, outcome in zip(jobs, outcomes, strict=True):
                each.done(*outcome)
            self._call_in_loop(self.signal)
            if connection is not None:
                self._shorten(connection)
        self._call_in_loop(self._written.set_result, None)

    def _check_identity(self) -> None:
        """Raise LogUnavailableError when the file at our path is not the one that we opened: writes would vanish."""
        try:
            found = self._path.stat()
        except OSError as error:
            raise LogUnavailableError(f"{self._name}: {error.strerror}; restart to begin anew") from None
        if (found.st_dev, found.st_ino) != self._identity:
            raise LogUnavailableError(f"{self._name} was replaced; restart to use the new file")

    def _run_jobs(self, connection: Connection, jobs: Sequence[_Job]) -> list[tuple[Any, BaseException | None]]:
        """Run jobs in one transaction; a job's own SnowbusError is its outcome, anything else fails all of them."""
        outcomes: list[tuple[Any, BaseException | None]] = []
        with transaction(connection, "IMMEDIATE"):
            for job in jobs:
                try:
                    outcomes.append((job.statements(connection), None))
                except SnowbusError as error:
                    outcomes.append((None, error))
                except VALUE_ERRORS as error:
                    outcomes.append((None, LogError(f"{self._name}: {error}")))
        return outcomes

    def _shorten(self, connection: Connection) -> None:
        """Begin the write-ahead file anew when it has grown long, as SQLite by itself does only while nobody reads.

        A reader that does not end its transaction keeps what was written since it began it.
        """
        size = self._wal_bytes()
        if size <= _WAL_BYTES or time.monotonic() < self._shorten_at:
            return
        connection.execute(f"PRAGMA busy_timeout = {_SHORTEN_MS}")
        with contextlib.suppress(LogError), mapped_errors(self._name):
            (is_busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            size = size if is_busy else 0
        connection.execute(f"PRAGMA busy_timeout = {round(BUSY_SECONDS * 1000)}")
        if not size:
            return
        self._shorten_at = time.monotonic() + _SHORTEN_AGAIN_SECONDS
        if size > _WAL_TOO_LARGE:
            self._diagnostics.warning(
                "somebody reads the log in one transaction that does not end; its write-ahead file grows",
                file=str(self._wal),
                bytes=size,
            )

    def _wal_bytes(self) -> int:
        try:
            return self._wal.stat().st_size
        except OSError:
            return 0

    def disk(self) -> Disk:
        """The bytes that the file takes with what is written ahead of it, and those that its disk has left."""
        try:
            used = self._path.stat().st_size
        except FileNotFoundError:
            used = 0
        return Disk(used + self._wal_bytes(), shutil.disk_usage(self._path.parent).free)

    def check_room(self, reserve: int) -> None:
        """Raise LogUnavailableError when the disk has less left than is to be kept for other things than appends."""
        try:
            free = shutil.disk_usage(self._path.parent).free
        except OSError as error:
            raise LogUnavailableError(f"{self._name}: {error.strerror}") from None
        if free < reserve:
            raise LogUnavailableError(
                f"{self._name}: the disk is full: {free:,} bytes are left, and {reserve:,} are kept for offsets "
                "of groups and for retention; make room, and it goes on by itself"
            )

    def _call_in_loop(self, callback: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed without closing the log
            self._loop.call_soon_threadsafe(callback, *arguments)

    async def _watch(self) -> None:
        """Notice what other processes write, by the file's data version; closely while they do."""
        connection = self._connect()
        seen, changed_at = None, 0.0
        while True:
            now = self._loop.time()
            with contextlib.suppress(LogError), mapped_errors(self._name):
                (version,) = connection.execute("PRAGMA data_version").fetchone()
                if version != seen:
                    seen, changed_at = version, now
                    self.signal()
            await asyncio.sleep(_WATCH_CLOSELY_SECONDS if now - changed_at < _BUSY_SECONDS else _WATCH_SECONDS)

    def _connect(self) -> Connection:
        connection = connect(self._path)
        self._connections.append(connection)
        return connection

    def _check_open(self) -> None:
        if self._closed:
            raise LogClosedError(f"{self._path} is closed")
