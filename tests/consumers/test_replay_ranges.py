"""What a group must commit to handle a range once more, and no others: examples, and a comparison with plain sets."""

import random
from bisect import bisect

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from snowbus.bus.errors import StartError
from snowbus.bus.event import TopicPartition
from snowbus.bus.log.interface import METADATA_LIMIT, Committed
from snowbus.bus.start import Earliest, Last, Resume, Since
from snowbus.consumers.offsets import OffsetTracker, Position
from snowbus.consumers.progress import read_position, write_metadata
from snowbus.consumers.replay_ranges import OffsetByPartition, is_backwards, parse_bound, replay_partition

P0 = TopicPartition("snowbus.events", 0)
NOW = 1_795_000_000_000
MOST = 60


def position_of(done):
    """The position at which these offsets are done, in the plainest way."""
    offset = 0
    while offset in done:
        offset += 1
    ranges = []
    for each in sorted(each for each in done if each > offset):
        if ranges and ranges[-1][1] == each:
            ranges[-1] = (ranges[-1][0], each + 1)
        else:
            ranges.append((each, each + 1))
    return Position(offset, tuple(ranges))


def committed_at(position):
    return Committed(position.offset, write_metadata(position, None))


def read_on(committed, *, beginning, end):
    """The offsets that a consumer handles when it reads on from what is committed."""
    position = read_position(committed)
    tracker = OffsetTracker()
    tracker.assign(P0, position)
    start = position.offset if beginning <= position.offset <= end else beginning
    return set(tracker.read(P0, range(start, end)))


offsets = st.integers(0, MOST)


@given(done=st.sets(offsets), start=offsets, stop=offsets, beginning=offsets, end=offsets)
@example(done={0, 1, 2, 5}, start=1, stop=2, beginning=0, end=4)
def test_exactly_the_range_is_handled_again_and_nothing_is_lost(done, start, stop, beginning, end):
    beginning, end = sorted((beginning, end))
    done = {each for each in done if each < end} | set(range(beginning))
    before = committed_at(position_of(done))
    replay = replay_partition(P0, before, start=start, stop=stop, beginning=beginning, end=end)
    wanted = set(range(start, stop))
    there = set(range(beginning, end))
    assert read_on(replay.committed, beginning=beginning, end=end) == there - (done - wanted)
    assert replay.again == len(done & wanted & there)
    assert replay.besides == 0
    assert replay.expired == len({each for each in wanted if each < beginning})


def test_a_range_before_where_the_group_is_leaves_the_rest_done():
    replay = replay_partition(P0, Committed(50), start=10, stop=30, beginning=0, end=80)
    assert read_position(replay.committed) == Position(10, ((30, 50),))
    assert (replay.again, replay.start, replay.stop) == (20, 10, 30)


def test_what_the_group_has_not_reached_is_not_counted():
    replay = replay_partition(P0, Committed(50), start=40, stop=70, beginning=0, end=80)
    assert read_position(replay.committed) == Position(40)
    assert replay.again == 10


def test_a_position_beyond_the_end_is_of_another_log():
    replay = replay_partition(P0, Committed(500), start=0, stop=10, beginning=0, end=10)
    assert (replay.again, replay.before) == (0, Position(0))


def test_what_there_is_no_room_to_say_is_counted():
    """A commit that can hold no range more loses some when a replay adds one; they are handled again, too."""
    chance = random.Random(1)
    ranges, offset = [], 100
    for _ in range(8_000):
        first = offset + chance.randint(1, 90)
        ranges.append((first, first + chance.randint(1, 90)))
        offset = ranges[-1][1]

    def with_ranges(count):
        return committed_at(Position(50, tuple(ranges[:count])))

    too_many = bisect(range(len(ranges)), 0, key=lambda count: count - len(read_position(with_ranges(count)).done))
    before = with_ranges(too_many - 1)
    replay = replay_partition(P0, before, start=20, stop=40, beginning=0, end=offset)
    assert len(replay.committed.metadata) <= METADATA_LIMIT
    again = read_on(replay.committed, beginning=0, end=offset) - read_on(before, beginning=0, end=offset)
    assert (replay.again, replay.besides) == (20, len(again) - 20)
    assert replay.besides > 0


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("earliest", Earliest()),
        ("2h", Since(NOW - 7_200_000)),
        ("1970-01-01T00:00:05Z", Since(5_000)),
        ("-20", Last(20)),
        ("120", OffsetByPartition({None: 120})),
        ("20240229", OffsetByPartition({None: 20_240_229})),
        ("0:120", OffsetByPartition({0: 120})),
        ("0:120,3:98", OffsetByPartition({0: 120, 3: 98})),
        ("snowbus.events~0.7", Resume({P0: 7})),
    ],
)
def test_each_way_to_say_where_a_range_begins_or_ends(text, bound):
    assert parse_bound(text, now=NOW) == bound


@pytest.mark.parametrize("text", ["yesterday", "0:1,0:2", "0:", "1:2,", "snowbus.events~x", "-0", "9" * 40, "12:00:00"])
def test_what_cannot_be_understood_is_refused(text):
    with pytest.raises(StartError):
        parse_bound(text, now=NOW)


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        ("10", "5"),
        ("0:10", "0:5"),
        ("0:5,1:10", "0:5,1:9"),
        ("1h", "2h"),
        ("2024-02-29T12:00:00Z", "2024-02-29T11:00:00Z"),
        ("-5", "-10"),
        ("snowbus.events~0.7", "snowbus.events~0.6"),
        ("1h", "earliest"),
        ("latest", "1h"),
    ],
)
def test_a_range_that_ends_before_it_begins_is_backwards_and_the_other_way_round_it_is_not(start, stop):
    start, stop = parse_bound(start, now=NOW), parse_bound(stop, now=NOW)
    assert (is_backwards(start, stop), is_backwards(stop, start)) == (True, False)


@pytest.mark.parametrize(
    ("start", "stop"), [("0:5", "0:5"), ("0:10", "1:5"), ("1h", "0:5"), ("earliest", "earliest"), ("-5", "1h")]
)
def test_what_is_empty_or_depends_on_the_log_is_not_backwards(start, stop):
    assert not is_backwards(parse_bound(start, now=NOW), parse_bound(stop, now=NOW))
