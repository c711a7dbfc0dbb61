"""A look at all groups: each thing asked once, what the log does not tell unknown, and never late."""

import asyncio
import time
from collections import Counter

import pytest
from support.aio import run

from snowbus.bus.errors import LogUnavailableError
from snowbus.bus.event import DELIVERIES_TOPIC, ProducerRecord, TopicPartition
from snowbus.bus.log import LogOptions
from snowbus.bus.log.memory import MemoryLog
from snowbus.consumers.look import look
from snowbus.consumers.status import partition_statuses

GROUPS = [f"group-{number}" for number in range(20)]


class CountingLog(MemoryLog):
    """Counts what it is asked, and hangs or fails when it is asked for what is in `broken`."""

    def __init__(self):
        super().__init__(LogOptions(partitions=100))
        self.asked = Counter()
        self.broken = {}

    async def _count(self, what, about):
        if about != DELIVERIES_TOPIC:
            self.asked[what] += 1
        if (how := self.broken.get(what) or self.broken.get(about)) is not None:
            await how()

    async def group_offsets(self, group_id):
        await self._count("group_offsets", group_id)
        return await super().group_offsets(group_id)

    async def beginning_offsets(self, topic):
        await self._count("beginning_offsets", topic)
        return await super().beginning_offsets(topic)

    async def end_offsets(self, topic):
        await self._count("end_offsets", topic)
        return await super().end_offsets(topic)

    async def timestamps(self, places):
        await self._count("timestamps", "")
        return await super().timestamps(places)


async def away():
    raise LogUnavailableError("no leader")


async def hang():
    await asyncio.Event().wait()


async def a_log(*topics):
    """A log where twenty groups have one record of each topic still to read."""
    log = CountingLog()
    await log.create_topics(topics)
    for topic in topics:
        await log.append(topic, [ProducerRecord(b"user", b"", timestamp=1_000), ProducerRecord(b"user", b"")])
        ends = await log.end_offsets(topic)
        for group in GROUPS:
            await log.reset_group(group, {place: max(0, end - 2) for place, end in ends.items()})
    log.asked.clear()
    return log


def test_twenty_groups_on_a_hundred_partitions_cost_a_question_a_group_and_two_a_topic():
    async def main():
        async with await a_log("orders") as log:
            seen = await look(log, GROUPS)
            assert log.asked == {"group_offsets": 20, "beginning_offsets": 1, "end_offsets": 1, "timestamps": 1}
            statuses = partition_statuses(seen)
            assert len(statuses) == 2_000
            assert sum(status.lag for status in statuses) == 40
            assert max(status.oldest_age for status in statuses if status.lag) > 1_000_000

    run(main())


def test_ages_that_take_too_long_stay_unknown():
    async def main():
        async with await a_log("orders") as log:
            log.broken["timestamps"] = hang
            begin = time.monotonic()
            seen = await look(log, GROUPS, within=0.05)
            assert time.monotonic() - begin < 5
            assert (seen.timestamps, len(seen.ends)) == ({}, 100)

    run(main())


def test_a_topic_that_is_away_does_not_hide_the_others():
    async def main():
        async with await a_log("orders", "payments") as log:
            log.broken["orders"] = away
            seen = await look(log, GROUPS)
            assert seen.silent_topics == {"orders": "no leader"}
            assert {place.topic for place in seen.ends} == {"payments"}

    run(main())


def test_a_topic_that_is_gone_is_told_and_not_raised():
    async def main():
        async with await a_log("orders") as log:
            del log.store.topics["orders"]
            assert list((await look(log, GROUPS)).silent_topics) == ["orders"]

    run(main())


@pytest.mark.parametrize("what", ["orders", "group-7"])
def test_a_log_that_is_away_is_said_to_be(what):
    async def main():
        async with await a_log("orders") as log:
            log.broken[what] = away
            with pytest.raises(LogUnavailableError):
                await look(log, GROUPS)

    run(main())


def test_a_group_that_reads_on_while_it_is_looked_at_is_where_it_was_before():
    async def main():
        async with await a_log("orders") as log:

            async def go_on():
                ((partition, offset),) = await log.append("orders", [ProducerRecord(b"user", b"")])
                await log.reset_group("group-0", {TopicPartition("orders", partition): offset + 1})

            log.broken["end_offsets"] = go_on
            assert sum(status.lag for status in partition_statuses(await look(log, ["group-0"]))) == 3

    run(main())


def test_a_group_that_nobody_knows_has_committed_nothing():
    async def main():
        async with await a_log("orders") as log:
            assert (await look(log, ["nobody"])).committed == {"nobody": {}}
            assert TopicPartition("orders", 0) in (await look(log, GROUPS)).ends

    run(main())
