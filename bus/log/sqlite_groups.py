"""Groups on the embedded log: who is a member, which partitions each has claimed, and what has been committed.

A member that is alive renews itself; one that is silent for too long is forgotten with its claims.
Partitions change hands in two steps: the member that has too many drains and releases, then one that has too few
claims.
So at no moment do two members read the same partition.
"""

import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from ..database import Connection
from ..errors import GroupHasMembersError, NotAssignedError
from ..event import TopicPartition
from .interface import Committed, Metadata, Offsets
from .quotas import quotas
from .sqlite_tables import PartitionRow, partition_rows


class Membership(NamedTuple):
    """What a member finds when it renews itself.

    `claimed` holds its partitions with committed offsets, `surplus` those that it should give up; `forgotten` is true
    when it was silent for too long, and is no member any more.
    """

    claimed: dict[TopicPartition, int]
    surplus: frozenset[TopicPartition]
    generation: int
    forgotten: bool = False


_SILENT = "(expires_at < ? OR expires_at > ?)"
_MOST_SILENCES = 100
"""Who may be silent for longer than so many times what others may has its time from before the clock was put back."""


def generation(connection: Connection, group_id: str) -> int:
    """A number that rises whenever members or claims of a group change."""
    row = connection.execute("SELECT generation FROM groups WHERE group_id = ?", (group_id,)).fetchone()
    return row[0] if row else 0


def has_silent(connection: Connection, group_id: str, *, now: int, silence_ms: int) -> bool:
    """Whether a member has been silent for too long, so that the next to renew itself forgets it."""
    found = connection.execute(
        f"SELECT 1 FROM members WHERE group_id = ? AND {_SILENT}",  # noqa: S608
        (group_id, now, now + _MOST_SILENCES * silence_ms),
    )
    return found.fetchone() is not None


def renew(
    connection: Connection,
    group_id: str,
    member_id: str,
    *,
    topics: Sequence[str],
    now: int,
    silence_ms: int,
    from_latest: bool,
    joining: bool,
) -> Membership:
    """Renew a member, forget silent ones, claim what is free up to its quota, and tell what it has beyond it.

    A member may be silent for `silence_ms` from `now` on, both in ms.
    One that was forgotten and is not `joining` gets nothing: it must let go of what it held before it comes back, or it
    would commit old offsets over those of whoever went on.
    """
    _forget_silent(connection, group_id, now=now, silence_ms=silence_ms)
    if not joining and not _is_member(connection, group_id, member_id):
        return Membership({}, frozenset(), generation(connection, group_id), forgotten=True)
    changed = False
    mine: set[TopicPartition] = set()
    surplus: set[TopicPartition] = set()
    for topic in topics:
        rows = partition_rows(connection, topic)
        (topic_id,) = connection.execute("SELECT id FROM topics WHERE name = ?", (topic,)).fetchone()
        changed |= _stay(connection, group_id, member_id, topic_id, expires_at=now + silence_ms)
        owners = _owners(connection, group_id, topic_id)
        quota = quotas(_held(connection, group_id, topic_id, owners), len(rows))[member_id]
        held = [row for row in rows if owners.get(row.id) == member_id]
        surplus.update(TopicPartition(topic, row.partition) for row in held[quota:])
        free = [row for row in rows if row.id not in owners][: max(0, quota - len(held))]
        for row in free:
            _claim(connection, group_id, member_id, row, from_latest=from_latest)
        changed |= bool(free)
        mine.update(TopicPartition(topic, row.partition) for row in held + free)
    if changed:
        _bump(connection, group_id)
    offsets = committed(connection, group_id)
    claimed = {partition: offsets[partition].offset for partition in sorted(mine)}
    return Membership(claimed, frozenset(surplus), generation(connection, group_id))


def keep_alive(connection: Connection, group_id: str, member_id: str, *, now: int, silence_ms: int) -> None:
    """Renew a member that is busy giving up partitions, and change nothing else."""
    connection.execute(
        "UPDATE members SET expires_at = ? WHERE group_id = ? AND member_id = ?",
        (now + silence_ms, group_id, member_id),
    )


def release(connection: Connection, group_id: str, member_id: str, partitions: Collection[TopicPartition]) -> None:
    """Give up claims, so that other members can have them."""
    connection.executemany(
        "DELETE FROM claims WHERE group_id = ? AND member_id = ? AND partition_id = ?",
        [(group_id, member_id, partition_id) for partition_id in _ids(connection, partitions).values()],
    )
    _bump(connection, group_id)


def leave(connection: Connection, group_id: str, member_id: str) -> None:
    """End a membership, with its claims."""
    connection.execute("DELETE FROM claims WHERE group_id = ? AND member_id = ?", (group_id, member_id))
    connection.execute("DELETE FROM members WHERE group_id = ? AND member_id = ?", (group_id, member_id))
    _bump(connection, group_id)


def commit(connection: Connection, group_id: str, member_id: str, offsets: Offsets, metadata: Metadata) -> None:
    """Commit offsets of partitions that the member has claimed. Raises NotAssignedError, and then commits none."""
    ids = _ids(connection, offsets)
    owned = {
        partition_id
        for (partition_id,) in connection.execute(
            "SELECT partition_id FROM claims WHERE group_id = ? AND member_id = ?", (group_id, member_id)
        )
    }
    lost = sorted(partition for partition, partition_id in ids.items() if partition_id not in owned)
    if lost:
        raise NotAssignedError(f"{', '.join(f'{topic}-{number}' for topic, number in lost)}: another member's by now")
    set_commits(connection, group_id, offsets, metadata)


def set_commits(connection: Connection, group_id: str, offsets: Offsets, metadata: Metadata) -> None:
    """Store committed offsets and their metadata, whoever asks."""
    ids = _ids(connection, offsets)
    connection.executemany(
        "INSERT INTO commits (group_id, partition_id, next_offset, metadata) VALUES (?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET next_offset = excluded.next_offset, metadata = excluded.metadata",
        [(group_id, ids[partition], offset, metadata.get(partition, "")) for partition, offset in offsets.items()],
    )


def reset(connection: Connection, group_id: str, offsets: Offsets, metadata: Metadata, *, now: int) -> None:
    """Store committed offsets of a group without members. Raises GroupHasMembersError when it has some."""
    _forget_silent(connection, group_id, now=now)
    if connection.execute("SELECT 1 FROM members WHERE group_id = ?", (group_id,)).fetchone():
        raise GroupHasMembersError(group_id)
    set_commits(connection, group_id, offsets, metadata)


def committed(connection: Connection, group_id: str) -> dict[TopicPartition, Committed]:
    """Everything that a group has committed."""
    return {
        TopicPartition(topic, partition): Committed(offset, metadata)
        for topic, partition, offset, metadata in connection.execute(
            """SELECT t.name, p.partition, c.next_offset, c.metadata FROM commits c
               JOIN partitions p ON p.id = c.partition_id JOIN topics t ON t.id = p.topic_id
               WHERE c.group_id = ? ORDER BY t.name, p.partition""",
            (group_id,),
        )
    }


def group_ids(connection: Connection) -> list[str]:
    """The groups that have members or have committed something."""
    rows = connection.execute("SELECT group_id FROM commits UNION SELECT group_id FROM members ORDER BY group_id")
    return [group_id for (group_id,) in rows]


def _ids(connection: Connection, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
    ids = {
        TopicPartition(topic, row.partition): row.id
        for topic in {partition.topic for partition in partitions}
        for row in partition_rows(connection, topic)
    }
    unknown = sorted(set(partitions) - set(ids))
    if unknown:
        raise NotAssignedError(f"{', '.join(f'{topic}-{number}' for topic, number in unknown)}: no such partition")
    return {partition: ids[partition] for partition in partitions}


def _stay(connection: Connection, group_id: str, member_id: str, topic_id: int, *, expires_at: int) -> bool:
    """Renew a member's interest in a topic; says whether it had none before."""
    known = connection.execute(
        "UPDATE members SET expires_at = ? WHERE group_id = ? AND member_id = ? AND topic_id = ?",
        (expires_at, group_id, member_id, topic_id),
    ).rowcount
    if not known:
        connection.execute(
            "INSERT INTO members (group_id, member_id, topic_id, expires_at) VALUES (?, ?, ?, ?)",
            (group_id, member_id, topic_id, expires_at),
        )
    return not known


def _owners(connection: Connection, group_id: str, topic_id: int) -> dict[int, str]:
    """Who has claimed which partitions of a topic, by their ids."""
    return dict(
        connection.execute(
            "SELECT c.partition_id, c.member_id FROM claims c JOIN partitions p ON p.id = c.partition_id "
            "WHERE c.group_id = ? AND p.topic_id = ?",
            (group_id, topic_id),
        ).fetchall()
    )


def _held(connection: Connection, group_id: str, topic_id: int, owners: Mapping[int, str]) -> Mapping[str, int]:
    """How many partitions of a topic each member that wants it has."""
    members = connection.execute(
        "SELECT member_id FROM members WHERE group_id = ? AND topic_id = ?", (group_id, topic_id)
    )
    counts = Counter(owners.values())
    return {member: counts[member] for (member,) in members}


def _claim(connection: Connection, group_id: str, member_id: str, row: PartitionRow, *, from_latest: bool) -> None:
    """Claim a partition, and commit where its reading starts when nothing has been committed."""
    connection.execute(
        "INSERT INTO claims (group_id, partition_id, member_id) VALUES (?, ?, ?)", (group_id, row.id, member_id)
    )
    connection.execute(
        "INSERT INTO commits (group_id, partition_id, next_offset) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (group_id, row.id, row.next_offset if from_latest else row.first_offset),
    )


def _is_member(connection: Connection, group_id: str, member_id: str) -> bool:
    found = connection.execute("SELECT 1 FROM members WHERE group_id = ? AND member_id = ?", (group_id, member_id))
    return found.fetchone() is not None


def _forget_silent(connection: Connection, group_id: str, *, now: int, silence_ms: int | None = None) -> None:
    latest = sys.maxsize if silence_ms is None else now + _MOST_SILENCES * silence_ms
    gone = connection.execute(
        f"DELETE FROM members WHERE group_id = ? AND {_SILENT}",  # noqa: S608
        (group_id, now, latest),
    ).rowcount
    if gone:
        connection.execute(
            "DELETE FROM claims WHERE group_id = ?1 AND member_id NOT IN "
            "(SELECT member_id FROM members WHERE group_id = ?1)",
            (group_id,),
        )
        _bump(connection, group_id)


def _bump(connection: Connection, group_id: str) -> None:
    connection.execute(
        "INSERT INTO groups (group_id, generation) VALUES (?, 1) ON CONFLICT DO UPDATE SET generation = generation + 1",
        (group_id,),
    )
