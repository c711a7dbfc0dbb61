"""What members of a group are told, and what is kept beside their offsets, on every log."""

import asyncio
from itertools import pairwise

import pytest
from support.aio import eventually, run
from support.logs import SESSION, numbered, opened, read_on, settled

from snowbus.bus.errors import LogClosedError, LogError, LogUnavailableError, MetadataTooLargeError
from snowbus.bus.event import EVENTS_TOPIC, TopicPartition
from snowbus.bus.log import METADATA_LIMIT, Committed, open_log

pytestmark = pytest.mark.real_kafka  # the mock cluster does not answer who wants to join


class Told:
    """Notes what a member is told, and checks that a partition comes before it goes."""

    def __init__(self):
        self.calls = []
        self.held = set()

    async def on_revoked(self, partitions):
        assert self.held >= partitions
        self.held -= partitions
        self.calls.append("revoked")

    async def on_assigned(self, partitions):
        assert self.held.isdisjoint(partitions)
        self.held |= partitions
        self.calls.append("assigned")

    def join(self, log):
        return log.join([EVENTS_TOPIC], group_id="group", on_revoked=self.on_revoked, on_assigned=self.on_assigned)


# What is kept beside an offset


def test_metadata_is_kept_beside_a_committed_offset(log_url):
    """Until the next commit, which has its own, or none."""

    async def main():
        text = '{"done": "…", "ünï": 1}'
        async with opened(log_url) as log:
            one, two, *_ = await log.partitions(EVENTS_TOPIC)
            async with await log.join([EVENTS_TOPIC], group_id="group") as reader:
                await settled([reader])
                await reader.commit({one: 0, two: 0}, {one: text})
                assert await reader.committed([one, two]) == {one: Committed(0, text), two: Committed(0, "")}
        async with await open_log(log_url, SESSION) as log:
            assert (await log.group_offsets("group"))[one] == Committed(0, text)
            async with await log.join([EVENTS_TOPIC], group_id="group") as reader:
                await settled([reader])
                await reader.commit({one: 0})
                assert await reader.committed([one]) == {one: Committed(0, "")}

    run(main())


def test_metadata_that_is_too_large_is_refused_with_its_whole_commit(log_url):
    async def main():
        async with opened(log_url) as log, await log.join([EVENTS_TOPIC], group_id="group") as reader:
            await settled([reader])
            one, two, *_ = await log.partitions(EVENTS_TOPIC)
            largest = "é" * (METADATA_LIMIT // 2)
            await reader.commit({one: 0, two: 0}, {one: largest})
            with pytest.raises(MetadataTooLargeError, match=f"{METADATA_LIMIT + 1}") as refused:
                await reader.commit({one: 0, two: 0}, {one: largest + "x", two: "small"})
            assert (refused.value.size, refused.value.limit) == (METADATA_LIMIT + 1, METADATA_LIMIT)
            assert not refused.value.retriable
            assert await reader.committed([one, two]) == {one: Committed(0, largest), two: Committed(0)}

    run(main())


def test_a_group_is_reset_with_metadata_or_none(log_url):
    async def main():
        async with opened(log_url) as log:
            one, two, *_ = await log.partitions(EVENTS_TOPIC)
            await log.reset_group("group", {one: 3, two: 4}, {one: "why"})
            assert await log.group_offsets("group") == {one: Committed(3, "why"), two: Committed(4)}
            with pytest.raises(MetadataTooLargeError):
                await log.reset_group("group", {one: 5}, {one: "x" * 5000})
            await log.reset_group("group", {one: 3})
            assert await log.group_offsets("group") == {one: Committed(3), two: Committed(4)}

    run(main())


# What members are told


def test_partitions_are_told_before_they_go_and_when_they_come(log_url):
    """One callback at a time; a partition that is told to go can still be committed."""

    async def main():
        told = []
        running = []

        async def callback(what, partitions):
            assert not running
            running.append(what)
            await asyncio.sleep(0.05)
            running.clear()
            told.append((what, partitions))
            if what == "revoked":
                await one.commit(dict.fromkeys(partitions, 0))

        async def on_revoked(partitions):
            await callback("revoked", partitions)

        async def on_assigned(partitions):
            await callback("assigned", partitions)

        async with opened(log_url) as log, await open_log(log_url, SESSION) as other:
            everything = frozenset(await log.partitions(EVENTS_TOPIC))
            one = await log.join([EVENTS_TOPIC], group_id="group", on_revoked=on_revoked, on_assigned=on_assigned)
            await settled([one])
            await eventually(lambda: told == [("assigned", everything)])
            async with await other.join([EVENTS_TOPIC], group_id="group") as two:
                await settled([one, two])
            await settled([one])
            await eventually(lambda: held(told) == everything)
            await one.close()
            assert one.assignment == frozenset()

    def held(told):
        partitions = set()
        for what, moved in told:
            assert partitions.isdisjoint(moved) if what == "assigned" else partitions >= moved
            partitions ^= moved
        return partitions

    run(main())


def test_a_member_that_closes_is_asked_to_finish_what_it_holds(log_url):
    async def main():
        told = []

        async def on_revoked(partitions):
            told.append(partitions)
            await reader.commit(dict.fromkeys(partitions, 3))

        async with opened(log_url) as log:
            await log.append(EVENTS_TOPIC, numbered(12, key=None))
            reader = await log.join([EVENTS_TOPIC], group_id="group", on_revoked=on_revoked)
            await settled([reader])
            everything = frozenset(await log.partitions(EVENTS_TOPIC))
            await reader.close()
            assert told == [everything]
            assert sum((await log.lag("group")).values()) == 0

    run(main())


def test_who_loses_partitions_is_told_what_it_has_gained_which_may_be_nothing(log_url):
    async def main():
        async with opened(log_url) as log, await open_log(log_url, SESSION) as other:
            told = Told()
            one = await told.join(log)
            await settled([one])
            async with await other.join([EVENTS_TOPIC], group_id="group") as two:
                await settled([one, two])
                await eventually(lambda: len(told.calls) >= 3 and told.calls[-1] == "assigned")
                assert told.held == one.assignment
            await settled([one])
            await eventually(lambda: told.held == one.assignment)
            await one.close()
            *before, last = told.calls
            assert last == "revoked"
            assert not any(pair == ("revoked", "revoked") for pair in pairwise(before))

    run(main())


def test_reading_begins_where_on_assigned_seeks(log_url):
    """And not before it has returned."""

    async def main():
        reader = None
        begun = []

        async def on_assigned(_):
            reader.seek({place: 6})
            await asyncio.sleep(0.1)
            begun.append(reader.position(place))

        async with opened(log_url) as log:
            ((partition, _), *_) = await log.append(EVENTS_TOPIC, numbered(10))
            place = TopicPartition(EVENTS_TOPIC, partition)
            reader = await log.join([EVENTS_TOPIC], group_id="group", on_assigned=on_assigned)
            assert [record.offset for record in await read_on(reader, 4)] == [6, 7, 8, 9]
            assert begun == [6]
            assert reader.position(place) == 10
            await reader.close()

    run(main())


def test_a_pause_in_on_assigned_holds(log_url):
    async def main():
        reader = None

        async def on_assigned(partitions):
            reader.pause(partitions)

        async with opened(log_url) as log:
            await log.append(EVENTS_TOPIC, numbered(10))
            reader = await log.join([EVENTS_TOPIC], group_id="group", on_assigned=on_assigned)
            await settled([reader])
            assert await reader.poll(timeout=0.3) == []
            reader.resume(reader.assignment)
            assert len(await read_on(reader, 10)) == 10
            await reader.close()

    run(main())


def test_the_callbacks_may_ask_and_commit(log_url):
    async def main():
        reader = None
        seen = []

        async def commit(partitions):
            assert reader.assignment >= partitions
            before = await reader.committed(partitions)
            await reader.commit(
                {partition: reader.position(partition) for partition in partitions}, dict.fromkeys(partitions, "told")
            )
            seen.append((before, await reader.committed(partitions)))

        async with opened(log_url) as log:
            await log.append(EVENTS_TOPIC, numbered(12, key=None))
            everything = await log.partitions(EVENTS_TOPIC)
            reader = await log.join([EVENTS_TOPIC], group_id="group", on_revoked=commit, on_assigned=commit)
            await read_on(reader, 12)
            await reader.close()
            start, end = (dict.fromkeys(everything, Committed(offset, "told")) for offset in (0, 3))
            assert seen == [(dict.fromkeys(everything, Committed(0)), start), (start, end)]

    run(main())


@pytest.mark.parametrize(("raised", "told"), [(LogUnavailableError, LogUnavailableError), (ValueError, LogError)])
def test_partitions_whose_on_assigned_fails_are_given_up_and_come_again(log_url, raised, told):
    """A poll says what it raised; nothing of them is given meanwhile, and nothing is lost."""

    async def main():
        calls = []

        async def on_assigned(partitions):
            calls.append(("assigned", partitions))
            if len(calls) == 1:
                raise raised("not now")

        async def on_revoked(partitions):
            calls.append(("revoked", partitions))

        async with opened(log_url) as log:
            await log.append(EVENTS_TOPIC, numbered(12, key=None))
            everything = frozenset(await log.partitions(EVENTS_TOPIC))
            async with await log.join(
                [EVENTS_TOPIC], group_id="group", on_revoked=on_revoked, on_assigned=on_assigned
            ) as reader:
                with pytest.raises(told, match="not now"):
                    await read_on(reader, 1)
                await read_on(reader, 12)
            assert calls == [(what, everything) for what in ("assigned", "revoked", "assigned", "revoked")]

    run(main())


def test_nothing_is_read_of_partitions_that_are_being_given_up(log_url):
    """Also when the one who drains them resumes them."""

    async def main():
        reader = None
        places = []

        async def on_revoked(partitions):
            before = {partition: reader.position(partition) for partition in partitions}
            reader.resume(partitions)
            await log.append(EVENTS_TOPIC, numbered(40, key=None))
            await asyncio.sleep(0.2)
            places.append((before, {partition: reader.position(partition) for partition in partitions}))

        async with opened(log_url) as log, await open_log(log_url, SESSION) as other:
            reader = await log.join([EVENTS_TOPIC], group_id="group", on_revoked=on_revoked)
            await settled([reader])
            async with await other.join([EVENTS_TOPIC], group_id="group") as two:
                await settled([reader, two])
            before, after = places[0]
            assert before == after
            await reader.close()

    run(main())


def test_a_reader_that_is_closed_when_it_has_given_its_partitions_up_is_closed_at_once(log_url):
    async def main():
        closings = []

        async def on_revoked(_):
            closings.append(asyncio.create_task(reader.close()))

        async with opened(log_url) as log, await open_log(log_url, SESSION) as other:
            reader = await log.join([EVENTS_TOPIC], group_id="group", on_revoked=on_revoked)
            await settled([reader])
            reading = asyncio.create_task(read_on(reader, 1))
            async with await other.join([EVENTS_TOPIC], group_id="group") as two:
                await settled([two])
                async with asyncio.timeout(5):
                    await closings[0]
                await asyncio.wait([reading])
            assert isinstance(reading.exception(), LogClosedError)

    run(main())
