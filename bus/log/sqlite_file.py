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
from typing import Any, TypeVar

from ..database import BUSY_SECONDS, Connection, connect, is_of_file, mapped_errors, savepoint, transaction
from ..diagnostics import Diagnostics
from ..errors import LogClosedError, LogError, LogUnavailableError, SnowbusError, log_error
from ..sparingly import SparingDiagnostics
from ..tasks import to_its_end
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


Outcome = tuple[Any, BaseException | None]


class _Job:
    """Statements on their way to the thread that writes; when nobody waits for them any more it lets go of them, and
    of the records in them.
    """

    __slots__ = ("future", "statements")

    def __init__(self, statements: Statements[Any], future: asyncio.Future[Any]) -> None:
        self.statements: Statements[Any] | None = statements
        self.future = future
        future.add_done_callback(self._let_go)

    def _let_go(self, _: asyncio.Future[Any]) -> None:
        self.statements = None

    def settle(self, outcome: Outcome) -> None:
        """Tell whoever waits. Only in the event loop."""
        result, error = outcome
        if self.future.done():
            return
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)


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
        await to_its_end(self._end())  # no thread of ours may outlive the event loop that it reports to

    async def _end(self) -> None:
        self._watching.cancel()
        await asyncio.wait({self._watching})
        self._jobs.put(None)
        await self._written
        await asyncio.to_thread(self._readers.shutdown)  # it waits for what is being read
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

        They share a transaction with others: a SnowbusError they must raise before they write. When any of them raises
        something else all are undone and run again, but for those, which fail with a LogError. Once the future is
        cancelled they are not run any more.
        """
        self._check_open()
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put(_Job(statements, future))
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
        while jobs := self._next_jobs():
            try:
                with mapped_errors(self._name):
                    self._check_identity()
                    connection = connection or self._connect()
                    outcomes = self._run_jobs(connection, jobs)
            except Exception as error:  # noqa: BLE001 - whatever it is, what comes after it may be written
                outcomes = [(None, log_error(self._name, error))] * len(jobs)
            for job, outcome in zip(jobs, outcomes, strict=True):
                self._call_in_loop(job.settle, outcome)
            self._call_in_loop(self.signal)
            if connection is not None:
                self._shorten(connection)
        self._call_in_loop(self._written.set_result, None)

    def _next_jobs(self) -> list[_Job]:
        """All that waits, so many at most; waits until there is something, and is empty at the end."""
        jobs: list[_Job] = []
        with contextlib.suppress(queue.Empty):
            while len(jobs) < _JOBS_A_TRANSACTION:
                job = self._jobs.get(block=not jobs)
                if job is None:
                    self._jobs.put(None)  # to be found again by the next call
                    break
                if job.statements is not None:
                    jobs.append(job)
        return jobs

    def _check_identity(self) -> None:
        """Raise LogUnavailableError when the file at our path is not the one that we opened: writes would vanish."""
        try:
            found = self._path.stat()
        except OSError as error:
            raise LogUnavailableError(f"{self._name}: {error.strerror}; restart to begin anew") from None
        if (found.st_dev, found.st_ino) != self._identity:
            raise LogUnavailableError(f"{self._name} was replaced; restart to use the new file")

    def _run_jobs(self, connection: Connection, jobs: Sequence[_Job]) -> list[Outcome]:
        """Run jobs in one transaction: what is wrong with one job is its outcome, what is with the file fails all.

        To undo one job alone SQLite keeps a copy of all that it changes, so that is only paid for once one has failed.
        """
        try:
            with transaction(connection, "IMMEDIATE"):
                return [self._run_job(connection, job) for job in jobs]
        except Exception as error:
            if is_of_file(error):
                raise
        with transaction(connection, "IMMEDIATE"):
            return [self._run_alone(connection, job) for job in jobs]

    def _run_job(self, connection: Connection, job: _Job) -> Outcome:
        statements = job.statements
        if statements is None:
            return None, None
        try:
            return statements(connection), None
        except SnowbusError as error:
            return None, error

    def _run_alone(self, connection: Connection, job: _Job) -> Outcome:
        try:
            with savepoint(connection):
                return self._run_job(connection, job)
        except Exception as error:
            if is_of_file(error):
                raise
            return None, log_error(self._name, error)

    def _shorten(self, connection: Connection) -> None:
        """Begin the write-ahead file anew when it has grown long, as SQLite by itself does only while nobody reads.

        A reader that does not end its transaction keeps what was written since it began it.
        """
        size = self._wal_bytes()
        if size <= _WAL_BYTES or time.monotonic() < self._shorten_at:
            return
        with contextlib.suppress(LogError), mapped_errors(self._name):
            connection.execute(f"PRAGMA busy_timeout = {_SHORTEN_MS}")
            try:
                (is_busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                connection.execute(f"PRAGMA busy_timeout = {round(BUSY_SECONDS * 1000)}")
            size = size if is_busy else 0
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
        connection: Connection | None = None
        seen, changed_at = None, 0.0
        while True:
            now = self._loop.time()
            with contextlib.suppress(LogError), mapped_errors(self._name):
                connection = connection or self._connect()
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
