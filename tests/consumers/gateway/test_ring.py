"""The ring against a list that forgets nothing."""

from hypothesis import given
from hypothesis import strategies as st

from snowbus.bus.cursor import decode_cursor, encode_cursor
from snowbus.bus.event import Record, TopicPartition
from snowbus.consumers.gateway.ring import ENTRY_OVERHEAD, Entry, Ring, Seat

TOPIC = "snowbus.events"
PARTITIONS = [TopicPartition(TOPIC, number) for number in range(3)]
START = {PARTITIONS[0]: 5, PARTITIONS[1]: 0, PARTITIONS[2]: 70}

steps = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=60)


def filled(moves: list[tuple[int, int]], *, max_entries: int = 1000) -> tuple[Ring, list[Record]]:
    """A ring, and all records that went into it; a move is a partition and how many offsets hold no record."""
    ring = Ring(START, max_entries=max_entries, max_bytes=10_000_000)
    records = []
    for number, holes in moves:
        partition = PARTITIONS[number]
        record = Record(*partition, ring.positions[partition] + holes, 0, None, b"", ())
        ring.append(record)
        records.append(record)
    return ring, records


def all_of(ring: Ring) -> list[Entry]:
    return ring.read(ring.oldest, ring.end)


def streamed(ring: Ring, seat: Seat) -> list[tuple[TopicPartition, int]]:
    """What a reader gets who takes a seat."""
    return [
        (entry.partition, entry.offset)
        for entry in ring.read(seat.sequence, ring.end)
        if entry.offset >= seat.ahead.get(entry.partition, 0)
    ]


@given(steps, st.integers(1, 20))
def test_the_latest_entries_stay_in_order_and_no_more_than_may(moves: list[tuple[int, int]], most: int) -> None:
    ring, records = filled(moves, max_entries=most)
    assert [entry.record for entry in all_of(ring)] == records[-most:]
    assert ring.end == len(records)
    assert ring.end - ring.oldest == min(most, len(records))


@given(steps)
def test_each_entry_carries_the_cursor_of_who_has_had_it(moves: list[tuple[int, int]]) -> None:
    ring, records = filled(moves)
    positions = dict(START)
    for entry, record in zip(all_of(ring), records, strict=True):
        positions[record.topic_partition] = record.offset + 1
        assert entry.cursor.decode() == encode_cursor(positions)
    assert ring.positions == positions


@given(st.lists(st.integers(0, 3000), max_size=100), st.integers(1, 20_000))
def test_bytes_are_bounded_with_the_frames_but_the_newest_stays(sizes: list[int], most: int) -> None:
    ring = Ring(START, max_entries=1000, max_bytes=most)
    for number, size in enumerate(sizes):
        entry = ring.append(Record(*PARTITIONS[0], 5 + number, 0, b"key", b"x" * size, (("h", b"v"),)))
        assert ring.bytes <= most or ring.end - ring.oldest == 1
        assert ring.bytes == sum(entry.size for entry in all_of(ring))
        ring.keep(entry, b"f" * size)
        assert entry.size >= ENTRY_OVERHEAD + 2 * size


def test_memory_of_dropped_entries_is_let_go() -> None:
    ring, _ = filled([(0, 0)] * 5000, max_entries=10)
    assert len(ring._entries) < 2100
    assert len(set(map(id, ring._entries))) <= 11


@given(steps, st.integers(1, 30), st.data())
def test_a_seat_gives_everything_after_a_position_once_or_there_is_none(
    moves: list[tuple[int, int]], most: int, data: st.DataObject
) -> None:
    ring, records = filled(moves, max_entries=most)
    positions = {
        partition: data.draw(st.integers(max(0, START[partition] - 3), ring.positions[partition] + 3))
        for partition in PARTITIONS
    }
    dropped = records[: ring.oldest]
    missing = any(record.offset >= positions[record.topic_partition] for record in dropped)
    before_start = any(positions[partition] < START[partition] for partition in PARTITIONS)
    seat = ring.seat(positions)
    if missing or before_start:
        assert seat is None
        return
    if seat is None:  # only where offsets without records lie between
        oldest = {record.topic_partition: record.offset + 1 for record in dropped}
        assert any(positions[partition] < offset for partition, offset in oldest.items())
        return
    wanted = [
        (record.topic_partition, record.offset)
        for record in records
        if record.offset >= positions[record.topic_partition]
    ]
    assert streamed(ring, seat) == wanted
    assert all(seat.positions[partition] >= positions[partition] for partition in PARTITIONS)


@given(st.lists(st.integers(0, 2), max_size=60), st.integers(1, 30), st.integers(0, 40))
def test_a_cursor_of_the_ring_seats_at_the_entry_after_it(moves: list[int], most: int, number: int) -> None:
    ring, _ = filled([(partition, 0) for partition in moves], max_entries=most)
    entries = all_of(ring)
    if not entries:
        return
    number %= len(entries)
    seat = ring.seat(decode_cursor(entries[number].cursor.decode()))
    assert seat is not None
    assert seat.ahead == {}
    assert seat.sequence == ring.oldest + number + 1


@given(steps, st.integers(1, 30), st.integers(1, 40), st.lists(st.integers(0, 4), min_size=60, max_size=60))
def test_the_last_so_many_are_the_newest_by_time_or_the_log_must_tell(
    moves: list[tuple[int, int]], most: int, count: int, waits: list[int]
) -> None:
    ring, records = Ring(START, max_entries=most, max_bytes=10_000_000), []
    clocks = dict.fromkeys(PARTITIONS, 0)  # each partition's times rise; between them, they are read in any order
    for (number, holes), wait in zip(moves, waits, strict=False):
        partition = PARTITIONS[number]
        clocks[partition] += wait
        record = Record(*partition, ring.positions[partition] + holes, clocks[partition], None, b"", ())
        ring.append(record)
        records.append(record)
    positions = ring.last_positions(count)
    if positions is None:
        kept = sorted(record.timestamp for record in records[ring.oldest :])
        dropped = [record.timestamp for record in records[: ring.oldest]]
        assert len(kept) < count or kept[-count] < max(dropped)
        return
    chosen = [record for record in records if record.offset >= positions[record.topic_partition]]
    assert sorted(record.timestamp for record in chosen) == sorted(record.timestamp for record in records)[-count:]
    seat = ring.seat(positions)
    assert seat is not None
    assert streamed(ring, seat) == [(record.topic_partition, record.offset) for record in chosen]


def test_partitions_that_a_topic_has_got_are_read_from_their_beginning() -> None:
    ring, _ = filled([(0, 0), (1, 0)])
    old = dict(ring.positions)
    new = TopicPartition(TOPIC, 3)
    ring.add_partitions({new: 0})
    ring.append(Record(*new, 0, 0, None, b"", ()))
    seat = ring.seat(old)
    assert seat is not None
    assert streamed(ring, seat) == [(new, 0)]
    assert decode_cursor(all_of(ring)[-1].cursor.decode()) == {**old, new: 1}
