"""Keeps every event in compressed NDJSON files: a new one every 10,000 events or every minute, whichever comes first.

    ARCHIVE_DIRECTORY=archive snowbus consume snowbus.consumers.examples.archive

A batch is a file. It gets its name when it is whole and on the disk, and only then are its events done with: none is
ever missing, and a process that is killed writes at most one file's events again, which `topic, partition, offset`
tell. A `.part` is what such a process left; its events are in other files, and it may be deleted. At a stop, what is
gathered for a file is not written: it is the first thing that the next run reads.
"""

import gzip
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from snowbus.consumers import Record, Retry, consumer


@contextmanager
def directory() -> Iterator[Path]:
    """Where the files go."""
    if not (path := os.environ.get("ARCHIVE_DIRECTORY")):
        raise RuntimeError("ARCHIVE_DIRECTORY is not set; it says where the files go")
    Path(path).mkdir(parents=True, exist_ok=True)
    yield Path(path)


@consumer(
    "snowbus.events",
    group_id="archive",
    batch=10_000,
    batch_wait=60,
    max_in_flight=10_000,
    buffer=40_000,
    lifespan=directory,
)
def archive(records: list[Record], directory: Path) -> None:
    """Write one file."""
    path = directory / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid4()}.ndjson.gz"
    lines = "".join(json.dumps(_line(record)) + "\n" for record in records)
    try:
        write_durably(path, gzip.compress(lines.encode(), compresslevel=6))
    except OSError as error:  # a full disk is no event's fault: none of them becomes a dead letter
        raise Retry(f"cannot write {path}: {error}", delay=10) from error


def write_durably(path: Path, content: bytes) -> None:
    """Write a file that is there either whole, whatever happens next, or not at all."""
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)  # the name, too, must be on the disk
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _line(record: Record) -> dict[str, Any]:
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "event": record.event,
        "payload": record.payload,
        "source": dict(record.source),
    }
