"""The offset tracker: whatever the order of completions and rebalances, nothing unfinished is ever committed."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from snowbus.bus.errors import NotAssignedError
from snowbus.bus.event import TopicPartition
from snowbus.consumers.offsets import OffsetTracker

PARTITION = TopicPartition("snowbus.events", 0)
OTHER = TopicPartition("snowbus.events", 1)


def tracker_with(*offsets: int) -> OffsetTracker:
    tracker = OffsetTracker()
    tracker.assign([PARTITION])
    for offset in offsets:
        tracker.start(PARTITION, offset)
    return tracker


def test_nothing_read_leaves_nothing_to_commit() -> None:
    assert tracker_with().committable() == {}


def test_a_record_in_flight_holds_back_those_after_it() -> None:
    tracker = tracker_with(5, 6, 7)
    tracker.finish(PARTITION, 6)
    tracker.finish(PARTITION, 7)
    assert tracker.committable() == {PARTITION: 5}
    assert tracker.in_flight(PARTITION) == 1
    tracker.finish(PARTITION, 5)
    assert tracker.committable() == {PARTITION: 8}


def test_what_is_committed_is_not_offered_again() -> None:
    tracker = tracker_with(5)
    tracker.finish(PARTITION, 5)
    tracker.committed({PARTITION: 6})
    assert tracker.committable() == {}


def test_offsets_may_have_gaps() -> None:
    tracker = tracker_with(5, 9)
    tracker.finish(PARTITION, 5)
    assert tracker.committable() == {PARTITION: 9}


def test_partitions_do_not_hold_each_other_back() -> None:
    tracker = tracker_with(5)
    tracker.assign([OTHER])
    tracker.start(OTHER, 0)
    tracker.finish(OTHER, 0)
    assert tracker.committable() == {PARTITION: 5, OTHER: 1}


def test_what_finishes_after_its_partition_went_away_changes_nothing() -> None:
    tracker = tracker_with(5)
    tracker.revoke([PARTITION])
    tracker.finish(PARTITION, 5)
    assert tracker.committable() == {}
    assert tracker.in_flight(PARTITION) == 0


def test_reading_a_partition_that_is_not_assigned_is_refused() -> None:
    with pytest.raises(NotAssignedError):
        OffsetTracker().start(PARTITION, 0)


def test_a_log_that_was_cut_begins_anew_where_it_goes_on() -> None:
    tracker = tracker_with(100, 101)
    tracker.start(PARTITION, 0)
    tracker.finish(PARTITION, 100)
    assert tracker.committable() == {PARTITION: 0}
    tracker.finish(PARTITION, 0)
    assert tracker.committable() == {PARTITION: 1}


class TrackerBesideANaiveModel(RuleBasedStateMachine):
    """The model keeps every record read and whether it is finished, and looks through all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.tracker = OffsetTracker()
        self.model: dict[TopicPartition, dict[int, bool]] = {}
        self.committed: dict[TopicPartition, int] = {}

    partitions = st.sampled_from([PARTITION, OTHER])

    @rule(partition=partitions)
    def assign(self, partition: TopicPartition) -> None:
        self.tracker.assign([partition])
        self.model[partition] = {}
        self.committed.pop(partition, None)

    @rule(partition=partitions)
    def revoke(self, partition: TopicPartition) -> None:
        self.tracker.revoke([partition])
        self.model.pop(partition, None)
        self.committed.pop(partition, None)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), gap=st.integers(0, 3), records=st.integers(1, 4))
    def start(self, data: st.DataObject, gap: int, records: int) -> None:
        partition = data.draw(st.sampled_from(sorted(self.model)))
        first = max(self.model[partition], default=9) + 1 + gap
        for offset in range(first, first + records):
            self.tracker.start(partition, offset)
            self.model[partition][offset] = False

    @precondition(lambda self: any(self.model.values()))
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """Any record, also one that is finished already."""
        partition = data.draw(st.sampled_from(sorted(each for each, read in self.model.items() if read)))
        offset = data.draw(st.sampled_from(sorted(self.model[partition])))
        self.tracker.finish(partition, offset)
        self.model[partition][offset] = True

    @precondition(lambda self: any(self.model.values()))
    @rule(data=st.data())
    def cut(self, data: st.DataObject) -> None:
        """The log goes on from an offset that was read before."""
        partition = data.draw(st.sampled_from(sorted(each for each, read in self.model.items() if read)))
        offset = data.draw(st.integers(0, max(self.model[partition])))
        self.tracker.start(partition, offset)
        self.model[partition] = {offset: False}

    @rule(offset=st.integers(0, 30), partition=partitions)
    def finish_late(self, offset: int, partition: TopicPartition) -> None:
        """A record that is not in flight any more."""
        if offset not in self.model.get(partition, {}):
            self.tracker.finish(partition, offset)

    @rule()
    def commit(self) -> None:
        offsets = self.tracker.committable()
        self.tracker.committed(offsets)
        self.committed.update(offsets)

    @invariant()
    def agrees(self) -> None:
        expected = {}
        for partition, read in self.model.items():
            if read:
                unfinished = [offset for offset, finished in read.items() if not finished]
                next_offset = min(unfinished) if unfinished else max(read) + 1
                if self.committed.get(partition) != next_offset:
                    expected[partition] = next_offset
            assert self.tracker.in_flight(partition) == sum(not finished for finished in read.values())
        assert self.tracker.committable() == expected


TestTrackerBesideANaiveModel = TrackerBesideANaiveModel.TestCase
TestTrackerBesideANaiveModel.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
