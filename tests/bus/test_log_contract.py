"""What every log does, whichever it is: the same tests on all of them."""

import asyncio
import time
from collections import defaultdict

import pytest
from support.aio import run
from support.logs import numbered, opened, process, read_all, settled, several_processes

from snowbus.bus.errors import LogClosedError, RecordRefusedError, RecordTooLargeError, TopicNotFoundError
from snowbus.bus.event import BAD_TOPIC, EVENTS_TOPIC, ProducerRecord, TopicPartition
from snowbus.bus.log import LogOptions, TopicInfo, open_log

# Topics


def test_topics_are_created_once(log_url):
    async def main():
        async with await open_log(log_url) as log:
            wanted = [TopicInfo(EVENTS_TOPIC, 4), TopicInfo(BAD_TOPIC, 4)]
            created = await log.create_topics([EVENTS_TOPIC, BAD_TOPIC])
            assert sorted(created, key=lambda topic: topic.name) == wanted[::-1]
            again = await log.create_topics([EVENTS_TOPIC])
            assert again == [TopicInfo(EVENTS_TOPIC, 4)]
            assert [topic for topic in await log.topics() if topic in wanted] == wanted[::-1]
            assert await log.partitions(EVENTS_TOPIC) == [TopicPartition(EVENTS_TOPIC, number) for number in range(4)]

    run(main())


def test_topics_are_created_by_many_at_once(log_url):
    async def main():
        logs = [await open_log(log_url) for _ in range(4)]
        created = await asyncio.gather(*(log.create_topics([EVENTS_TOPIC]) for log in logs))
        assert created == [[TopicInfo(EVENTS_TOPIC, 4)]] * 4
        for log in logs:
            await log.close()

    run(main())


def test_an_unknown_topic_is_refused_and_not_made(log_url):
    async def main():
        async with await open_log(log_url) as log:
            for attempt in (
                log.append("test.unknown", numbered(1)),
                log.partitions("test.unknown"),
                log.beginning_offsets("test.unknown"),
                log.end_offsets("test.unknown"),
                log.offsets_for_time("test.unknown", 0),
                log.read({TopicPartition("test.unknown", 0): 0}),
                log.join(["test.unknown"], group_id="group"),
            ):
                with pytest.raises(TopicNotFoundError, match=r"test\.unknown"):
                    await attempt
            assert "test.unknown" not in [topic.name for topic in await log.topics()]

    run(main())


# Appending


def test_records_are_read_as_they_were_appended(log_url):
    """Keys, values, headers and timestamps come back; what is without a timestamp gets the time of the append."""

    async def main():
        now = time.time_ns() // 1_000_000
        headers = (("event", b"page_view"), ("empty", b""), ("event", b"again"), ("ünïcode", "ñ".encode()))
        appended = [
            ProducerRecord(b"user", b"value \x00\xff", headers, now - 5000),
            ProducerRecord(b"user", b"", (), now - 4000),
            ProducerRecord(b"user", b"later"),
        ]
        async with opened(log_url) as log:
            places = await log.append(EVENTS_TOPIC, appended)
            (records,) = (await read_all(log)).values()
        assert [(record.partition, record.offset) for record in records] == places
        assert [(record.key, record.value, record.headers) for record in records] == [
            (record.key, record.value, record.headers) for record in appended
        ]
        assert [record.timestamp for record in records[:2]] == [now - 5000, now - 4000]
        assert now <= records[2].timestamp <= time.time_ns() // 1_000_000

    run(main())


def test_records_without_a_key_are_spread(log_url):
    async def main():
        async with opened(log_url) as log:
            places = await log.append(EVENTS_TOPIC, numbered(8, key=None))
            assert sorted(places) == [(partition, offset) for partition in range(4) for offset in range(2)]
            assert {record.key for records in (await read_all(log)).values() for record in records} == {None}

    run(main())


def test_a_key_keeps_its_partition_and_its_order(log_url):
    async def main():
        keys = [b"user-%d" % number for number in range(50)]
        async with opened(log_url) as log:
            for turn in range(10):
                await log.append(EVENTS_TOPIC, [ProducerRecord(key, b"%d" % turn) for key in keys])
            seen = defaultdict(list)
            for partition, records in (await read_all(log)).items():
                for record in records:
                    seen[record.key, partition].append(int(record.value))
        assert len(seen) == len(keys)
        assert set(map(tuple, seen.values())) == {tuple(range(10))}

    run(main())


def test_the_offsets_that_are_returned_are_the_ones_that_are_read(log_url):
    async def main():
        async with opened(log_url) as log:
            values = {}
            for batch in range(20):
                records = [ProducerRecord(b"%d" % (number % 7), b"%d-%d" % (batch, number)) for number in range(30)]
                for place, record in zip(await log.append(EVENTS_TOPIC, records), records, strict=True):
                    values[place] = record.value
            by_partition = await read_all(log)
        assert values == {
            (record.partition, record.offset): record.value for records in by_partition.values() for record in records
        }

    run(main())


def test_an_empty_append_does_nothing(log_url):
    async def main():
        async with opened(log_url) as log:
            assert await log.append(EVENTS_TOPIC, []) == []
            assert sum((await log.end_offsets(EVENTS_TOPIC)).values()) == 0

    run(main())


def test_concurrent_appends_keep_the_order_of_each_key(log_url):
    """Also the first ones, which wait until the partitions are known."""

    async def main():
        async with opened(log_url) as first, await open_log(log_url) as log:
            places = await asyncio.gather(
                *(
                    log.append(EVENTS_TOPIC, [ProducerRecord(b"%d" % (number % 20), b"%d" % number)])
                    for number in range(2000)
                )
            )
            assert len({place for (place,) in places}) == 2000
            seen = defaultdict(list)
            for records in (await read_all(first)).values():
                for record in records:
                    seen[record.key].append(int(record.value))
        assert seen == {b"%d" % key: list(range(key, 2000, 20)) for key in range(20)}

    run(main())


@several_processes
def test_two_processes_append_at_once(log_url):
    """Nothing is lost or written over, and each process's records keep their order."""

    async def main():
        async with opened(log_url) as log:
            async with (
                process(log_url, "append", 200, "first") as one,
                process(log_url, "append", 200, "second") as two,
            ):
                assert [await each.stdout.readline() for each in (one, two)] == [b"appended\n"] * 2
            seen = defaultdict(list)
            for records in (await read_all(log)).values():
                for record in records:
                    seen[record.key].append(int(record.value))
        assert seen == {b"first": list(range(200)), b"second": list(range(200))}

    run(main())


def test_a_record_that_is_too_large_is_refused_with_its_whole_call(log_url):
    async def main():
        async with opened(log_url, LogOptions(max_record_bytes=10_000)) as log:
            largest = ProducerRecord(b"user", b"x" * (10_000 - 4 - 8), (("name", b"data"),))
            with pytest.raises(RecordTooLargeError, match="10001") as refused:
                await log.append(EVENTS_TOPIC, [*numbered(3), largest._replace(value=largest.value + b"x")])
            assert (refused.value.topic, refused.value.size, refused.value.limit) == (EVENTS_TOPIC, 10_001, 10_000)
            assert not refused.value.retriable
            assert refused.value.appended == {}
            assert sum((await log.end_offsets(EVENTS_TOPIC)).values()) == 0
            await log.append(EVENTS_TOPIC, [largest])

    run(main())


def test_a_refusal_says_which_records_are_appended_and_harms_no_other_call(log_url):
    """A time that no log can hold: one log sees it beforehand, another when it has appended others of the call."""

    async def main():
        async with opened(log_url) as log:
            timeless = ProducerRecord(b"user", b"timeless", (), 2**70)
            refused, places = await asyncio.gather(
                log.append(EVENTS_TOPIC, [*numbered(2), timeless, *numbered(1, start=2)]),
                log.append(EVENTS_TOPIC, numbered(2, start=3)),
                return_exceptions=True,
            )
            assert isinstance(refused, RecordRefusedError), refused
            assert not refused.retriable
            found = {
                (record.partition, record.offset): int(record.value)
                for records in (await read_all(log)).values()
                for record in records
            }
            appended = {place: min(index, 2) for index, place in refused.appended.items()}
            assert found == appended | dict(zip(places, (3, 4), strict=True))
            await log.append(EVENTS_TOPIC, numbered(1))

    run(main())


def test_the_largest_record_is_taken_however_badly_it_compresses(log_url):
    async def main():
        noise = b"".join(map(int.to_bytes, range(256))) * 4096
        async with opened(log_url) as log:
            record = ProducerRecord(b"user", noise[: LogOptions().max_record_bytes - 4])
            await log.append(EVENTS_TOPIC, [record, record])
            (records,) = (await read_all(log)).values()
            assert [found.value for found in records] == [record.value] * 2

    run(main())


def test_a_large_append_is_one_append(log_url):
    """More than fits into one batch."""

    async def main():
        async with opened(log_url) as log:
            records = [ProducerRecord(b"%d" % (number % 10), b"%d" % number * 500) for number in range(3000)]
            places = await log.append(EVENTS_TOPIC, records)
            found = {
                (record.partition, record.offset): record.value
                for partition in (await read_all(log)).values()
                for record in partition
            }
        assert found == dict(zip(places, (record.value for record in records), strict=True))

    run(main())


# Offsets


def test_beginnings_and_ends(log_url):
    async def main():
        async with opened(log_url) as log:
            partitions = await log.partitions(EVENTS_TOPIC)
            assert await log.beginning_offsets(EVENTS_TOPIC) == dict.fromkeys(partitions, 0)
            assert await log.end_offsets(EVENTS_TOPIC) == dict.fromkeys(partitions, 0)
            await log.append(EVENTS_TOPIC, numbered(12, key=None))
            assert await log.beginning_offsets(EVENTS_TOPIC) == dict.fromkeys(partitions, 0)
            assert await log.end_offsets(EVENTS_TOPIC) == dict.fromkeys(partitions, 3)

    run(main())


@pytest.mark.real_kafka
def test_offsets_for_a_time(log_url):
    """The first record at or after it; the end where there is none."""

    async def main():
        start = time.time_ns() // 1_000_000 - 60_000
        async with opened(log_url) as log:
            records = [ProducerRecord(b"user", b"", (), start + 1000 * number) for number in range(10)]
            ((partition, _), *_) = await log.append(EVENTS_TOPIC, records)
            place = TopicPartition(EVENTS_TOPIC, partition)
            empty = {each: 0 for each in await log.partitions(EVENTS_TOPIC) if each != place}
            for timestamp, offset in ((start, 0), (start + 1, 1), (start + 4000, 4), (start + 9001, 10), (0, 0)):
                assert await log.offsets_for_time(EVENTS_TOPIC, timestamp) == {place: offset, **empty}

    run(main())


@pytest.mark.real_kafka
def test_offsets_for_a_time_where_times_do_not_rise(log_url):
    """What waited in a spool comes late, and nothing at or after a time stands before the offset that is told."""

    async def main():
        start = time.time_ns() // 1_000_000 - 60_000
        async with opened(log_url) as log:
            late = [ProducerRecord(b"user", b"", (), start + 1000 * second) for second in (9, 10, 1, 2, 3, 4, 11)]
            ((partition, _), *_) = await log.append(EVENTS_TOPIC, late)
            place = TopicPartition(EVENTS_TOPIC, partition)
            for second, offset in ((0, 0), (2, 0), (9, 0), (10, 1), (11, 6), (12, 7)):
                assert (await log.offsets_for_time(EVENTS_TOPIC, start + 1000 * second))[place] == offset

    run(main())


# The end


@pytest.mark.real_kafka
def test_a_closed_log_says_so(log_url):
    async def main():
        async with opened(log_url) as log:
            reader = await log.read(await log.beginning_offsets(EVENTS_TOPIC))
            member = await log.join([EVENTS_TOPIC], group_id="group")
            await settled([member])
            appending = asyncio.create_task(log.append(EVENTS_TOPIC, numbered(1)))
            await asyncio.sleep(0)
        assert await appending
        await log.close()
        for call in (
            log.append(EVENTS_TOPIC, numbered(1)),
            log.topics(),
            log.end_offsets(EVENTS_TOPIC),
            reader.poll(),
            member.poll(),
        ):
            with pytest.raises(LogClosedError):
                await call
        await reader.close()
        await member.close()

    run(main())


def test_a_closed_reader_says_so(log_url):
    async def main():
        async with opened(log_url) as log:
            reader = await log.read(await log.beginning_offsets(EVENTS_TOPIC))
            polling = asyncio.create_task(reader.poll(timeout=20))
            await asyncio.sleep(0.3)
            await reader.close()
            await reader.close()
            with pytest.raises(LogClosedError):
                await reader.poll()
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)

    run(main())
