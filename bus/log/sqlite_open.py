"""Opens the file of the embedded log: makes it whole or not at all, upgrades an older one, says what is wrong."""

import contextlib
import os
from pathlib import Path
from uuid import uuid4

from ..database import Connection, connect, mapped_errors, transaction
from ..errors import ConfigurationError, LogDamagedError
from ..folders import check_folder
from . import sqlite_tables as tables
from .file_systems import network_file_system

AUTO_VACUUM_INCREMENTAL = 2
_PAGE_BYTES = 8192  # of which records of 1,000 bytes, as most are, leave a twelfth empty; of 4,096 it is a fifth


def prepare(path: Path) -> tuple[int, int]:
    """Make the file unless it is there, bring it to our format, and return its device and inode.

    Raises ConfigurationError when it cannot be a log, LogDamagedError, LogUnavailableError when it is locked or the
    disk is full.
    """
    check_folder("embedded log", path)
    try:
        if kind := network_file_system(path.parent):
            raise ConfigurationError(
                f"{path} is on a network file system ({kind}), where locks and flushes are not to be relied on: "
                "name a file on a local disk, or use Kafka"
            )
        if not path.exists():
            _make(path)
        check_size(path)
        with mapped_errors(log_name(path), opening=True), contextlib.closing(connect(path)) as connection:
            check_kind(connection, path)
            connection.execute("PRAGMA journal_mode = WAL")  # a copy may come without
            _upgrade(connection, path)
        found = path.stat()
    except OSError as error:
        raise ConfigurationError(f"log {path}: {error.strerror or error}") from None
    return found.st_dev, found.st_ino


def log_name(path: Path) -> str:
    """What errors call the log in a file."""
    return f"embedded log {path}"


def lay_out(connection: Connection) -> None:
    """Make the tables in an empty file, which gives back the space of what is deleted."""
    connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")  # this and the next only before there are tables
    connection.execute(f"PRAGMA auto_vacuum = {AUTO_VACUUM_INCREMENTAL}")
    with transaction(connection, "IMMEDIATE"):
        for statement in tables.SCHEMA:
            connection.execute(statement)


def flush_folder(folder: Path) -> None:
    """Let the disk have the names in a folder. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_size(path: Path) -> None:
    """Raise LogDamagedError for an empty file, which SQLite would take for a new one. Raises OSError."""
    if path.stat().st_size == 0:
        raise LogDamagedError(
            log_name(path), "the file is empty, which a log never is; if it never was one, remove it to begin anew"
        )


def check_kind(connection: Connection, path: Path) -> int:
    """The format of a log's file. Raises ConfigurationError when it is something else, or of a newer Snowbus."""
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application_id != tables.APPLICATION_ID:
        raise ConfigurationError(f"{path} is an SQLite file of something else, not a Snowbus log")
    if version != tables.FORMAT_VERSION and version not in tables.UPGRADES:
        raise ConfigurationError(
            f"{path} has format {version}, and this Snowbus reads format {tables.FORMAT_VERSION} and upgrades older "
            "ones: read it with the Snowbus that made it, or a newer one, or move it away to begin anew"
        )
    return int(version)


def _make(path: Path) -> None:
    """Make a new log under another name and then give it its own, so that nobody ever sees half a log."""
    ahead = path.with_name(f"{path.name}-wal")
    if ahead.exists() and not path.exists():  # in this order, as another process may be making it
        raise LogDamagedError(
            log_name(path),
            f"the file is gone, and {ahead.name}, the newest part of it, is still there; put the file back beside it, "
            "or move that away to begin anew",
        )
    made = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with mapped_errors(log_name(path), opening=True), contextlib.closing(connect(made, create=True)) as connection:
            lay_out(connection)
        with contextlib.suppress(FileExistsError):  # another process was quicker
            os.link(made, path)
        flush_folder(path.parent)
    finally:
        made.unlink(missing_ok=True)
        made.with_name(f"{made.name}-journal").unlink(missing_ok=True)


def _upgrade(connection: Connection, path: Path) -> None:
    """Bring an older log to our format, all the way or not at all."""
    if check_kind(connection, path) == tables.FORMAT_VERSION:
        return
    with transaction(connection, "IMMEDIATE"):
        version = check_kind(connection, path)  # another process may have been quicker
        while version < tables.FORMAT_VERSION:
            for statement in tables.UPGRADES[version]:
                connection.execute(statement)
            version += 1
        connection.execute(f"PRAGMA user_version = {version}")
