"""Retention on the embedded log: deletes what has expired, in small pieces, and gives its space back to the disk."""

from ..database import Connection
from .sqlite_tables import OFFSET_BITS, SIZE, SPAN_BITS, PartitionRow


def expire_records(connection: Connection, *, now: int, chunk: int, chunk_bytes: int) -> int:
    """Delete records of one topic that are past its retention, until it is `chunk` of them, or so many bytes; returns
    how many: when it is none, there are none of any topic.

    Of a topic that is too large, the partition that holds the oldest record goes first.
    """
    for topic_id, seconds, limit in connection.execute(
        "SELECT id, retention_seconds, retention_bytes FROM topics"
    ).fetchall():
        rows = [
            PartitionRow(*row)
            for row in connection.execute(
                "SELECT id, partition, first_offset, next_offset FROM partitions WHERE topic_id = ?", (topic_id,)
            )
        ]
        if seconds:
            cutoff = now - int(seconds * 1000)
            for row in rows:
                if deleted := _delete_oldest(connection, row, before=cutoff, chunk=chunk, chunk_bytes=chunk_bytes):
                    return deleted
        (size,) = connection.execute("SELECT sum(bytes) FROM partitions WHERE topic_id = ?", (topic_id,)).fetchone()
        if limit and size > limit:
            surplus = min(size - limit, chunk_bytes)
            if deleted := _shrink(connection, rows, surplus=surplus, chunk=chunk):
                return deleted
    return 0


def give_back(connection: Connection, *, pages: int) -> int:
    """Cut free pages off the file, so many at most; returns how many."""
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    count = min(int(free), pages)
    for _ in range(count):  # sqlite3 steps a statement without columns once, which is one page whatever is asked for
        connection.execute("PRAGMA incremental_vacuum(1)")
    return count


def _delete_oldest(connection: Connection, row: PartitionRow, *, before: int, chunk: int, chunk_bytes: int) -> int:
    """Delete the records at the head of a partition that are older than `before` (ms), until it is a chunk."""
    end = row.first_offset
    for row_id, timestamp, size in connection.execute(
        f"SELECT id, timestamp, {SIZE} FROM records WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",  # noqa: S608
        (row.base + row.first_offset, row.base + row.next_offset, chunk),
    ):
        if timestamp >= before or chunk_bytes <= 0:
            break
        chunk_bytes -= size
        end = row_id - row.base + 1
    return _delete_below(connection, row, end) if end > row.first_offset else 0


def _shrink(connection: Connection, rows: list[PartitionRow], *, surplus: int, chunk: int) -> int:
    """Delete the oldest records of a topic until `surplus` bytes are gone, `chunk` at most."""
    heads = []
    for row in rows:
        heads += connection.execute(
            f"SELECT timestamp, id, ?, {SIZE} FROM records "  # noqa: S608
            "WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
            (row.id, row.base + row.first_offset, row.base + row.next_offset, chunk),
        ).fetchall()
    heads.sort()
    ends: dict[int, int] = {}
    for _, row_id, partition_id, size in heads[:chunk]:
        if surplus <= 0:
            break
        surplus -= size
        ends[partition_id] = row_id - (partition_id << OFFSET_BITS) + 1
    return sum(_delete_below(connection, row, ends[row.id]) for row in rows if row.id in ends)


def _delete_below(connection: Connection, row: PartitionRow, offset: int) -> int:
    """Delete the records of a partition below an offset."""
    span = (row.base + row.first_offset, row.base + offset)
    (size,) = connection.execute(
        f"SELECT ifnull(sum({SIZE}), 0) FROM records WHERE id >= ? AND id < ?",  # noqa: S608
        span,
    ).fetchone()
    deleted = connection.execute("DELETE FROM records WHERE id >= ? AND id < ?", span).rowcount
    connection.execute(
        "DELETE FROM time_index WHERE span >= ? AND span < ?", (row.base >> SPAN_BITS, row.base + offset >> SPAN_BITS)
    )
    connection.execute(
        "UPDATE partitions SET first_offset = max(first_offset, ?), bytes = max(0, bytes - ?) WHERE id = ?",
        (offset, size, row.id),
    )
    return deleted
