"""What is held of deliveries is what was told, within bounds, and a snapshot tells all of it."""

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from snowbus.bus.event import TopicPartition
from snowbus.bus.tracker_protocol import timestamp_from_ms
from snowbus.consumers.gateway.delivery_messages import Message, Snapshot, Window, commits_message, report_message
from snowbus.consumers.gateway.delivery_store import MOST_STEPS, DeliveryStore, Lane, Step, in_order
from snowbus.consumers.receipts import CollectorState, Receipt, Report

TOPIC = "snowbus.events"
P0, P1 = TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)
UNBOUNDED = 100_000

Naive = dict[tuple[str, int, int], list[Step]]

offset_ranges = st.lists(st.tuples(st.integers(-1, 30), st.integers(-1, 30)), max_size=5).map(tuple)
receipts = st.builds(
    Receipt,
    topic=st.sampled_from([TOPIC, TOPIC, TOPIC, "another"]),
    partition=st.integers(0, 1),
    offsets=offset_ranges,
    status=st.sampled_from(["delivered", "retrying", "dead"]),
    attempts=st.integers(1, 3),
    http_status=st.sampled_from([None, 200, 503]),
    error=st.sampled_from(["", "no answer"]),
)
reports = st.lists(
    st.builds(
        Report,
        group=st.sampled_from(["a", "b"]),
        time=st.integers(1, 9),
        receipts=st.lists(receipts, max_size=3).map(tuple),
    ),
    max_size=12,
)


def report(time: int, *offsets: tuple[int, int], status: str = "delivered", **more: Any) -> Report:
    receipt = Receipt(topic=TOPIC, partition=0, offsets=offsets, status=status, http_status=200, **more)
    return Report(group="collector", time=time, receipts=(receipt,))


def tell(naive: Naive, told: Report) -> None:
    """One offset after the other."""
    for receipt in told.receipts:
        step = Step(receipt.status, receipt.attempts, receipt.http_status, receipt.error, told.time)
        offsets = {offset for first, last in receipt.offsets if first >= 0 for offset in range(first, last + 1)}
        for offset in offsets if receipt.topic == TOPIC else ():
            story = naive.setdefault((told.group, receipt.partition, offset), [])
            if not (story and step.status == "retrying" and story[-1][:4] == step[:4]):
                story.append(step)


def naive_of(told: list[Report]) -> Naive:
    naive: Naive = {}
    for each in told:
        tell(naive, each)
    return naive


def held(store: DeliveryStore) -> Naive:
    """What a store holds, offset by offset; its ranges are in order and none could be joined with the next."""
    found: Naive = {}
    for lane in store.lanes():
        ranges = store.told(lane)
        assert all(one.last < other.first for one, other in pairwise(ranges))
        assert not any(one.last + 1 == other.first and one.story == other.story for one, other in pairwise(ranges))
        for first, last, story in ranges:
            assert first <= last
            for offset in range(first, last + 1):
                found[lane.group, lane.partition.partition, offset] = list(story)
    return found


def shortened(story: list[Step]) -> list[Step]:
    return story if len(story) <= MOST_STEPS else [story[0], *story[1 - MOST_STEPS :]]


def messages_of(store: DeliveryStore, window: Window) -> list[Message]:
    snapshot = Snapshot(window)
    messages = []
    while message := snapshot.next_message(store, now=0):
        messages.append(message)
    return messages


def understood(messages: list[Message]) -> Naive:
    """What a reader makes of messages; one that comes twice says nothing new."""
    found: Naive = {}
    for message in messages:
        for receipt in message["receipts"]:
            step = Step(*(receipt[name] for name in Step._fields))
            for first, last in receipt["offsets"]:
                for offset in range(first, last + 1):
                    story = found.setdefault((message["group"], receipt["partition"], offset), [])
                    if step not in story:
                        story.append(step)
    return found


def as_told(story: list[Step]) -> list[Step]:
    """As a reader understands a story, which names no step twice."""
    return list(dict.fromkeys(step._replace(time=timestamp_from_ms(step.time)) for step in story))


@given(reports)
def test_each_event_has_the_story_that_was_told_of_it(told: list[Report]) -> None:
    store = DeliveryStore(TOPIC, max_ranges=UNBOUNDED)
    for each in told:
        store.add(each)
    assert held(store) == {event: shortened(story) for event, story in naive_of(told).items()}
    assert len(store) == sum(len(store.told(lane)) for lane in store.lanes())


@given(reports, st.integers(1, 6))
def test_a_full_store_holds_what_was_told_last_and_forgets_the_lowest_offsets(told: list[Report], most: int) -> None:
    store = DeliveryStore(TOPIC, max_ranges=most)
    naive: Naive = {}
    for each in told:
        tell(naive, each)
        before = held(store)
        store.add(each)
        assert len(store) <= most
        now = held(store)
        assert all(story[-1][:4] == naive[event][-1][:4] for event, story in now.items())
        for group, partition, offset in before.keys() - now.keys():
            assert not [o for g, p, o in now if (g, p) == (group, partition) and o < offset]


@given(reports, st.integers(0, 31), st.integers(0, 31))
def test_a_snapshot_tells_everything_of_its_window(told: list[Report], start: int, other_start: int) -> None:
    store = DeliveryStore(TOPIC, max_ranges=UNBOUNDED)
    for each in told:
        store.add(each)
    starts = {P0: start, P1: other_start}
    found = understood(messages_of(store, Window(starts)))
    wanted = {event: as_told(story) for event, story in held(store).items()}
    assert found.items() <= wanted.items()
    for group, partition, offset in wanted:
        if offset >= starts[TopicPartition(TOPIC, partition)]:
            assert (group, partition, offset) in found


@given(reports, st.integers(0, 10), st.integers(0, 31))
def test_a_snapshot_since_a_time_tells_what_became_since_then_of_earlier_events_too(
    told: list[Report], since: int, start: int
) -> None:
    store = DeliveryStore(TOPIC, max_ranges=UNBOUNDED)
    for each in told:
        store.add(each)
    wanted = {event: as_told(story) for event, story in held(store).items()}
    changed = {event for event, story in held(store).items() if story[-1].time >= since}
    only_changed = understood(messages_of(store, Window(None, since)))
    assert only_changed == {event: story for event, story in wanted.items() if event in changed}
    both = understood(messages_of(store, Window({P0: start, P1: start}, since)))
    assert both.items() <= wanted.items()
    assert both.keys() >= changed | {event for event in wanted if event[2] >= start}


def test_the_messages_of_a_snapshot_are_bounded() -> None:
    store = DeliveryStore(TOPIC, max_ranges=UNBOUNDED)
    for time in range(5):
        store.add(report(time, *((offset, offset) for offset in range(0, 8_000, 2)), status="retrying", attempts=time))
    messages = messages_of(store, Window({}))
    told = [sum(len(receipt["offsets"]) for receipt in message["receipts"]) for message in messages]
    assert sum(told) == 20_000
    assert max(told) < 310
    assert understood(messages) == {event: as_told(story) for event, story in held(store).items()}


def test_what_a_group_committed_is_done_whatever_became_of_it() -> None:
    store = DeliveryStore(TOPIC, max_ranges=UNBOUNDED)
    store.add(report(5, (3, 4)))
    assert store.commit("collector", {P0: 5, P1: 0, TopicPartition("another", 0): 7}) == {P0: 5, P1: 0}
    assert store.commit("collector", {P0: 5, P1: 2}) == {P1: 2}
    done, receipts = messages_of(store, Window({P0: 3}))
    assert [(receipt["partition"], receipt["offsets"], receipt["status"]) for receipt in done["receipts"]] == [
        (0, [(0, 4)], "done"),
        (1, [(0, 1)], "done"),
    ]
    assert [receipt["offsets"] for receipt in receipts["receipts"]] == [[(3, 4)]]
    assert commits_message("collector", {P1: 2}, now=0)["receipts"] == [{**done["receipts"][1], "time": _EPOCH}]


_EPOCH = "1970-01-01T00:00:00.000Z"


def test_of_members_that_differ_the_one_counts_to_whom_a_collector_stands_worst() -> None:
    down = CollectorState(url="https://one", state="down", since=500, error="HTTP 503")
    up = CollectorState(url="https://one", state="up", since=100)
    store = DeliveryStore(TOPIC, max_ranges=10)
    for time, sender, state in ((1000, "a", down), (1100, "b", up), (1200, "b", up)):
        store.add(Report(group="collector", time=time, sender=sender, collectors=(state,)))
        assert store.groups["collector"].collectors == (down,)
    store.add(Report(group="collector", time=1300, sender="a", collectors=(up,)))
    assert store.groups["collector"].collectors == (up,)


def test_a_group_that_told_nothing_but_how_its_collectors_stand_is_told_of() -> None:
    down = CollectorState(url="https://user:secret@c.example/x?key=1", state="down", since=0, error="e" * 900)
    store = DeliveryStore(TOPIC, max_ranges=UNBOUNDED)
    store.add(Report(group="collector", time=1000, collectors=(down,)))
    store.add(Report(group="collector", time=2000))
    (message,) = messages_of(store, Window({}))
    assert (message["group"], message["time"], message["receipts"]) == ("collector", "1970-01-01T00:00:02.000Z", [])
    assert message["collectors"] == [
        {"url": "https://…@c.example/x", "state": "down", "since": _EPOCH, "error": "e" * 200, "next_try": None}
    ]


def test_a_report_is_told_as_it_came_less_what_is_about_other_topics() -> None:
    other = Receipt(topic="another", partition=0, offsets=((0, 9),), status="dead")
    told = report(0, (7, 8), (3, 4), (5, 5), (9, 2), attempts=2, error="e" * 900)
    message = report_message(told.model_copy(update={"receipts": (other, *told.receipts)}), TOPIC, with_collectors=True)
    assert message == {
        "type": "delivery",
        "group": "collector",
        "time": _EPOCH,
        "receipts": [
            {
                "topic": TOPIC,
                "partition": 0,
                "offsets": [(3, 5), (7, 8)],
                "status": "delivered",
                "attempts": 2,
                "http_status": 200,
                "error": "e" * 200,
                "time": _EPOCH,
            }
        ],
        "collectors": [],
    }


def test_groups_without_number_are_forgotten_the_longest_silent_first() -> None:
    store = DeliveryStore(TOPIC, max_ranges=UNBOUNDED)
    for number in range(150):
        store.add(report(number, (0, 0)).model_copy(update={"group": f"g{number}"}))
    assert set(store.groups) == {f"g{number}" for number in range(50, 150)}
    assert {lane.group for lane in store.lanes()} == set(store.groups)
    assert len(store) == 100


@given(st.lists(st.tuples(st.integers(-2, 40), st.integers(-2, 40)), max_size=12))
def test_ranges_in_order_hold_the_same_offsets(ranges: list[tuple[int, int]]) -> None:
    found = in_order(ranges)
    offsets = {offset for first, last in ranges if first >= 0 for offset in range(first, last + 1)}
    assert {offset for first, last in found for offset in range(first, last + 1)} == offsets
    assert all(one[1] + 1 < other[0] for one, other in pairwise(found))


def test_a_lane_is_told_from_the_range_that_holds_an_offset() -> None:
    store = DeliveryStore(TOPIC, max_ranges=UNBOUNDED)
    store.add(report(1, (0, 4), (6, 9)))
    lane = Lane("collector", P0)
    assert [told.first for told in store.told(lane, 4)] == [0, 6]
    assert [told.first for told in store.told(lane, 5)] == [6]
    assert store.told(lane, 10) == store.told(Lane("collector", P1)) == []
