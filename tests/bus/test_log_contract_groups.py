"""What groups do on every log: the same tests on all of them."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest
from support.aio import eventually, run
from support.logs import SESSION, numbered, opened, process, read_on, settled, several_processes

from snowbus.bus.errors import GroupHasMembersError, NotAssignedError
from snowbus.bus.event import EVENTS_TOPIC, ProducerRecord, TopicPartition
from snowbus.bus.log import Committed, LogOptions, open_log

pytestmark = pytest.mark.real_kafka  # the mock cluster does not answer who wants to join


class Member:
    """A member of a group that reads in a task, notes what it reads, and commits when it loses its partitions."""

    def __init__(self):
        self.records = []
        self.next = {}
        self.reader = None

    @asynccontextmanager
    async def reading(self, log, group_id="group"):
        self.reader = await log.join([EVENTS_TOPIC], group_id=group_id, on_revoked=self._on_revoked)
        task = asyncio.create_task(self._read())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self._on_revoked(self.reader.assignment)
            await self.reader.close()

    async def _read(self):
        while True:
            for record in await self.reader.poll(max_records=20):
                self.records.append(record)
                self.next[record.topic_partition] = record.offset + 1

    async def _on_revoked(self, partitions):
        offsets = {partition: self.next.pop(partition) for partition in partitions if partition in self.next}
        await self.reader.commit(offsets)


def test_a_group_goes_on_where_it_has_committed(log_url):
    """A committed offset is the next one to read; what is read and not committed comes again."""

    async def main():
        async with opened(log_url) as log:
            ((partition, _), *_) = await log.append(EVENTS_TOPIC, numbered(20))
            place = TopicPartition(EVENTS_TOPIC, partition)
            async with await log.join([EVENTS_TOPIC], group_id="group") as reader:
                await read_on(reader, 20)
                await reader.commit({place: 5})
                assert await reader.committed([place]) == {place: Committed(5)}
        async with await open_log(log_url, SESSION) as log:
            assert (await log.group_offsets("group"))[place].offset == 5
            async with await log.join([EVENTS_TOPIC], group_id="group") as reader:
                assert [record.offset for record in await read_on(reader, 15)] == list(range(5, 20))
                assert reader.position(place) == 20
                await reader.commit({place: 20})
            async with await log.join([EVENTS_TOPIC], group_id="group") as reader:
                assert await reader.poll(timeout=0.5) == []

    run(main())


@pytest.mark.parametrize(("reset", "lag"), [("earliest", 12), ("latest", 0)])
def test_a_new_group_commits_where_it_starts(log_url, reset, lag):
    """So that its lag shows before it has done anything."""

    async def main():
        async with opened(log_url) as log:
            await log.append(EVENTS_TOPIC, numbered(12, key=None))
            async with await log.join([EVENTS_TOPIC], group_id="group", auto_offset_reset=reset) as reader:
                await settled([reader])
                offsets = await eventually(lambda: log.group_offsets("group"))
                partitions = await log.partitions(EVENTS_TOPIC)
                assert offsets == dict.fromkeys(partitions, Committed(0 if reset == "earliest" else 3))
                assert sum((await log.lag("group")).values()) == lag
                await log.append(EVENTS_TOPIC, numbered(4, key=None, start=12))
                assert sum((await log.lag("group")).values()) == lag + 4
                assert len(await read_on(reader, 4 if reset == "latest" else 0)) >= 0
            assert await log.groups() == ["group"]

    run(main())


def test_latest_starts_behind_what_is_there(log_url):
    async def main():
        async with opened(log_url) as log:
            await log.append(EVENTS_TOPIC, numbered(10))
            async with await log.join([EVENTS_TOPIC], group_id="group", auto_offset_reset="latest") as reader:
                await settled([reader])
                await log.append(EVENTS_TOPIC, numbered(1, start=10))
                assert [record.value for record in await read_on(reader, 1)] == [b"10"]

    run(main())


def test_lag_falls_with_commits(log_url):
    async def main():
        async with opened(log_url) as log:
            await log.append(EVENTS_TOPIC, numbered(40, key=None))
            async with await log.join([EVENTS_TOPIC], group_id="group") as reader:
                await read_on(reader, 40)
                partitions = await log.partitions(EVENTS_TOPIC)
                await reader.commit(dict(zip(partitions, (10, 7, 0, 3), strict=True)))
                assert await log.lag("group") == dict(zip(partitions, (0, 3, 10, 7), strict=True))
            assert await log.lag("nobody") == {}

    run(main())


def test_a_member_seeks_by_offset_and_by_time(log_url):
    async def main():
        start = time.time_ns() // 1_000_000 - 60_000
        async with opened(log_url) as log:
            records = [ProducerRecord(b"user", b"", (), start + number) for number in range(10)]
            ((partition, _), *_) = await log.append(EVENTS_TOPIC, records)
            place = TopicPartition(EVENTS_TOPIC, partition)
            async with await log.join([EVENTS_TOPIC], group_id="group") as reader:
                await read_on(reader, 10)
                reader.seek({place: 8})
                assert [record.offset for record in await read_on(reader, 2)] == [8, 9]
                reader.seek(await log.offsets_for_time(EVENTS_TOPIC, start + 6))
                assert [record.offset for record in await read_on(reader, 4)] == [6, 7, 8, 9]

    run(main())


def test_two_members_share_a_topic(log_url):
    """Their partitions are disjoint, and everything is read once."""

    async def main():
        async with (
            opened(log_url) as log,
            await open_log(log_url, SESSION) as other,
            await log.join([EVENTS_TOPIC], group_id="group") as one,
            await other.join([EVENTS_TOPIC], group_id="group") as two,
        ):
            await settled([one, two])
            assert sorted(map(len, (one.assignment, two.assignment))) == [2, 2]
            await log.append(EVENTS_TOPIC, numbered(400, key=None))
            read = []
            while len(read) < 400:
                for reader in (one, two):
                    records = await reader.poll(timeout=0.1)
                    assert {record.topic_partition for record in records} <= reader.assignment
                    read += records
            assert len({(record.partition, record.offset) for record in read}) == 400

    run(main())


def test_a_member_that_joins_or_leaves_repeats_and_loses_nothing(log_url):
    """When those who give partitions up commit what they have read."""

    async def main():
        async with opened(log_url) as log, await open_log(log_url, SESSION) as other:
            first, second = Member(), Member()
            stop = asyncio.Event()
            appending = asyncio.create_task(append_until(log, stop))
            async with second.reading(other):
                async with first.reading(log):
                    await eventually(lambda: first.records and second.records, timeout=20)
                before = time.monotonic()
                await eventually(lambda: second.reader.assignment == frozenset(partitions(4)), timeout=20)
                assert time.monotonic() - before < 5
                count = len(second.records)
                await eventually(lambda: len(second.records) > count + 50, timeout=20)
                stop.set()
                total = await appending
                await eventually(lambda: len(first.records) + len(second.records) >= total, timeout=20)
            places = [(record.partition, record.offset) for record in first.records + second.records]
            assert len(places) == len(set(places)) == total

    def partitions(count):
        return [TopicPartition(EVENTS_TOPIC, number) for number in range(count)]

    async def append_until(log, stop):
        count = 0
        while not stop.is_set():
            await log.append(EVENTS_TOPIC, numbered(4, key=None, start=count))
            count += 4
            await asyncio.sleep(0.005)
        return count

    run(main())


def test_a_member_that_leaves_hands_over_at_once(log_url):
    """Without waiting for its session to end."""

    async def main():
        patient = LogOptions(session_timeout=30.0)
        async with opened(log_url, patient) as log, await open_log(log_url, patient) as other:
            one = await log.join([EVENTS_TOPIC], group_id="group")
            await settled([one])
            two = await other.join([EVENTS_TOPIC], group_id="group")
            both = asyncio.gather(poll_on(one), poll_on(two))
            await eventually(lambda: one.assignment and two.assignment, timeout=20)
            both.cancel()
            await asyncio.gather(both, return_exceptions=True)
            start = time.monotonic()
            await one.close()
            await settled([two])
            assert time.monotonic() - start < 10
            await two.close()

    async def poll_on(reader):
        while True:
            await reader.poll()

    run(main())


@several_processes
def test_a_member_that_dies_loses_its_partitions_with_its_session(log_url):
    """What it has not committed is read again by the others."""

    async def main():
        async with opened(log_url) as log:
            await log.append(EVENTS_TOPIC, numbered(20, key=None))
            async with process(log_url, "member", "group") as other:
                for _ in range(20):
                    assert await asyncio.wait_for(other.stdout.readline(), 20)
                other.kill()
                await other.wait()
            start = time.monotonic()
            async with await log.join([EVENTS_TOPIC], group_id="group") as reader:
                assert len(await read_on(reader, 20)) == 20
                assert time.monotonic() - start < 10

    run(main())


def test_a_partition_that_is_gone_cannot_be_committed(log_url):
    async def main():
        async with opened(log_url) as log, await open_log(log_url, SESSION) as other:
            await log.append(EVENTS_TOPIC, numbered(40, key=None))
            async with await log.join([EVENTS_TOPIC], group_id="group") as one:
                await read_on(one, 40)
                async with await other.join([EVENTS_TOPIC], group_id="group") as two:
                    await settled([one, two])
                    gone = min(two.assignment)
                    for misuse in (
                        one.commit({gone: 10}),
                        one.commit({gone: 10, min(one.assignment): 10}),
                        two.commit({min(one.assignment): 10}),
                    ):
                        with pytest.raises(NotAssignedError):
                            await misuse
                    assert set((await log.group_offsets("group")).values()) == {Committed(0)}

    run(main())


def test_groups_know_nothing_of_each_other(log_url):
    async def main():
        async with opened(log_url) as log:
            await log.append(EVENTS_TOPIC, numbered(40, key=None))
            async with (
                await log.join([EVENTS_TOPIC], group_id="one") as one,
                await log.join([EVENTS_TOPIC], group_id="two") as two,
            ):
                for reader in (one, two):
                    assert len(await read_on(reader, 40)) == 40
                await one.commit(dict.fromkeys(one.assignment, 10))
                assert sum((await log.lag("one")).values()) == 0
                assert sum((await log.lag("two")).values()) == 40
            assert await log.groups() == ["one", "two"]

    run(main())


def test_a_group_without_members_is_reset(log_url):
    async def main():
        async with opened(log_url) as log:
            await log.append(EVENTS_TOPIC, numbered(40, key=None))
            partitions = await log.partitions(EVENTS_TOPIC)
            async with await log.join([EVENTS_TOPIC], group_id="group") as reader:
                await read_on(reader, 40)
                await reader.commit(dict.fromkeys(partitions, 10))
                with pytest.raises(GroupHasMembersError):
                    await log.reset_group("group", dict.fromkeys(partitions, 0))
            await log.reset_group("group", dict.fromkeys(partitions, 4))
            assert await log.group_offsets("group") == dict.fromkeys(partitions, Committed(4))
            async with await log.join([EVENTS_TOPIC], group_id="group") as reader:
                assert {record.offset for record in await read_on(reader, 24)} == set(range(4, 10))
            await log.reset_group("new", {partitions[0]: 2})
            assert await log.group_offsets("new") == {partitions[0]: Committed(2)}

    run(main())
