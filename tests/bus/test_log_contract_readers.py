"""What readers outside groups do on every log: the same tests on all of them."""

import asyncio
import time

import pytest
from support.aio import run
from support.logs import numbered, opened, process, read_on, several_processes

from snowbus.bus.errors import NotAssignedError
from snowbus.bus.event import EVENTS_TOPIC, TopicPartition
from snowbus.bus.log import open_log


def test_a_reader_starts_where_it_is_put_and_seeks(log_url):
    async def main():
        async with opened(log_url) as log:
            ((partition, _), *_) = await log.append(EVENTS_TOPIC, numbered(10))
            place = TopicPartition(EVENTS_TOPIC, partition)
            async with await log.read({place: 7}) as reader:
                assert reader.assignment == {place}
                assert reader.position(place) == 7
                assert [record.offset for record in await read_on(reader, 3)] == [7, 8, 9]
                assert reader.position(place) == 10
                reader.seek({place: 2})
                assert reader.position(place) == 2
                assert [record.offset for record in await reader.poll(max_records=3)] == [2, 3, 4]
                reader.seek({place: 9})
                assert [record.offset for record in await read_on(reader, 1)] == [9]
                elsewhere = TopicPartition(EVENTS_TOPIC, (partition + 1) % 4)
                for misuse in (lambda: reader.position(elsewhere), lambda: reader.seek({elsewhere: 0})):
                    with pytest.raises(NotAssignedError):
                        misuse()

    run(main())


@pytest.mark.parametrize("offset", [11, 1_000_000])
def test_an_offset_beyond_the_end_goes_to_the_earliest(log_url, offset):
    async def main():
        async with opened(log_url) as log:
            ((partition, _), *_) = await log.append(EVENTS_TOPIC, numbered(10))
            async with await log.read({TopicPartition(EVENTS_TOPIC, partition): offset}) as reader:
                assert [record.offset for record in await read_on(reader, 10)] == list(range(10))

    run(main())


def test_a_poll_gives_no_more_than_it_is_asked_for(log_url):
    async def main():
        async with opened(log_url) as log:
            await log.append(EVENTS_TOPIC, numbered(100, key=None))
            async with await log.read(await log.beginning_offsets(EVENTS_TOPIC)) as reader:
                records = []
                while len(records) < 100:
                    some = await reader.poll(max_records=7)
                    assert 0 < len(some) <= 7
                    records += some
            assert len(set(records)) == 100

    run(main())


def test_a_poll_without_records_ends_in_time(log_url):
    async def main():
        async with opened(log_url) as log, await log.read(await log.end_offsets(EVENTS_TOPIC)) as reader:
            await reader.poll(timeout=0.1)
            start = time.monotonic()
            assert await reader.poll(timeout=0.3) == []
            assert 0.25 < time.monotonic() - start < 2
            assert await reader.poll(timeout=0) == []

    run(main())


@pytest.mark.real_kafka
def test_a_record_arrives_while_a_poll_waits(log_url):
    """Within a tenth of a second in the middle of many, from this process and from another."""

    async def main():
        async with (
            opened(log_url) as log,
            await open_log(log_url) as other,
            await log.read(await log.end_offsets(EVENTS_TOPIC)) as reader,
        ):
            await reader.poll(timeout=0.1)
            for appending in (log, other):
                delays = []
                for number in range(7):
                    waiting = asyncio.create_task(reader.poll(timeout=10))
                    await asyncio.sleep(0.02)
                    start = time.monotonic()
                    await appending.append(EVENTS_TOPIC, numbered(1, start=number))
                    assert [record.value for record in await waiting] == [b"%d" % number]
                    delays.append(time.monotonic() - start)
                assert sorted(delays)[3] < 0.1, delays

    run(main())


@several_processes
def test_a_reader_follows_another_process(log_url):
    async def main():
        async with (
            opened(log_url) as log,
            await log.read(await log.end_offsets(EVENTS_TOPIC)) as reader,
            process(log_url, "append", 50, "user"),
        ):
            assert [int(record.value) for record in await read_on(reader, 50)] == list(range(50))

    run(main())


def test_a_poll_that_is_cancelled_loses_nothing(log_url):
    async def main():
        async with opened(log_url) as log, await log.read(await log.end_offsets(EVENTS_TOPIC)) as reader:
            appending = asyncio.create_task(append_slowly(log))
            values = []
            while len(values) < 200:
                polling = asyncio.create_task(reader.poll(max_records=3, timeout=5))
                await asyncio.sleep(len(values) % 5 / 1000)
                polling.cancel()
                try:
                    records = await polling
                except asyncio.CancelledError:
                    records = await reader.poll(max_records=1, timeout=5)
                values += [int(record.value) for record in records]
            await appending
            assert values == list(range(200))

    async def append_slowly(log):
        for number in range(200):
            await log.append(EVENTS_TOPIC, numbered(1, start=number))

    run(main())


def test_paused_partitions_give_nothing_until_they_are_resumed(log_url):
    async def main():
        async with opened(log_url) as log:
            await log.append(EVENTS_TOPIC, numbered(40, key=None))
            first, *others = await log.partitions(EVENTS_TOPIC)
            async with await log.read(await log.beginning_offsets(EVENTS_TOPIC)) as reader:
                reader.pause([first])
                assert {record.topic_partition for record in await read_on(reader, 30)} == set(others)
                await log.append(EVENTS_TOPIC, numbered(4, key=None, start=40))
                assert {record.topic_partition for record in await read_on(reader, 3)} == set(others)
                assert await reader.poll(timeout=0.2) == []
                assert reader.position(first) == 0
                reader.resume([first])
                assert [record.offset for record in await read_on(reader, 11)] == list(range(11))

    run(main())


def test_a_pause_in_the_middle_loses_and_repeats_nothing(log_url):
    async def main():
        async with opened(log_url) as log:
            ((partition, _), *_) = await log.append(EVENTS_TOPIC, numbered(100))
            place = TopicPartition(EVENTS_TOPIC, partition)
            async with await log.read({place: 0}) as reader:
                offsets = []
                while len(offsets) < 100:
                    offsets += [record.offset for record in await reader.poll(max_records=9)]
                    reader.pause([place])
                    assert await reader.poll(timeout=0.01) == []
                    assert reader.position(place) == len(offsets)
                    reader.resume([place])
                assert offsets == list(range(100))

    run(main())
