"""The contract of the log: what those who run it ask of it."""

import time
from contextlib import asynccontextmanager

import pytest
from support.aio import run
from support.logs import opened

from snowbus.bus.errors import ConfigurationError, TopicNotFoundError
from snowbus.bus.event import BAD_TOPIC, EVENTS_TOPIC, ProducerRecord, TopicPartition
from snowbus.bus.log import LogOptions, TopicInfo, open_log

pytestmark = pytest.mark.real_kafka  # the mock cluster has topics of its own, and does not tell how they are kept

HOUR = 3_600_000


@asynccontextmanager
async def with_records(url, *timestamps):
    """A log whose records have one key and these timestamps, and the partition that they are in."""
    async with opened(url) as log:
        placed = await log.append(EVENTS_TOPIC, [ProducerRecord(b"user", b"{}", timestamp=each) for each in timestamps])
        yield log, TopicPartition(EVENTS_TOPIC, placed[0][0])


def test_the_timestamps_of_records_are_told_by_their_places(log_url):
    """In a batch, at its end, and behind the end; several offsets of a partition at once."""
    now = time.time_ns() // 1_000_000
    stamps = [now - HOUR, now - 5, now]

    async def main():
        async with with_records(log_url, *stamps) as (log, partition):
            await log.append(EVENTS_TOPIC, [ProducerRecord(b"user", b"{}", timestamp=now + 7)])
            places = [(partition, offset) for offset in (0, 1, 2, 3, 4)]
            empty = (TopicPartition(EVENTS_TOPIC, (partition.partition + 1) % 4), 0)
            assert await log.timestamps([*places, empty]) == dict(zip(places, [*stamps, now + 7], strict=False))
            assert await log.timestamps([]) == {}
            with pytest.raises(TopicNotFoundError):
                await log.timestamps([(TopicPartition(BAD_TOPIC, 0), 0)])

    run(main())


def test_hundreds_of_timestamps_are_told_at_once(log_url):
    async def main():
        async with with_records(log_url, *range(1_000, 1_300)) as (log, partition):
            found = await log.timestamps([(partition, offset) for offset in range(300)])
            assert found == {(partition, offset): 1_000 + offset for offset in range(300)}

    run(main())


def test_a_log_that_takes_appends_says_so(log_url):
    async def main():
        async with opened(log_url) as log:
            before = await log.end_offsets(EVENTS_TOPIC)
            await log.check()
            assert await log.end_offsets(EVENTS_TOPIC) == before

    run(main())


def test_how_a_topic_is_kept_is_told(log_url):
    async def main():
        async with with_records(log_url, None) as (log, _):
            details = await log.describe_topics([EVENTS_TOPIC, "not.there"])
            assert list(details) == [EVENTS_TOPIC]
            told = details[EVENTS_TOPIC]
            week = 0 if log_url.startswith("memory") else 7 * 86_400
            assert (told.replication_factor, told.retention_seconds, told.retention_bytes) == (1, week, 0)
            assert told.size == (None if log_url.startswith("kafka") else len(b"user" + b"{}"))

    run(main())


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "ä", "a\n", "x" * 250])
def test_a_name_that_no_topic_can_have_is_refused(log_url, name):
    async def main():
        async with await open_log(log_url) as log:
            with pytest.raises(ConfigurationError, match="cannot be the name of a topic"):
                await log.create_topics([EVENTS_TOPIC, name])
            assert await log.topics() == []

    run(main())


def test_a_name_may_be_as_long_as_kafka_takes_it(log_url):
    name = "test." + "x" * 244

    async def main():
        async with await open_log(log_url, LogOptions(partitions=1)) as log:
            assert await log.create_topics([name]) == [TopicInfo(name, 1)]

    run(main())
