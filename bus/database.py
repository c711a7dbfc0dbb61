"""A small SQLite file that several processes may share: made when it is missing, used by one thread at a time."""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .errors import ConfigurationError, LogUnavailableError

_BUSY_SECONDS = 5.0

Rows = Sequence[tuple[Any, ...]]


class Database:
    """One open file. Its methods block, may be called from any thread, and raise LogUnavailableError when the file
    cannot be read or written now.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._one_at_a_time = threading.Lock()

    def rows_of(self, query: str, parameters: Rows) -> list[tuple[Any, ...]]:
        """The rows that a query gives for each of the parameters."""
        with self._one_at_a_time, _mapped_errors():
            return [row for each in parameters for row in self._connection.execute(query, each)]

    def write(self, statements: Sequence[tuple[str, Rows]]) -> None:
        """Run statements, each with each of its parameters, in one transaction that is flushed to the disk."""
        with self._one_at_a_time, _mapped_errors(), self._connection:
            for statement, parameters in statements:
                self._connection.executemany(statement, parameters)

    def close(self) -> None:
        """Close the file."""
        with self._one_at_a_time:
            self._connection.close()


def open_database(path: Path, tables: str) -> Database:
    """Open a file, making it and its tables where they are missing. Raises ConfigurationError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(tables)
    except (OSError, sqlite3.Error) as error:
        raise ConfigurationError(f"{path} cannot be used: {error}") from None
    return Database(connection)


@contextlib.contextmanager
def _mapped_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise LogUnavailableError(f"embedded store: {error}") from error
