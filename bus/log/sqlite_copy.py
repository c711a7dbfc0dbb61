"""Copies the file of an embedded log while others write it, as a backup, or what can be read of a damaged one.

Records never change, so they are copied in slices, each in a short transaction: nobody waits for a copy, and what is
written ahead of the file does not pile up behind it. What moves (the ends of partitions, the offsets of groups) is
copied first, all of one moment; records that come after it are not.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from ..database import Connection, attach, connect, mapped_errors, transaction
from ..errors import ConfigurationError, LogDamagedError, LogError, LogUnavailableError
from ..folders import check_folder
from . import sqlite_tables as tables
from .sqlite_open import check_kind, check_size, flush_folder, lay_out, log_name

_SLICE = 500  # records
_MOVING = ("topics", "partitions", "commits")
_TROUBLES = 100


class Contents(NamedTuple):
    """What a log holds: records, groups that have committed, and how many records are missing between others."""

    records: int
    groups: int
    missing: int


def back_up(source: Path, target: Path) -> Contents:
    """Copy a log while others go on with it. Raises ConfigurationError, LogDamagedError, LogUnavailableError."""
    with _new_copy(source, target) as copy:
        _copy_tables(copy, _MOVING)
        for low, high in _slices(copy):
            _copy_records(copy, low, high)
        tables.mend_partitions(copy)
        return _contents(copy)


def salvage(source: Path, target: Path) -> Contents:
    """Copy what can be read of a damaged log that nobody uses, its groups' offsets only where those can.

    Raises ConfigurationError; LogDamagedError when not even its topics can be read.
    """
    with _new_copy(source, target, is_damaged=True) as copy:
        name = _name(source, target)
        try:
            with mapped_errors(name):
                _copy_tables(copy, _MOVING)
        except LogUnavailableError:
            raise
        except LogError:
            _copy_topics(copy, name)
        if not all(map(tables.is_possible, tables.all_partition_rows(copy))):
            raise _topics_lost(name)
        for low, high in _slices(copy):
            _save_records(copy, low, high, name=name)
        found = _contents(copy)
        tables.mend_partitions(copy)
        return found


def check(path: Path) -> Contents:
    """Read a whole log, and count what it holds. Raises ConfigurationError, LogDamagedError."""
    with _reading(path) as connection:
        troubles = [text for (text,) in connection.execute(f"PRAGMA integrity_check({_TROUBLES})") if text != "ok"]
        if troubles:
            more = f" (and {len(troubles) - 1} things more)" if len(troubles) > 1 else ""
            raise LogDamagedError(log_name(path), " ".join(troubles[0].split()) + more)
        return _contents(connection)


@contextlib.contextmanager
def _reading(path: Path, *, is_damaged: bool = False) -> Iterator[Connection]:
    """A log that is there, and is only read."""
    if not path.exists():
        raise ConfigurationError(f"there is no log at {path}")
    check_size(path)
    with (
        mapped_errors(log_name(path), opening=True),
        contextlib.closing(connect(path, only_read=True, is_damaged=is_damaged)) as connection,
    ):
        if (version := check_kind(connection, path)) < tables.COPIED_SINCE:
            raise ConfigurationError(f"{path} has format {version}: start Snowbus on it once, which upgrades it")
        yield connection


@contextlib.contextmanager
def _new_copy(source: Path, target: Path, *, is_damaged: bool = False) -> Iterator[Connection]:
    """An empty log that has another as `source` beside it. It gets its name once it is whole, and on the disk.

    It is for nobody to read who may not read the other.
    """
    if target.exists():
        raise ConfigurationError(f"{target} is there already, and a copy overwrites nothing")
    check_folder("copy", target)
    with _reading(source, is_damaged=is_damaged):
        pass
    made = target.with_name(f".{target.name}.{uuid4().hex}")
    try:
        with contextlib.suppress(OSError):  # what keeps it from being made is told below, as of every log
            made.touch(mode=source.stat().st_mode & 0o666 | 0o600)
        with (
            mapped_errors(_name(source, target), opening=True),
            contextlib.closing(connect(made, create=True, is_damaged=is_damaged)) as copy,
        ):
            lay_out(copy)
            copy.execute("PRAGMA synchronous = OFF")  # it is flushed once, at the end
            copy.execute("PRAGMA journal_mode = MEMORY")
            attach(copy, source, name="source")
            yield copy
        with made.open("rb") as file:
            os.fsync(file.fileno())
        made.rename(target)
        flush_folder(target.parent)
    except OSError as error:
        raise ConfigurationError(f"{target}: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):  # where it could not be made, as on a read-only mount
            made.unlink()


def _name(source: Path, target: Path) -> str:
    return f"{log_name(source)} (copied to {target})"


def _copy_tables(copy: Connection, names: Sequence[str]) -> None:
    """Copy whole tables, all of one moment.

    With a condition SQLite takes rows apart and looks at their values; without one it copies their bytes as they are.
    """
    with transaction(copy, "DEFERRED"):
        for name in names:
            copy.execute(f"INSERT INTO main.{name} SELECT * FROM source.{name} WHERE true")  # noqa: S608


def _copy_topics(copy: Connection, name: str) -> None:
    """Copy what there is no salvage without. Raises LogDamagedError."""
    try:
        with mapped_errors(name):
            _copy_tables(copy, _MOVING[:2])
    except LogUnavailableError:
        raise
    except LogError:
        raise _topics_lost(name) from None


def _topics_lost(name: str) -> LogDamagedError:
    return LogDamagedError(name, "its topics cannot be read, so that nothing can be saved")


def _save_records(copy: Connection, low: int, high: int, *, name: str) -> None:
    """Copy those records that can be read, closing in on the others."""
    ranges = [(low, high)]
    while ranges:
        low, high = ranges.pop()
        try:
            with mapped_errors(name):
                _copy_records(copy, low, high)
        except LogUnavailableError:
            raise
        except LogError:
            middle = (low + high) // 2
            if middle > low:
                ranges += [(low, middle), (middle, high)]


def _slices(copy: Connection) -> Iterator[tuple[int, int]]:
    """The row ids of records to copy, from and to, one transaction's each."""
    for row in tables.all_partition_rows(copy):
        low, end = row.base + row.first_offset, row.base + row.next_offset
        while (low := _next_record(copy, low, end=end)) < end:
            yield low, min(low + _SLICE, end)
            low += _SLICE


def _next_record(copy: Connection, low: int, *, end: int) -> int:
    """Where the next record is, or may be; what was saved of a damaged log may have large holes."""
    try:
        with mapped_errors("source"):
            (found,) = copy.execute("SELECT min(id) FROM source.records WHERE id >= ?", (low,)).fetchone()
    except LogDamagedError:
        return low
    return end if found is None else int(found)


def _copy_records(copy: Connection, low: int, high: int) -> None:
    """One record is looked up by its id alone, as a range reads one more, which may be what is damaged."""
    which = "id = ?" if high == low + 1 else "id >= ? AND id < ?"
    parameters = (low,) if high == low + 1 else (low, high)
    copy.execute(f"INSERT INTO main.records SELECT * FROM source.records WHERE {which}", parameters)  # noqa: S608


def _contents(connection: Connection) -> Contents:
    (groups,) = connection.execute("SELECT count(DISTINCT group_id) FROM main.commits").fetchone()
    (records,) = connection.execute("SELECT count(*) FROM main.records").fetchone()
    expected = sum(row.next_offset - row.first_offset for row in tables.all_partition_rows(connection))
    return Contents(records, groups, expected - records)
