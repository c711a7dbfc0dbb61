"""The embedded log's tables, and the statements that append, read and expire records.

A record's row id is its partition's number shifted left by 40 bits, plus its offset: one B-tree in which every
partition is a contiguous range, appended at its end and expired at its beginning.
"""

import struct
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from ..database import Connection
from ..errors import TopicNotFoundError
from ..event import Headers, ProducerRecord, Record, TopicPartition
from .interface import TopicDetails
from .partitioner import partition_of

APPLICATION_ID = 0x534E4F57  # "SNOW"
FORMAT_VERSION = 2
OFFSET_BITS = 40
DEFAULT_RETENTION_SECONDS = 7 * 86_400
SIZE = "ifnull(length(key), 0) + length(value) + length(headers)"  # of a record, as retention counts it

SCHEMA = (
    """CREATE TABLE topics (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, partitions INTEGER NOT NULL,
        retention_seconds REAL NOT NULL, retention_bytes INTEGER NOT NULL) STRICT""",
    """CREATE TABLE partitions (
        id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL REFERENCES topics, partition INTEGER NOT NULL,
        first_offset INTEGER NOT NULL DEFAULT 0, next_offset INTEGER NOT NULL DEFAULT 0,
        bytes INTEGER NOT NULL DEFAULT 0, UNIQUE (topic_id, partition)) STRICT""",
    """CREATE TABLE records (
        id INTEGER PRIMARY KEY, timestamp INTEGER NOT NULL, key BLOB, value BLOB NOT NULL,
        headers BLOB NOT NULL) STRICT""",
    "CREATE TABLE groups (group_id TEXT PRIMARY KEY, generation INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    """CREATE TABLE members (
        group_id TEXT NOT NULL, member_id TEXT NOT NULL, topic_id INTEGER NOT NULL, expires_at INTEGER NOT NULL,
        PRIMARY KEY (group_id, member_id, topic_id)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE claims (
        group_id TEXT NOT NULL, partition_id INTEGER NOT NULL, member_id TEXT NOT NULL,
        PRIMARY KEY (group_id, partition_id)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE commits (
        group_id TEXT NOT NULL, partition_id INTEGER NOT NULL, next_offset INTEGER NOT NULL,
        metadata TEXT NOT NULL DEFAULT '', PRIMARY KEY (group_id, partition_id)) STRICT, WITHOUT ROWID""",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {FORMAT_VERSION}",
)

UPGRADES: Mapping[int, Sequence[str]] = {1: ("ALTER TABLE commits ADD COLUMN metadata TEXT NOT NULL DEFAULT ''",)}
"""What makes the next format of an older one."""


class PartitionRow(NamedTuple):
    """One row of `partitions`."""

    id: int
    partition: int
    first_offset: int
    next_offset: int

    @property
    def base(self) -> int:
        """The row id that offset 0 has in `records`."""
        return self.id << OFFSET_BITS


def partition_rows(connection: Connection, topic: str) -> list[PartitionRow]:
    """The partitions of a topic, in order. Raises TopicNotFoundError."""
    rows = connection.execute(
        """SELECT p.id, p.partition, p.first_offset, p.next_offset FROM partitions p JOIN topics t ON t.id = p.topic_id
           WHERE t.name = ? ORDER BY p.partition""",
        (topic,),
    ).fetchall()
    if not rows:
        raise TopicNotFoundError(topic)
    return [PartitionRow(*row) for row in rows]


def all_partition_rows(connection: Connection) -> list[PartitionRow]:
    """The partitions of all topics."""
    rows = connection.execute("SELECT id, partition, first_offset, next_offset FROM main.partitions ORDER BY id")
    return [PartitionRow(*row) for row in rows.fetchall()]


def is_possible(row: PartitionRow) -> bool:
    """Whether a partition of a damaged log could ever have become so."""
    return row.base >> 63 == 0 and 0 <= row.first_offset <= row.next_offset < 1 << OFFSET_BITS


def mend_partitions(connection: Connection) -> None:
    """Let partitions begin at the first record that there is, and say how large they are."""
    for row in all_partition_rows(connection):
        span = (row.base, row.base + row.next_offset)
        first, size = connection.execute(
            f"SELECT min(id), ifnull(sum({SIZE}), 0) FROM main.records WHERE id >= ? AND id < ?",  # noqa: S608
            span,
        ).fetchone()
        connection.execute(
            "UPDATE main.partitions SET first_offset = ?, bytes = ? WHERE id = ?",
            (row.next_offset if first is None else first - row.base, size, row.id),
        )


def create_topic(
    connection: Connection, topic: str, *, partitions: int, retention_seconds: float | None, retention_bytes: int | None
) -> None:
    """Create a topic unless it is there; in either case store the retention that is given."""
    created = connection.execute(
        "INSERT INTO topics (name, partitions, retention_seconds, retention_bytes) VALUES (?, ?, ?, 0) "
        "ON CONFLICT DO NOTHING",
        (topic, partitions, DEFAULT_RETENTION_SECONDS),
    ).rowcount
    (topic_id,) = connection.execute("SELECT id FROM topics WHERE name = ?", (topic,)).fetchone()
    if created:
        connection.executemany(
            "INSERT INTO partitions (topic_id, partition) VALUES (?, ?)", [(topic_id, n) for n in range(partitions)]
        )
    if retention_seconds is not None:
        connection.execute("UPDATE topics SET retention_seconds = ? WHERE id = ?", (retention_seconds, topic_id))
    if retention_bytes is not None:
        connection.execute("UPDATE topics SET retention_bytes = ? WHERE id = ?", (retention_bytes, topic_id))


def describe_topics(connection: Connection, topics: Collection[str]) -> dict[str, TopicDetails]:
    """How those of the topics that are there are kept."""
    return {
        name: TopicDetails(replication_factor=1, size=size, retention_seconds=seconds, retention_bytes=limit)
        for name, seconds, limit, size in connection.execute(
            """SELECT t.name, t.retention_seconds, t.retention_bytes, sum(p.bytes) FROM topics t
               JOIN partitions p ON p.topic_id = t.id GROUP BY t.id"""
        )
        if name in topics
    }


def append_records(
    connection: Connection, topic: str, records: Sequence[ProducerRecord], *, now: int
) -> list[tuple[int, int]]:
    """Append records, stamped `now` (ms) where they have no time; returns each one's (partition, offset)."""
    partitions = partition_rows(connection, topic)
    next_offsets = [row.next_offset for row in partitions]
    grown = [0] * len(partitions)
    placed = []
    rows = []
    for record in records:
        number = partition_of(record.key, len(partitions))
        offset = next_offsets[number]
        next_offsets[number] = offset + 1
        headers = pack_headers(record.headers)
        grown[number] += len(record.key or b"") + len(record.value) + len(headers)
        timestamp = now if record.timestamp is None else record.timestamp
        rows.append((partitions[number].base + offset, timestamp, record.key, record.value, headers))
        placed.append((number, offset))
    connection.executemany("INSERT INTO records (id, timestamp, key, value, headers) VALUES (?, ?, ?, ?, ?)", rows)
    connection.executemany(
        "UPDATE partitions SET next_offset = ?, bytes = bytes + ? WHERE id = ?",
        [
            (next_offsets[row.partition], grown[row.partition], row.id)
            for row in partitions
            if next_offsets[row.partition] != row.next_offset
        ],
    )
    return placed


def read_records(
    connection: Connection, positions: Sequence[tuple[TopicPartition, int]], *, max_records: int, max_bytes: int
) -> list[Record]:
    """Records from these positions on, partition by partition, until there are enough.

    A position that has expired or lies beyond the end counts as the earliest one.
    """
    rows = {
        TopicPartition(topic, row.partition): row
        for topic in {partition.topic for partition, _ in positions}
        for row in partition_rows(connection, topic)
    }
    records: list[Record] = []
    size = 0
    for partition, position in positions:
        row = rows[partition]
        offset = position if row.first_offset <= position <= row.next_offset else row.first_offset
        if offset == row.next_offset:
            continue
        for row_id, timestamp, key, value, headers in connection.execute(
            "SELECT id, timestamp, key, value, headers FROM records WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
            (row.base + offset, row.base + row.next_offset, max_records - len(records)),
        ):
            records.append(Record(*partition, row_id - row.base, timestamp, key, value, unpack_headers(headers)))
            size += len(value)
            if size >= max_bytes:
                return records
        if len(records) >= max_records:
            break
    return records


def offset_for_time(connection: Connection, row: PartitionRow, timestamp: int) -> int:
    """The first offset at or after a time in ms, found by halving: times rise with offsets, as they do on any log."""
    low, high = row.first_offset, row.next_offset
    while low < high:
        middle = (low + high) // 2
        found = _first_timestamp(connection, row, middle)
        if found is not None and found < timestamp:
            low = middle + 1
        else:
            high = middle
    return low


def timestamps(
    connection: Connection, places: Collection[tuple[TopicPartition, int]]
) -> dict[tuple[TopicPartition, int], int]:
    """The time in ms of the first record at or after each place, of those that have one and have not expired."""
    rows = {
        TopicPartition(topic, row.partition): row
        for topic in {partition.topic for partition, _ in places}
        for row in partition_rows(connection, topic)
    }
    found = {}
    for partition, offset in places:
        row = rows.get(partition)
        if row is None or not row.first_offset <= offset < row.next_offset:
            continue
        at = _first_timestamp(connection, row, offset)
        if at is not None:
            found[partition, offset] = at
    return found


def touch(connection: Connection) -> None:
    """Write what the file holds already."""
    connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")


def pack_headers(headers: Headers) -> bytes:
    """Headers as bytes: for each, the lengths of name and value, then both."""
    parts = []
    for name, value in headers:
        encoded = name.encode()
        parts.append(_HEADER.pack(len(encoded), len(value)))
        parts.append(encoded)
        parts.append(value)
    return b"".join(parts)


def unpack_headers(packed: bytes) -> Headers:
    """The headers in what `pack_headers` made."""
    headers = []
    at = 0
    while at < len(packed):
        name_length, value_length = _HEADER.unpack_from(packed, at)
        at += _HEADER.size
        name = packed[at : at + name_length].decode()
        at += name_length
        headers.append((name, packed[at : at + value_length]))
        at += value_length
    return tuple(headers)


_HEADER = struct.Struct(">HI")


def _first_timestamp(connection: Connection, row: PartitionRow, offset: int) -> int | None:
    """The time of the first record at or after an offset; salvage may have left holes."""
    found = connection.execute(
        "SELECT timestamp FROM records WHERE id >= ? AND id < ? ORDER BY id LIMIT 1",
        (row.base + offset, row.base + row.next_offset),
    ).fetchone()
    return None if found is None else int(found[0])
