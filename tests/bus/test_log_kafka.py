"""What only the log on Kafka meets: brokers that are away and refuse, topics and groups that change.

These run on uvloop, as the roles do, which minds more than asyncio's own loop how connections end.
"""

import asyncio
import os
from functools import partial

import pytest
import uvloop
from aiokafka.admin import NewPartitions, NewTopic
from aiokafka.conn import AIOKafkaConnection, AIOKafkaProtocol
from aiokafka.errors import UnknownTopicOrPartitionError
from aiokafka.protocol.group import LeaveGroupRequest
from support import aio
from support.aio import eventually
from support.kafka import administer
from support.logs import numbered, opened, read_on, settled, timed

from snowbus.bus.errors import (
    ConfigurationError,
    LogError,
    NotAssignedError,
    RecordTooLargeError,
    TopicNotFoundError,
)
from snowbus.bus.event import EVENTS_TOPIC, ProducerRecord, TopicPartition
from snowbus.bus.log import Committed, LogOptions, TopicInfo, open_log
from snowbus.bus.log.kafka_driver import Consumer

pytestmark = pytest.mark.real_kafka
run = partial(aio.run, loop_factory=uvloop.new_event_loop)
HASTY = LogOptions(append_timeout=1.0, session_timeout=3.0)
AWAY = "kafka://127.0.0.1:9"


# Away


def test_a_log_opens_and_closes_while_kafka_is_away():
    async def main():
        async with await open_log(AWAY, HASTY) as log:
            calls = (
                log.append(EVENTS_TOPIC, numbered(1)),
                log.topics(),
                log.create_topics([EVENTS_TOPIC]),
                log.end_offsets(EVENTS_TOPIC),
                log.group_offsets("group"),
                log.join([EVENTS_TOPIC], group_id="group"),
            )
            for error, seconds in await asyncio.gather(*map(timed, calls)):
                assert 0.9 < seconds < 2
                assert "127.0.0.1" in str(error)

    run(main())


def test_everything_works_once_kafka_is_there(own_kafka):
    """What waits is appended in time; nobody has to open the log again."""

    async def main():
        own_kafka.kill()
        async with await open_log(own_kafka.url, LogOptions(append_timeout=20.0)) as log:
            starting = asyncio.create_task(log.create_topics([EVENTS_TOPIC]))
            await asyncio.sleep(0.2)
            own_kafka.start(wait=False)
            await starting
            own_kafka.kill()
            appending = asyncio.create_task(log.append(EVENTS_TOPIC, numbered(100)))
            await asyncio.sleep(0.2)
            own_kafka.start(wait=False)
            assert [offset for _, offset in await appending] == list(range(100))

    run(main())


def test_nothing_is_said_on_stderr_while_kafka_is_away(capfd):
    async def main():
        async with await open_log(AWAY, HASTY) as log:
            await timed(log.append(EVENTS_TOPIC, numbered(1)))

    run(main())
    assert capfd.readouterr().err == ""


# Requests


def test_batches_for_one_broker_go_in_one_request(real_kafka_url, monkeypatch):
    async def main():
        async with opened(real_kafka_url) as log:
            await log.append(EVENTS_TOPIC, numbered(4, key=None))
            send, asked = AIOKafkaConnection.send, []

            def count(connection, request, **options):
                asked.append(type(request).__name__)
                return send(connection, request, **options)

            monkeypatch.setattr(AIOKafkaConnection, "send", count)
            places = await log.append(EVENTS_TOPIC, numbered(8, key=None))
            assert sorted(places) == [(partition, offset) for partition in range(4) for offset in (1, 2)]
            assert asked.count("ProduceRequest") == 1

    run(main())


# Refusals


def test_a_topic_that_is_deleted_is_not_made_again_by_an_append(real_kafka_url):
    async def main():
        async with opened(real_kafka_url) as log:
            await log.append(EVENTS_TOPIC, numbered(1))
            await administer(real_kafka_url, lambda admin: admin.delete_topics([EVENTS_TOPIC]))
            await eventually(lambda: refused(log))  # the broker hears of it a moment after the controller has answered
            assert await log.topics() == []
            await log.create_topics([EVENTS_TOPIC])
            assert [offset for _, offset in await log.append(EVENTS_TOPIC, numbered(3))] == [0, 1, 2]

    async def refused(log):
        try:
            await log.append(EVENTS_TOPIC, numbered(1))
        except TopicNotFoundError:
            return True
        return False

    run(main())


def test_a_topic_that_was_created_is_waited_for_until_the_brokers_know_it(real_kafka_url, monkeypatch):
    async def main():
        async with await open_log(real_kafka_url) as log:
            leaders, ignorant = log._driver.leaders, [1, 2, 3]

            async def busy(topic):
                if ignorant:
                    ignorant.pop()
                    raise UnknownTopicOrPartitionError(topic)
                return await leaders(topic)

            monkeypatch.setattr(log._driver, "leaders", busy)
            assert await log.create_topics([EVENTS_TOPIC]) == [TopicInfo(EVENTS_TOPIC, 4)]
            assert ignorant == []

    run(main())


def test_partitions_that_are_added_are_used(real_kafka_url, monkeypatch):
    for module in ("kafka_appends", "kafka_driver.driver"):
        monkeypatch.setattr(f"snowbus.bus.log.{module}.METADATA_SECONDS", 0.05)

    async def main():
        async with opened(real_kafka_url, LogOptions(partitions=1)) as log:
            assert {partition for partition, _ in await log.append(EVENTS_TOPIC, numbered(8, key=None))} == {0}
            async with opened(real_kafka_url) as other:
                await administer(real_kafka_url, add_partitions)
                await eventually(lambda: has_partitions(other))
            await eventually(lambda: spreads(log))

    async def spreads(log):
        return len({partition for partition, _ in await log.append(EVENTS_TOPIC, numbered(8, key=None))}) == 4

    run(main())


def test_a_topic_that_is_made_anew_with_fewer_partitions_is_written_to(real_kafka_url):
    async def main():
        async with opened(real_kafka_url, LogOptions(partitions=4)) as log:
            await log.append(EVENTS_TOPIC, numbered(8, key=None))
            await administer(real_kafka_url, lambda admin: admin.delete_topics([EVENTS_TOPIC]))
            async with await open_log(real_kafka_url, LogOptions(partitions=1)) as other:
                await eventually(lambda: gone(other))
                await other.create_topics([EVENTS_TOPIC])
            await eventually(lambda: taken(log))

    async def gone(log):
        return await log.topics() == []

    async def taken(log):
        try:
            return {partition for partition, _ in await log.append(EVENTS_TOPIC, numbered(8, key=None))} == {0}
        except TopicNotFoundError:
            return False

    run(main())


def test_a_group_misses_nothing_of_partitions_that_are_added(real_kafka_url):
    """Not even one that began at the latest: what is there before the group knows of them is handled as well."""

    async def main():
        async with opened(real_kafka_url, LogOptions(partitions=1)) as log:
            await log.append(EVENTS_TOPIC, numbered(1))
            async with await log.join([EVENTS_TOPIC], group_id="group", auto_offset_reset="latest") as member:
                await settled([member], partitions=1)
            await administer(real_kafka_url, add_partitions)
            async with await open_log(real_kafka_url) as other:
                await eventually(lambda: has_partitions(other))
                await other.append(EVENTS_TOPIC, numbered(8, key=None, start=1))
            async with await log.join([EVENTS_TOPIC], group_id="group", auto_offset_reset="latest") as member:
                records = await read_on(member, 8)
                assert sorted(int(record.value) for record in records) == list(range(1, 9))
                assert {record.partition for record in records} == {0, 1, 2, 3}

    run(main())


def test_a_group_finds_partitions_that_are_added_while_it_reads(real_kafka_url, monkeypatch):
    monkeypatch.setattr("snowbus.bus.log.kafka_driver.consumer.METADATA_SECONDS", 0.2)

    async def main():
        async with (
            opened(real_kafka_url, LogOptions(partitions=1)) as log,
            await log.join([EVENTS_TOPIC], group_id="group", auto_offset_reset="latest") as member,
        ):
            await settled([member], partitions=1)
            await administer(real_kafka_url, add_partitions)
            await settled([member])

    run(main())


def test_the_first_members_of_a_group_all_begin_at_the_latest(own_kafka):
    """Also the one that looks when another has committed already: its partitions were not added since."""

    async def main():
        own_kafka.properties["group.initial.rebalance.delay.ms"] = 1000
        own_kafka.restart()
        async with opened(own_kafka.url) as log, await open_log(own_kafka.url) as slow:
            await log.append(EVENTS_TOPIC, numbered(12, key=None))
            look = slow._driver.group_offsets

            async def look_late(group_id):
                return await eventually(lambda: look(group_id))

            slow._driver.group_offsets = look_late
            async with (
                await log.join([EVENTS_TOPIC], group_id="group", auto_offset_reset="latest") as first,
                await slow.join([EVENTS_TOPIC], group_id="group", auto_offset_reset="latest") as second,
            ):
                await settled([first, second])
                partitions = await log.partitions(EVENTS_TOPIC)
                assert await log.group_offsets("group") == dict.fromkeys(partitions, Committed(3))

    run(main())


def test_a_record_that_the_topic_does_not_take_fails_alone(real_kafka_url):
    """A limit of the broker's that we do not know; those who shared the batch are not touched, nor those after it."""

    async def main():
        topic = NewTopic("test.small", 1, 1, topic_configs={"max.message.bytes": "20000"})
        await administer(real_kafka_url, lambda admin: admin.create_topics([topic]))
        async with await open_log(real_kafka_url) as log:
            small = [log.append("test.small", [ProducerRecord(b"k", b"%d" % number)]) for number in range(10)]
            large = log.append("test.small", [ProducerRecord(b"k", os.urandom(30_000))])
            await log.append("test.small", numbered(1))
            *places, refused = await asyncio.gather(*small, large, return_exceptions=True)
            assert isinstance(refused, RecordTooLargeError)
            assert "30001 bytes" in str(refused)
            assert refused.appended == {}
            assert [offset for ((_, offset),) in places] == list(range(1, 11))
            assert await log.append("test.small", numbered(1)) == [(0, 11)]
            many = [ProducerRecord(b"k", os.urandom(8_000)) for _ in range(20)]
            assert [offset for _, offset in await log.append("test.small", many)] == list(range(12, 32))
            with pytest.raises(RecordTooLargeError) as told:
                await log.append("test.small", [*numbered(2), ProducerRecord(b"k", os.urandom(30_000)), *numbered(1)])
            assert told.value.appended == {0: (0, 32), 1: (0, 33), 3: (0, 34)}
            assert set((await log.end_offsets("test.small")).values()) == {35}

    run(main())


def test_what_fails_unexpectedly_ends_its_calls_and_not_those_after_them(real_kafka_url):
    """Whatever it is: the task that appends to a partition must be there for the next."""

    async def main():
        async with opened(real_kafka_url) as log:
            look = log._driver.new_producer

            async def surprise():
                log._driver.new_producer = look
                raise ZeroDivisionError("a surprise")

            log._driver.new_producer = surprise
            with pytest.raises(LogError, match="a surprise") as told:
                await log.append(EVENTS_TOPIC, numbered(1))
            assert not told.value.retriable
            assert [offset for _, offset in await log.append(EVENTS_TOPIC, numbered(1))] == [0]

    run(main())


def test_what_somebody_has_to_configure_is_said_at_once(real_kafka_url):
    async def main():
        async with await open_log(f"{real_kafka_url}?replication_factor=3") as log:
            with pytest.raises(ConfigurationError, match="Replication"):
                await log.create_topics([EVENTS_TOPIC])
        async with await open_log(real_kafka_url) as log:
            with pytest.raises(ConfigurationError, match="no such name"):
                await log.append("no such name", numbered(1))

    run(main())


def test_a_member_that_was_expelled_cannot_commit(real_kafka_url):
    """Its commit must not count as one from outside the group, which Kafka takes while there is no other member."""

    async def main():
        async with (
            opened(real_kafka_url) as log,
            await log.join([EVENTS_TOPIC], group_id="group") as member,
        ):
            await settled([member])
            partitions = member.assignment
            await member.commit(dict.fromkeys(partitions, 0))
            await administer(real_kafka_url, expel)
            with pytest.raises(NotAssignedError):
                await commit_on(member, partitions)
            await settled([member])
            await member.commit(dict.fromkeys(partitions, 0))

    async def commit_on(member, partitions):
        for _ in range(1000):
            await member.commit(dict.fromkeys(partitions, 0))

    async def expel(admin):
        node = await admin.find_coordinator("group")
        (described,) = await admin.describe_consumer_groups(["group"])
        for member in described.to_object()["groups"][0]["members"]:
            await admin._send_request(LeaveGroupRequest("group", member["member_id"]), node)

    run(main())


@pytest.mark.parametrize("cut", ["a poll that starts another consumer", "a close"])
def test_a_member_that_is_cancelled_while_it_leaves_has_left(real_kafka_url, monkeypatch, cut):
    """Half stopped it would send heartbeats, and keep its partitions, for as long as the process lives."""

    async def main():
        async with opened(real_kafka_url) as log:
            member = await log.join([EVENTS_TOPIC], group_id="group")
            await settled([member])
            if cut == "a close":
                leaving = asyncio.create_task(member.close())
            else:
                member._failure = LogError("a right is lost")
                leaving = asyncio.create_task(member.poll())
            stop = Consumer.stop

            async def cut_off(consumer):
                leaving.cancel()
                await stop(consumer)

            monkeypatch.setattr(Consumer, "stop", cut_off)
            with pytest.raises(asyncio.CancelledError):
                await leaving
            await member.close()
            await log.reset_group("group", {TopicPartition(EVENTS_TOPIC, 0): 0})

    run(main())


def test_who_loses_its_consumer_is_told_again_what_it_has(real_kafka_url):
    """It starts another one: what it held goes, and comes back with the next assignment."""

    async def main():
        told = []

        async def on_revoked(partitions):
            told.append(("revoked", len(partitions)))

        async def on_assigned(partitions):
            told.append(("assigned", len(partitions)))

        async with opened(real_kafka_url) as log:
            member = await log.join([EVENTS_TOPIC], group_id="group", on_revoked=on_revoked, on_assigned=on_assigned)
            await settled([member])
            await member._drop_consumer()
            assert member.assignment == frozenset()
            await settled([member])
            await eventually(lambda: told == [("assigned", 4), ("revoked", 4), ("assigned", 4)])
            await member.close()
            assert told[3:] == [("revoked", 4)]

    run(main())


async def add_partitions(admin):
    await admin.create_partitions({EVENTS_TOPIC: NewPartitions(4)})


async def has_partitions(log):
    return len(await log.end_offsets(EVENTS_TOPIC)) == 4


def test_a_member_closes_though_a_broker_never_says_goodbye(real_kafka_url, monkeypatch):
    """As with TLS, whose connections are closed when the other side has said so, too."""

    async def main():
        async with opened(real_kafka_url) as log:
            member = await log.join([EVENTS_TOPIC], group_id="group")
            await settled([member])
            with monkeypatch.context() as patched:
                patched.setattr(AIOKafkaProtocol, "connection_lost", lambda *_: None)
                await member.close()

    run(main())
