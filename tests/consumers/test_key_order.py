"""Keys are handled in order, one call at a time, whoever takes and whatever is put off."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from snowbus.bus.event import Record as BusRecord
from snowbus.bus.event import TopicPartition
from snowbus.consumers.key_order import KeyOrder
from snowbus.consumers.record import Record


def record(offset, key=b"a", partition=0, size=0):
    return Record(BusRecord("events", partition, offset, 0, key, b"x" * size, ()))


def offsets(records):
    return [each.at for each in records]


def test_records_come_in_the_order_in_which_they_arrived():
    order = KeyOrder()
    order.offer([record(0, b"a"), record(1, b"a"), record(2, b"b")])
    taken = []
    while order:
        batch = order.take(1)
        taken += offsets(batch)
        order.release(batch)
    assert taken == [0, 1, 2]


def test_a_key_in_hand_waits_and_others_do_not():
    order = KeyOrder()
    order.offer([record(0, b"a"), record(1, b"a"), record(2, b"b")])
    assert offsets(order.take(1)) == [0]
    assert offsets(order.take(1)) == [2]
    assert offsets(order.take(1)) == []


def test_a_batch_has_several_records_of_a_key_in_order():
    order = KeyOrder()
    order.offer([record(0, b"a"), record(1, b"b"), record(2, b"a")])
    assert offsets(order.take(10)) == [0, 1, 2]


def test_a_batch_stops_before_its_bytes_are_too_many_and_keeps_the_order():
    order = KeyOrder()
    order.offer([record(0, b"a", size=60), record(1, b"a", size=60), record(2, b"b", size=30)])
    batch = order.take(10, max_bytes=100)
    assert offsets(batch) == [0]
    assert offsets(order.take(10, max_bytes=100)) == [2]
    order.release(batch)
    assert offsets(order.take(10, max_bytes=50)) == [1]


def test_a_key_whose_time_comes_before_it_is_put_down_is_not_free_until_then():
    order = KeyOrder()
    order.offer([record(0, b"a"), record(1, b"b"), record(2, b"a")])
    batch = order.take(2)
    order.put_off(batch[:1], 1.0)
    order.due(2.0)
    assert order.take(5) == []
    order.release(batch)
    order.due(2.0)
    assert offsets(order.take(5)) == [0, 2]
    assert order.take(5) == []


def test_what_waits_behind_one_that_is_put_off_is_kept_until_that_is_due():
    order = KeyOrder()
    order.offer([record(0, b"a"), record(1, b"b"), record(2, b"a")])
    batch = order.take(1)
    order.put_off(batch, 1.0)
    order.release(batch)
    assert offsets(order.take(5)) == [1]
    assert order.kept(TopicPartition("events", 0)) == 2
    order.offer([record(3, b"a")])
    assert order.take(5) == []
    assert order.kept(TopicPartition("events", 0)) == 3
    order.due(1.0)
    assert order.kept(TopicPartition("events", 0)) == 0
    assert offsets(order.take(5)) == [0, 2, 3]


def test_what_is_put_off_comes_before_the_others_of_its_key_when_it_is_due():
    order = KeyOrder()
    order.offer([record(0, b"a"), record(1, b"a"), record(2, b"b")])
    (first,) = order.take(1)
    order.put_off([first], 10.0)
    order.release([first])
    assert offsets(order.take(5)) == [2]
    assert order.due(9.0) == 10.0
    assert order.due(10.0) is None
    assert offsets(order.take(5)) == [0, 1]


def test_one_that_has_failed_is_alone():
    order = KeyOrder()
    order.offer([record(0, b"a"), record(1, b"a"), record(2, b"b")])
    (first,) = order.take(1)
    first.failures = 1
    order.put_off([first], 1.0)
    order.release([first])
    order.due(1.0)
    assert offsets(order.take(5)) == [0]


def test_records_without_a_key_wait_for_nobody():
    order = KeyOrder()
    order.offer([record(0, None), record(1, None)])
    assert offsets(order.take(1)) + offsets(order.take(1)) == [0, 1]


def test_forgotten_partitions_give_nothing_more():
    order = KeyOrder()
    order.offer([record(0, b"a", 0), record(1, b"a", 1), record(2, b"b", 1)])
    in_hand = order.take(1)
    order.forget([TopicPartition("events", 1)])
    order.release(in_hand)
    assert order.take(5) == []


class Ordering(RuleBasedStateMachine):
    """Many takers, retries and partitions that go: each key's records are taken in order, never two at a time."""

    @initialize()
    def begin(self):
        self.order = KeyOrder()
        self.offset = 0
        self.now = 0.0
        self.hands = []
        self.expected = {}  # by key: the records that are not finished, in order
        self.retrying = {}

    @rule(keys=st.lists(st.sampled_from([b"a", b"b", b"c", b"d"]), min_size=1, max_size=8), partition=st.integers(0, 1))
    def offer(self, keys, partition):
        records = []
        for key in keys:
            records.append(record(self.offset, key, partition))
            self.expected.setdefault(key, []).append(records[-1])
            self.offset += 1
        self.order.offer(records)

    @rule(limit=st.integers(1, 4))
    def take(self, limit):
        taken = self.order.take(limit)
        if not taken:
            return
        held = {each.order_key for hand in self.hands for each in hand}
        assert len(taken) <= limit
        for key in {each.order_key for each in taken}:
            assert key not in held
            mine = [each for each in taken if each.order_key == key]
            assert mine == self.expected[key][: len(mine)]
            assert self.retrying.pop(key, 0.0) <= self.now
        self.hands.append(taken)

    @precondition(lambda self: self.hands)
    @rule(data=st.data(), fails=st.booleans(), wait=st.integers(0, 5))
    def put_down(self, data, fails, wait):
        hand = self.hands.pop(data.draw(st.integers(0, len(self.hands) - 1)))
        again = []
        if fails:
            key = data.draw(st.sampled_from(hand)).order_key
            again = [each for each in hand if each.order_key == key]
            again[0].failures += 1
            self.order.put_off([each for each in again if each in self.expected[key]], self.now + wait)
            self.retrying[key] = self.now + wait
        self.order.release(hand)
        for each in hand:
            if each not in again and each in self.expected[each.order_key]:
                self.expected[each.order_key].remove(each)

    @rule(seconds=st.integers(1, 4))
    def pass_time(self, seconds):
        self.now += seconds
        self.order.due(self.now)

    @invariant()
    def the_number_waiting_is_right(self):
        in_hand = sum(map(len, self.hands))
        assert len(list(self.order)) == sum(map(len, self.expected.values())) - in_hand


TestOrdering = Ordering.TestCase
TestOrdering.settings = settings(stateful_step_count=40)
