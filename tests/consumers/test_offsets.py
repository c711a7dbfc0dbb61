"""The tracker of offsets: examples, and a state machine that compares it with a naive model."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from snowbus.bus.errors import NotAssignedError
from snowbus.bus.event import TopicPartition
from snowbus.bus.log.interface import Committed
from snowbus.consumers.done_ranges import decode_ranges, encode_ranges, joined
from snowbus.consumers.offsets import OffsetTracker, Position
from snowbus.consumers.progress import Progress, read_position, read_progress, write_metadata

PARTITION = TopicPartition("events", 0)


def tracker_at(offset=0, done=()):
    tracker = OffsetTracker()
    tracker.assign(PARTITION, Position(offset, done))
    return tracker


def read(tracker, *offsets):
    return list(tracker.read(PARTITION, offsets))


def finish(tracker, *offsets):
    tracker.start(PARTITION, offsets)
    tracker.finish(PARTITION, offsets)


def test_nothing_is_committable_before_anything_is_finished():
    tracker = tracker_at(5)
    read(tracker, 5, 6)
    assert tracker.committable().positions == {}


def test_what_is_done_behind_a_record_that_is_not_is_committed_beside_the_offset():
    tracker = tracker_at(5)
    read(tracker, 5, 6, 7, 8)
    finish(tracker, 6, 8)
    assert tracker.committable().positions == {PARTITION: Position(5, ((6, 7), (8, 9)))}


def test_a_gap_in_the_offsets_counts_as_done():
    tracker = tracker_at(0)
    read(tracker, 0, 9)
    finish(tracker, 0)
    assert tracker.position(PARTITION) == Position(9)


def test_what_was_done_before_is_not_to_be_handled_again():
    tracker = tracker_at(5, ((6, 8),))
    assert read(tracker, 5, 6, 7, 8) == [5, 8]


def test_a_record_in_flight_when_its_partition_comes_back_is_not_handled_twice():
    tracker = OffsetTracker()
    tracker.assign(PARTITION, Position(5), in_flight=[6])
    assert read(tracker, 5, 6, 7) == [5, 7]
    finish(tracker, 5, 7)
    tracker.finish(PARTITION, [6])
    assert tracker.position(PARTITION) == Position(8)


def test_a_record_in_flight_that_ends_before_it_is_read_again_is_done():
    tracker = OffsetTracker()
    tracker.assign(PARTITION, Position(5), in_flight=[7])
    tracker.finish(PARTITION, [7])
    assert tracker.position(PARTITION) == Position(5, ((7, 8),))
    assert read(tracker, 5, 6, 7) == [5, 6]


def test_a_log_that_was_cut_begins_anew():
    tracker = tracker_at(100)
    read(tracker, 100, 101)
    tracker.start(PARTITION, [100])
    assert read(tracker, 3) == [3]
    assert tracker.position(PARTITION) == Position(3)
    assert tracker.exposed == 0


def test_reading_a_partition_that_is_not_assigned_is_refused():
    with pytest.raises(NotAssignedError):
        OffsetTracker().read(PARTITION, [0])


def test_a_commit_that_failed_is_due_again():
    tracker = tracker_at()
    read(tracker, 0)
    finish(tracker, 0)
    tracker.not_committed(tracker.committable())
    assert tracker.committable().positions == {PARTITION: Position(1)}


def test_a_retry_is_told_until_it_starts():
    tracker = tracker_at()
    read(tracker, 0)
    tracker.start(PARTITION, [0])
    tracker.retry(PARTITION, 0, 12.5)
    assert tracker.state(PARTITION) == (0, 1, 12.5)
    tracker.start(PARTITION, [0])
    assert tracker.state(PARTITION) == (1, 0, None)


def some_of(offsets):
    return st.sets(st.sampled_from(sorted(offsets)), min_size=1)


class Tracking(RuleBasedStateMachine):
    """Records of one partition, in a tracker and in plain sets; crashes and rebalances read on from the last commit."""

    @initialize(size=st.integers(1, 40))
    def begin(self, size):
        self.log = list(range(0, size * 2, 2))  # every other offset: gaps are common
        self.done = set()
        self.committed = Committed(0, "")
        self.restart()

    def restart(self):
        self.tracker = OffsetTracker()
        position = read_position(self.committed)
        self.tracker.assign(PARTITION, position)
        self.next = position.offset
        self.queued, self.in_flight, self.waiting = [], set(), set()
        self.read_now = set()
        self.unconfirmed = set()
        self.covered = {each for each in self.log if each < position.offset} | {
            each for each in self.log if any(first <= each < stop for first, stop in position.done)
        }
        self.done = set(self.covered)

    @rule(count=st.integers(1, 10))
    def read(self, count):
        if offsets := [each for each in self.log if each >= self.next][:count]:
            self.next = offsets[-1] + 1
            self.read_now.update(offsets)
            wanted = [offset for offset in offsets if offset not in self.done]
            assert self.tracker.read(PARTITION, offsets) == wanted
            self.queued += wanted

    @precondition(lambda self: self.queued)
    @rule(data=st.data())
    def start(self, data):
        offsets = data.draw(some_of(self.queued))
        self.queued = [each for each in self.queued if each not in offsets]
        self.tracker.start(PARTITION, offsets)
        self.waiting -= offsets
        self.in_flight |= offsets

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def finish(self, data):
        offsets = data.draw(some_of(self.in_flight))
        self.in_flight -= offsets
        self.tracker.finish(PARTITION, offsets)
        self.done |= offsets
        self.unconfirmed |= offsets

    @precondition(lambda self: self.queued)
    @rule(data=st.data())
    def reject(self, data):
        offset = data.draw(st.sampled_from([each for each in self.queued if each not in self.waiting] or [None]))
        if offset is not None:
            self.queued.remove(offset)
            self.tracker.finish(PARTITION, [offset])
            self.done.add(offset)

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def fail(self, data):
        offset = data.draw(st.sampled_from(sorted(self.in_flight)))
        self.in_flight.discard(offset)
        self.tracker.retry(PARTITION, offset, 1.0)
        self.queued.append(offset)
        self.waiting.add(offset)

    @rule(succeeds=st.booleans())
    def commit(self, succeeds):
        snapshot = self.tracker.committable()
        if not snapshot.positions:
            return
        if not succeeds:
            self.tracker.not_committed(snapshot)
            return
        position = snapshot.positions[PARTITION]
        self.committed = Committed(position.offset, write_metadata(position, Progress(at=1)))
        self.tracker.committed(snapshot)
        self.unconfirmed.clear()

    @rule()
    def crash(self):
        self.restart()

    @rule()
    def rebalance_that_brings_it_back(self):
        """What is in flight goes on; what is queued is read again."""
        position = self.tracker.position(PARTITION)
        self.tracker.assign(PARTITION, position, in_flight=self.in_flight)
        self.next = position.offset
        self.queued, self.waiting, self.unconfirmed = [], set(), set()
        self.read_again()

    def read_again(self):
        if offsets := [each for each in self.log if each >= self.next]:
            self.next = offsets[-1] + 1
            wanted = [offset for offset in offsets if offset not in self.done and offset not in self.in_flight]
            assert self.tracker.read(PARTITION, offsets) == wanted
            self.queued += wanted

    @invariant()
    def what_may_be_committed_is_what_is_done(self):
        position = self.tracker.position(PARTITION)
        covered = {
            each
            for each in self.log
            if each < position.offset or any(first <= each < stop for first, stop in position.done)
        }
        assert covered == self.done

    @invariant()
    def the_counts_are_right(self):
        state = self.tracker.state(PARTITION)
        assert state.in_flight == len(self.in_flight)
        assert state.waiting == len(self.waiting)
        assert self.tracker.exposed == len(self.in_flight | self.unconfirmed)


TestTracking = Tracking.TestCase
TestTracking.settings = settings(max_examples=150, stateful_step_count=40)

RANGES = st.lists(st.tuples(st.integers(1, 500), st.integers(1, 500)), max_size=300)


@given(offset=st.integers(0, 2**50), runs=RANGES)
def test_ranges_survive_their_text(offset, runs):
    ranges, at = [], offset
    for gap, length in runs:
        ranges.append((at + gap, at + gap + length))
        at = ranges[-1][1]
    assert decode_ranges(offset, encode_ranges(offset, tuple(ranges), limit=100_000)) == tuple(ranges)


def test_ranges_that_do_not_fit_lose_their_end_only():
    ranges = tuple((each, each + 1) for each in range(1, 100_000, 7 + 3))
    text = encode_ranges(0, ranges[::2], limit=50)
    kept = decode_ranges(0, text)
    assert len(text) <= 50
    assert kept == ranges[::2][: len(kept)]
    assert kept


POSITIONS = st.builds(
    lambda offset, done: Position(offset, joined(*((offset + 1 + each, offset + 2 + each) for each in done))),
    st.integers(0, 20),
    st.sets(st.integers(0, 40)),
)


@given(POSITIONS, POSITIONS)
def test_two_positions_together_have_done_what_either_has(one, other):
    both = one.with_done(other)
    assert [both.has_done(each) for each in range(70)] == [one.has_done(x) or other.has_done(x) for x in range(70)]
    assert not both.has_done(both.offset)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(((0, both.offset), *both.done)))


@given(st.sets(st.integers(0, 60)))
def test_offsets_added_one_by_one_make_the_fewest_ranges(offsets):
    ranges = ()
    for offset in offsets:
        ranges = joined(*ranges, (offset, offset + 1))
    assert {each for first, stop in ranges for each in range(first, stop)} == offsets
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ranges))


@given(st.text(max_size=200))
def test_metadata_that_is_not_ours_says_nothing(text):
    assert read_position(Committed(7, text)).offset == 7
    read_progress(Committed(7, text))


def test_progress_survives_its_metadata():
    progress = Progress(at=5, in_flight=2, waiting=1, next_try=9, last_error="no")
    assert read_progress(Committed(7, write_metadata(Position(7), progress))) == progress
