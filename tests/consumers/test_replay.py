"""Replays on a log: what is planned, what is refused, and what is copied for a group that runs."""

import pytest
from support.aio import run
from support.forwarding import numbered, read_all

from snowbus.bus.cursor import encode_cursor
from snowbus.bus.errors import GroupHasMembersError, LogUnavailableError, RecordTooLargeError
from snowbus.bus.event import EVENTS_TOPIC, RETRY_TOPIC, ProducerRecord, TopicPartition
from snowbus.bus.filters import parse_filter
from snowbus.bus.log.interface import Committed, LogOptions
from snowbus.bus.log.memory import MemoryLog
from snowbus.consumers.offsets import Position
from snowbus.consumers.progress import read_position, write_metadata
from snowbus.consumers.replay import FilteredReplay, ReplayError, UnknownGroupError, move_back, plan_replay
from snowbus.consumers.replay_ranges import parse_bound
from snowbus.consumers.retries import is_for, original_of

P0, P1 = TopicPartition(EVENTS_TOPIC, 0), TopicPartition(EVENTS_TOPIC, 1)
NOW = 2_000_000


def bound(text):
    return parse_bound(text, now=NOW)


async def filled(count=40, *, partitions=2, kind=MemoryLog, committed=None):
    """A log with so many records in each partition of the events, of which the group has handled all, or `committed`.

    The record at offset N is of time 1,000 * N and has the app `odd` or `even`.
    """
    log = kind(LogOptions(partitions=partitions))
    await log.create_topics([EVENTS_TOPIC])
    for number in range(count):
        app = "odd" if number % 2 else "even"
        for place in await log.partitions(EVENTS_TOPIC):
            record = numbered(number, user=f"{place.partition}-{number}", aid=app)
            log.store.put(place, record._replace(timestamp=1_000 * number), now=0)
    offsets = dict.fromkeys(await log.partitions(EVENTS_TOPIC), count) if committed is None else committed
    await log.reset_group("stock", offsets)
    return log


def ranges(replays):
    return {replay.partition.partition: (replay.start, replay.stop) for replay in replays}


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        ("earliest", None, {0: (0, 40), 1: (0, 40)}),
        ("earliest", "1970-01-01T00:00:10Z", {0: (0, 10), 1: (0, 10)}),
        ("1980s", "1970s", {0: (20, 30), 1: (20, 30)}),
        ("0:3", "0:9", {0: (3, 9)}),
        ("0:3,1:5", "latest", {0: (3, 40), 1: (5, 40)}),
        ("0:3,1:5", "1:9", {1: (5, 9)}),
        ("earliest", "0:1000", {0: (0, 40)}),
        ("-4", None, {0: (38, 40), 1: (38, 40)}),
        (encode_cursor({P0: 7, P1: 8}), encode_cursor({P0: 9, P1: 9}), {0: (7, 9), 1: (8, 9)}),
        (encode_cursor({P0: 7}), encode_cursor({P0: 9, P1: 9}), {0: (7, 9), 1: (0, 9)}),
    ],
)
def test_a_range_is_found_in_each_partition(start, stop, expected):
    async def main():
        replays = await plan_replay(await filled(), "stock", start=bound(start), stop=stop and bound(stop))
        assert ranges(replays) == expected

    run(main())


def test_one_offset_is_enough_for_one_partition():
    async def main():
        log = await filled(partitions=1)
        assert ranges(await plan_replay(log, "stock", start=bound("3"), stop=bound("9"))) == {0: (3, 9)}

    run(main())


@pytest.mark.parametrize(
    ("start", "topics", "error"),
    [
        ("3", (), "has 2 partitions; write the offset in each as PARTITION:OFFSET"),
        ("7:3", (), "has no partition 7"),
        ("0:41", (), "offset 41 is beyond the end of snowbus.events/0, which is 40"),
        (encode_cursor({P0: 4_000}), (), "beyond the end"),
        ("snowbus.bad~0.1", (), "committed nothing in snowbus.bad; it has in snowbus.events"),
        ("earliest", ("orders",), "committed nothing in orders"),
        ("earliest", (RETRY_TOPIC,), "replay the topics that they are of"),
    ],
)
def test_a_range_that_cannot_be_is_refused_with_what_can(start, topics, error):
    async def main():
        with pytest.raises(ReplayError, match=error):
            await plan_replay(await filled(), "stock", topics=topics, start=bound(start))

    run(main())


@pytest.mark.parametrize(("start", "stop"), [("1970-01-01T00:00:20Z", "0:5,1:5"), ("-4", "1970-01-01T00:00:20Z")])
def test_a_range_that_turns_out_to_end_before_it_begins_is_refused(start, stop):
    async def main():
        with pytest.raises(ReplayError, match="ends before it begins"):
            await plan_replay(await filled(), "stock", start=bound(start), stop=bound(stop))

    run(main())


def test_a_range_that_has_something_in_one_partition_is_replayed():
    async def main():
        log = await filled()
        replays = await plan_replay(log, "stock", start=bound("1970-01-01T00:00:20Z"), stop=bound("0:5,1:25"))
        assert [replay.again for replay in replays] == [0, 5]

    run(main())


def test_a_group_that_has_committed_nothing_is_refused_by_its_name():
    async def main():
        log = await filled()
        with pytest.raises(UnknownGroupError, match=r"group 'stok' has committed nothing .* groups are stock"):
            await plan_replay(log, "stok", start=bound("earliest"))

    run(main())


def test_partitions_that_the_group_has_not_read_yet_stay_as_they_are():
    async def main():
        log = await filled(committed={P0: 30})
        replays = await plan_replay(log, "stock", start=bound("earliest"))
        await move_back(log, "stock", replays)
        assert await log.group_offsets("stock") == {P0: Committed(0)}

    run(main())


def test_all_topics_of_the_group_are_replayed_unless_some_are_named():
    async def main():
        log = await filled()
        await log.create_topics(["orders"])
        orders = TopicPartition("orders", 0)
        log.store.put(orders, ProducerRecord(b"k", b"v"), now=0)
        await log.reset_group("stock", {orders: 1})
        everything = await plan_replay(log, "stock", start=bound("earliest"))
        assert {replay.partition for replay in everything} == {orders, P0, P1}
        named = await plan_replay(log, "stock", topics=["orders"], start=bound("0:0"))
        assert {replay.partition for replay in named} == {orders}
        with pytest.raises(ReplayError, match="say with --topic"):
            await plan_replay(log, "stock", start=bound("0:0"))

    run(main())


def test_only_partitions_in_which_something_is_handled_again_move():
    async def main():
        log = await filled(committed={P0: 30, P1: 2})
        await move_back(log, "stock", await plan_replay(log, "stock", start=bound("0:10,1:5"), stop=bound("0:20,1:20")))
        offsets = await log.group_offsets("stock")
        assert read_position(offsets[P0]) == Position(10, ((20, 30),))
        assert offsets[P1] == Committed(2)

    run(main())


def test_a_group_that_runs_is_not_moved():
    async def main():
        log = await filled()
        replays = await plan_replay(log, "stock", start=bound("earliest"))
        async with await log.join([EVENTS_TOPIC], group_id="stock"):
            with pytest.raises(GroupHasMembersError):
                await move_back(log, "stock", replays)

    run(main())


async def copy(log, wanted, *, start="earliest", stop=None, dry_run=False, is_over=lambda: False, refused=None):
    replays = await plan_replay(log, "stock", start=bound(start), stop=stop and bound(stop))
    replay = FilteredReplay(log, "stock", replays, parse_filter(wanted))
    is_whole = await replay.run(
        dry_run=dry_run,
        told=lambda *_: None,
        on_refused=lambda *problem: (refused if refused is not None else []).append(problem),
        is_over=is_over,
    )
    return replay, is_whole


def test_what_a_filter_lets_through_is_copied_for_the_group():
    async def main():
        log = await filled()
        replay, is_whole = await copy(log, [("app_id", "odd")], start="0:10", stop="0:20")
        copies = await read_all(log, RETRY_TOPIC)
        assert sorted(original_of(copy).offset for copy in copies) == [11, 13, 15, 17, 19]
        assert {(original_of(copy).topic, original_of(copy).partition) for copy in copies} == {P0}
        assert all(is_for(copy, "stock") for copy in copies)
        assert (replay.copied, is_whole) == (5, True)

    run(main())


def test_what_the_group_has_still_to_handle_needs_no_copy():
    async def main():
        log = await filled(committed={P0: 10})
        await log.reset_group("stock", {P0: 10}, {P0: write_metadata(Position(10, ((15, 18),)), None)})
        replay, _ = await copy(log, [("app_id", "odd")])
        assert sorted(original_of(copy).offset for copy in await read_all(log, RETRY_TOPIC)) == [1, 3, 5, 7, 9, 15, 17]
        assert (replay.copied, replay.unhandled) == (7, 13)

    run(main())


def test_a_dry_run_of_a_filter_copies_nothing():
    async def main():
        log = await filled()
        replay, _ = await copy(log, [("app_id", "odd")], dry_run=True)
        assert replay.copied == 40
        assert RETRY_TOPIC not in {topic.name for topic in await log.topics()}

    run(main())


def test_a_replay_that_is_ended_says_up_to_where_all_is_copied():
    async def main():
        log = await filled(3_000, partitions=1)
        replay, is_whole = await copy(log, [("app_id", "odd")], is_over=lambda: True)
        reached = replay.positions[P0]
        assert not is_whole
        assert 0 < reached < 3_000
        rest, is_whole = await copy(log, [("app_id", "odd")], start=str(reached))
        assert is_whole
        assert replay.copied + rest.copied == 1_500
        assert len({original_of(copy).offset for copy in await read_all(log, RETRY_TOPIC)}) == 1_500

    run(main())


def test_a_copy_that_is_too_large_is_said_and_the_others_go():
    class Refusing(MemoryLog):
        async def append(self, topic, records):
            if topic == RETRY_TOPIC and records[0].key == b"0-3":
                raise RecordTooLargeError(topic, size=1, limit=None)
            return await super().append(topic, records)

    async def main():
        refused = []
        replay, _ = await copy(await filled(kind=Refusing), [("app_id", "odd")], refused=refused)
        assert (replay.copied, replay.refused) == (39, 1)
        assert [(record.topic_partition, record.offset) for record, _ in refused] == [(P0, 3)]

    run(main())


def test_a_log_that_goes_away_leaves_the_positions_of_what_is_copied():
    class Failing(MemoryLog):
        appended = 0

        async def append(self, topic, records):
            self.appended += topic == RETRY_TOPIC
            if self.appended > 700:
                raise LogUnavailableError("away")
            return await super().append(topic, records)

    async def main():
        log = await filled(3_000, partitions=1, kind=Failing)
        replays = await plan_replay(log, "stock", start=bound("earliest"))
        replay = FilteredReplay(log, "stock", replays, parse_filter([("app_id", "odd")]))
        with pytest.raises(LogUnavailableError):
            await replay.run(dry_run=False, told=lambda *_: None, on_refused=print, is_over=lambda: False)
        copied = {original_of(copy).offset for copy in await read_all(log, RETRY_TOPIC)}
        assert set(range(1, replay.positions[P0], 2)) <= copied

    run(main())
