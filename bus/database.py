"""Opens SQLite files: the only file that imports sqlite3, and it maps what sqlite3 raises."""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from .errors import MEND, ConfigurationError, LogDamagedError, LogError, LogUnavailableError, SnowbusError
from .folders import check_folder

Connection = sqlite3.Connection
Rows = Sequence[tuple[Any, ...]]

BUSY_SECONDS = 5.0
_PRIMARY_CODE = 0xFF


def connect(path: Path, *, create: bool = False, only_read: bool = False, is_damaged: bool = False) -> Connection:
    """Open a file for any one thread at a time; what is committed is flushed to the disk. Raises as sqlite3 does.

    With `is_damaged` files that were cut are read, too, this one and those that are attached.
    """
    uri = _uri(path, "rwc" if create else "ro" if only_read else "rw")
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        if is_damaged:
            connection.execute("PRAGMA writable_schema = ON")  # else SQLite minds that the file is shorter than it says
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA journal_size_limit = 67108864")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def attach(connection: Connection, path: Path, *, name: str) -> None:
    """Put the tables of another file beside those of a connection, only to be read. Raises as sqlite3 does."""
    connection.execute(f"ATTACH ? AS {name}", (_uri(path, "ro"),))


def _uri(path: Path, mode: str) -> str:
    return f"{path.absolute().as_uri()}?mode={mode}"


@contextlib.contextmanager
def transaction(connection: Connection, kind: Literal["DEFERRED", "IMMEDIATE"]) -> Iterator[Connection]:
    """Commit what is done inside, or none of it when that raises."""
    connection.execute(f"BEGIN {kind}")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def savepoint(connection: Connection) -> Iterator[Connection]:
    """Within a transaction, undo what is done inside, and no more, when that raises."""
    connection.execute("SAVEPOINT one")
    try:
        yield connection
        connection.execute("RELEASE one")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK TO one")
            connection.execute("RELEASE one")
        raise


def is_of_file(error: Exception) -> bool:
    """Whether an error has to do with a file, and not only with one statement and its values."""
    return type(error) in (sqlite3.DatabaseError, sqlite3.OperationalError, sqlite3.InternalError)


@contextlib.contextmanager
def mapped_errors(name: str, *, opening: bool = False) -> Iterator[None]:
    """What sqlite3 raises, as our own errors: what passes by itself or by making room is LogUnavailableError, what
    will not is LogDamagedError. A file that cannot even be opened is ConfigurationError.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise _mapped(name, error, opening=opening) from error


def _mapped(name: str, error: sqlite3.DatabaseError, *, opening: bool) -> SnowbusError:
    kind: type[SnowbusError] = LogUnavailableError if isinstance(error, sqlite3.OperationalError) else LogError
    said = f"{name}: {error}"
    match getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE:
        case sqlite3.SQLITE_NOTADB if opening:
            kind = ConfigurationError
            said = f"{name} is no SQLite file, or its beginning is damaged: name another, or {MEND}"
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return LogDamagedError(name, str(error))
        case sqlite3.SQLITE_FULL:
            said = f"{name}: the disk is full; make room"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            kind = ConfigurationError if opening else LogUnavailableError
            said = (
                f"{name} cannot be opened and written ({error}): look at its owner and permissions, at those of its "
                "folder and of the files beside it, and whether the file system is mounted read-only"
            )
        case sqlite3.SQLITE_IOERR:
            said = (
                f"{name}: {error} ({error.sqlite_errorname}): the disk fails, or a quota or a limit on the size of "
                "files is used up"
            )
    return kind(said)


class Database:
    """A small file that several processes may share. Its methods block, may be called from any thread, and raise
    LogUnavailableError when the file cannot be read or written now.
    """

    def __init__(self, name: str, connection: Connection) -> None:
        self._name = name
        self._connection = connection
        self._one_at_a_time = threading.Lock()

    @classmethod
    def open(cls, name: str, path: Path, tables: str) -> "Database":
        """Open a file, making it and its tables where they are missing, but no folder. Raises ConfigurationError."""
        check_folder(name, path)
        try:
            connection = connect(path, create=True)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(tables)
        except sqlite3.Error as error:
            raise ConfigurationError(f"{name} {path} cannot be used: {error}") from None
        return cls(name, connection)

    def rows_of(self, query: str, parameters: Rows) -> list[tuple[Any, ...]]:
        """The rows that a query gives for each of the parameters."""
        with self._one_at_a_time, mapped_errors(self._name):
            return [row for each in parameters for row in self._connection.execute(query, each)]

    def write(self, statements: Sequence[tuple[str, Rows]]) -> None:
        """Run statements, each with each of its parameters, in one transaction."""
        with (
            self._one_at_a_time,
            mapped_errors(self._name),
            transaction(self._connection, "IMMEDIATE") as connection,
        ):
            for statement, parameters in statements:
                connection.executemany(statement, parameters)

    def close(self) -> None:
        """Close the file."""
        with self._one_at_a_time:
            self._connection.close()
