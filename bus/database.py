"""Opens SQLite files: the only file that imports sqlite3, and it maps what sqlite3 raises."""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from .errors import ConfigurationError, LogError, LogUnavailableError
from .folders import check_folder

Connection = sqlite3.Connection
Rows = Sequence[tuple[Any, ...]]

# What a statement raises whose values SQLite cannot hold.
VALUE_ERRORS = (ValueError, OverflowError, sqlite3.ProgrammingError)

_BUSY_SECONDS = 5.0


def connect(path: Path, *, create: bool = False) -> Connection:
    """Open a file for any one thread at a time; what is committed is flushed to the disk. Raises as sqlite3 does."""
    uri = f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
    connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA journal_size_limit = 67108864")
    return connection


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
def mapped_errors(name: str, *, opening: Path | None = None) -> Iterator[None]:
    """What sqlite3 raises, as our own errors: what passes by itself or by making room is LogUnavailableError.

    A file that cannot be opened as a database is ConfigurationError.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        raise LogUnavailableError(f"{name}: {error}") from error
    except sqlite3.DatabaseError as error:
        if opening is not None:
            raise ConfigurationError(f"{opening} is no {name}, or damaged: {error}") from error
        raise LogError(f"{name}: {error}; the file is damaged, or something else") from error


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
