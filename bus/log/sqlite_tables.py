"""The embedded log's tables, and the statements that append, read and expire records.

A record's row id is its partition's number shifted left by 40 bits, plus its offset: one B-tree in which every
partition is a contiguous range, appended at its end and expired at its beginning.

Times need not rise with offsets: what waited in a spool comes late. So there is a time index, as Kafka's: for each span
of records of a partition, once it is full, the latest time in it. Whoever looks for a time passes over the spans that
end before it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from ..database import Connection
from ..errors import TopicNotFoundError
from ..event import ProducerRecord, Record, TopicPartition
from .interface import TopicDetails
from .packed_headers import pack_headers, unpack_headers
from .partitioner import partition_of

APPLICATION_ID = 0x534E4F57  # "SNOW"
FORMAT_VERSION = 3
COPIED_SINCE = 2  # the first format with what copies are made of as it is now
OFFSET_BITS = 40
SPAN_BITS = 10
DEFAULT_RETENTION_SECONDS = 7 * 86_400
SIZE = "ifnull(length(key), 0) + length(value) + length(headers)"  # of a record, as retention counts it

_TIME_INDEX = "CREATE TABLE time_index (span INTEGER PRIMARY KEY, latest INTEGER NOT NULL) STRICT"
_INDEX_TIMES = (
    f"INSERT INTO main.time_index SELECT id >> {SPAN_BITS}, timestamp FROM main.records WHERE %s "  # noqa: S608
    "ON CONFLICT DO UPDATE SET latest = max(latest, excluded.latest)"
)
_INDEX_ALL_TIMES = _INDEX_TIMES % "true"

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
    _TIME_INDEX,
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

UPGRADES: Mapping[int, Sequence[str]] = {
    1: ("ALTER TABLE commits ADD COLUMN metadata TEXT NOT NULL DEFAULT ''",),
    2: (_TIME_INDEX, _INDEX_ALL_TIMES),
}
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
    """Let partitions of a copy begin at the first record that there is, say how large they are, and index times."""
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
    connection.execute(_INDEX_ALL_TIMES)


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
    ends = [(row, next_offsets[row.partition]) for row in partitions if next_offsets[row.partition] != row.next_offset]
    connection.executemany(
        "UPDATE partitions SET next_offset = ?, bytes = bytes + ? WHERE id = ?",
        [(end, grown[row.partition], row.id) for row, end in ends],
    )
    for row, end in ends:
        begun, beginning = _open_span(row.next_offset), _open_span(end)
        if begun != beginning:
            connection.execute(_INDEX_TIMES % "id >= ? AND id < ?", (row.base + begun, row.base + beginning))
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
    """The first offset with a time (in ms) at or after this one, and the end offset where there is none."""
    open_span, end = row.base + _open_span(row.next_offset), row.base + row.next_offset
    found = (
        connection.execute(
            f"""SELECT r.id FROM time_index t CROSS JOIN records r
            ON r.id >= t.span << {SPAN_BITS} AND r.id < (t.span + 1) << {SPAN_BITS}
            WHERE t.span >= ? AND t.span < ? AND t.latest >= ? AND r.timestamp >= ?
            ORDER BY t.span, r.id LIMIT 1""",  # noqa: S608
            (row.base >> SPAN_BITS, open_span >> SPAN_BITS, timestamp, timestamp),
        ).fetchone()
        or connection.execute(
            "SELECT id FROM records WHERE id >= ? AND id < ? AND timestamp >= ? ORDER BY id LIMIT 1",
            (open_span, end, timestamp),
        ).fetchone()
    )
    return row.next_offset if found is None else int(found[0]) - row.base


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


def _open_span(next_offset: int) -> int:
    """The first offset of the span that is not full yet, of a partition with this end."""
    return next_offset >> SPAN_BITS << SPAN_BITS


def _first_timestamp(connection: Connection, row: PartitionRow, offset: int) -> int | None:
    """The time of the first record at or after an offset; salvage may have left holes."""
    found = connection.execute(
        "SELECT timestamp FROM records WHERE id >= ? AND id < ? ORDER BY id LIMIT 1",
        (row.base + offset, row.base + row.next_offset),
    ).fetchone()
    return None if found is None else int(found[0])
