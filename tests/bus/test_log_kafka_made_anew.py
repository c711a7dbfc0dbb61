"""A topic of Kafka that is deleted, and made anew: it has the same name, and offsets that mean something else."""

import asyncio
import contextlib
from functools import partial

import pytest
import uvloop
from support import aio
from support.aio import eventually
from support.kafka import delete_topic
from support.logs import numbered, opened, read_on, settled

from snowbus.bus.errors import LogUnavailableError, NotAssignedError
from snowbus.bus.event import EVENTS_TOPIC, TopicPartition
from snowbus.bus.log import Committed, LogOptions

pytestmark = pytest.mark.real_kafka
run = partial(aio.run, loop_factory=uvloop.new_event_loop)
PLACE = TopicPartition(EVENTS_TOPIC, 0)
ONE = LogOptions(partitions=1, session_timeout=3.0)


async def made_anew(reader, url):
    """Delete the topic and make it anew, with more records than it had, while a reader is not looking."""
    reader.pause([PLACE])
    await reader.poll(timeout=0.3)  # until what it asked for before is answered
    await delete_topic(url, EVENTS_TOPIC)
    async with opened(url, ONE) as log:
        await log.append(EVENTS_TOPIC, numbered(5, start=100))
    reader.resume([PLACE])


async def all_since(reader):
    """Read on until everything that was appended anew has come."""
    values = []

    async def everything():
        with contextlib.suppress(LogUnavailableError):
            values.extend(int(record.value) for record in await reader.poll(timeout=0.1))
        return values[-5:] == list(range(100, 105))

    await eventually(everything)


def test_a_reader_reads_a_topic_that_was_made_anew_from_its_beginning(real_kafka_url):
    """Also when it is longer already than the old one was."""

    async def main():
        async with opened(real_kafka_url, ONE) as log:
            await log.append(EVENTS_TOPIC, numbered(3))
            async with await log.read({PLACE: 0}) as reader:
                await read_on(reader, 3)
                await made_anew(reader, real_kafka_url)
                await all_since(reader)

    run(main())


def test_a_group_reads_a_topic_that_was_made_anew_from_its_beginning(real_kafka_url):
    """Though it began at the latest: it has read before, and nothing of what came since may be passed over."""

    async def main():
        told = []

        async def on_assigned(partitions):
            told.append(len(partitions))

        async with (
            opened(real_kafka_url, ONE) as log,
            await log.join(
                [EVENTS_TOPIC], group_id="group", auto_offset_reset="latest", on_assigned=on_assigned
            ) as member,
        ):
            await settled([member], partitions=1)
            await log.append(EVENTS_TOPIC, numbered(3))
            await read_on(member, 3)
            await member.commit({PLACE: 3})
            await made_anew(member, real_kafka_url)
            await all_since(member)
            assert told == [1, 0, 1]
            await member.commit({PLACE: 5}, {PLACE: "text"})
            assert await log.group_offsets("group") == {PLACE: Committed(5, "text")}

    run(main())


def test_what_is_committed_for_the_topic_before_does_not_count(real_kafka_url, monkeypatch):
    """Kafka takes a commit from who has not heard yet, and keeps it for the topic that has the name now."""

    async def main():
        async with opened(real_kafka_url, ONE) as log:
            before = await log._driver.topic_ids([EVENTS_TOPIC])
            await delete_topic(real_kafka_url, EVENTS_TOPIC)
            await log.create_topics([EVENTS_TOPIC])
            await log.append(EVENTS_TOPIC, numbered(5))
            with monkeypatch.context() as patched:
                patched.setattr(log._driver, "topic_ids", lambda _: asyncio.sleep(0, before))
                await log.reset_group("group", {PLACE: 3}, {PLACE: "text"})
            assert await log.group_offsets("group") == {PLACE: Committed(0)}
            assert await log.lag("group") == {PLACE: 5}
            async with await log.join([EVENTS_TOPIC], group_id="group", auto_offset_reset="latest") as member:
                assert [int(record.value) for record in await read_on(member, 5)] == list(range(5))
            await log.reset_group("group", {PLACE: 2}, {PLACE: "text"})
            assert await log.group_offsets("group") == {PLACE: Committed(2, "text")}

    run(main())


def test_readers_wait_for_a_topic_that_is_gone_and_do_not_make_it(real_kafka_url):
    async def main():
        async with (
            opened(real_kafka_url, ONE) as log,
            await log.join([EVENTS_TOPIC], group_id="group") as member,
            await log.read({PLACE: 0}) as reader,
        ):
            await settled([member], partitions=1)
            await log.append(EVENTS_TOPIC, numbered(3))
            await asyncio.gather(read_on(member, 3), read_on(reader, 3))
            await delete_topic(real_kafka_url, EVENTS_TOPIC)
            with pytest.raises(NotAssignedError):
                await member.commit({PLACE: 3})
            for each in (member, reader):
                await eventually(lambda each=each: misses(each))
            assert await log.topics() == []
            await log.create_topics([EVENTS_TOPIC])
            await log.append(EVENTS_TOPIC, numbered(5, start=100))
            await asyncio.gather(all_since(member), all_since(reader))

    async def misses(reader):
        try:
            await reader.poll(timeout=0.2)
        except LogUnavailableError as error:
            return "no topic" in str(error)
        return False

    run(main())


@pytest.mark.faults
def test_a_commit_that_is_given_up_leaves_nothing_behind(own_kafka):
    async def main():
        trouble = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: trouble.append(context))
        options = LogOptions(partitions=1, append_timeout=3.0)
        async with opened(own_kafka.url, options) as log, await log.join([EVENTS_TOPIC], group_id="group") as member:
            await settled([member], partitions=1)
            own_kafka.pause()
            with pytest.raises(LogUnavailableError):
                await member.commit({PLACE: 0})
            own_kafka.kill()
        assert trouble == []

    run(main())
