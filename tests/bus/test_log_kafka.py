"""What only the log on Kafka meets: brokers that are away, crash, freeze, and refuse.

These run on uvloop, as the roles do, which minds more than asyncio's own loop how connections end.
"""

import asyncio
import os
import time
from collections import Counter, defaultdict
from functools import partial
from itertools import count
from pathlib import Path

import pytest
import uvloop
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import UnknownTopicOrPartitionError
from aiokafka.protocol.group import LeaveGroupRequest
from support import aio
from support.aio import eventually
from support.kafka import KafkaServer, brokers
from support.logs import numbered, opened, read_all, read_on, settled

from snowbus.bus.errors import (
    ConfigurationError,
    LogError,
    LogUnavailableError,
    NotAssignedError,
    RecordTooLargeError,
    TopicNotFoundError,
)
from snowbus.bus.event import EVENTS_TOPIC, ProducerRecord
from snowbus.bus.log import Committed, LogOptions, TopicInfo, open_log

pytestmark = pytest.mark.real_kafka
run = partial(aio.run, loop_factory=uvloop.new_event_loop)
HASTY = LogOptions(append_timeout=1.0, session_timeout=3.0)
AWAY = "kafka://127.0.0.1:9"


async def timed(call):
    """The LogUnavailableError of a call, and the seconds it took."""
    start = time.monotonic()
    with pytest.raises(LogUnavailableError) as unavailable:
        await call
    return unavailable.value, time.monotonic() - start


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def read_in_spite(reader, seen):
    """Count what is read, whatever is away now and then."""
    while True:
        try:
            for record in await reader.poll(max_records=5000):
                seen[record.partition, record.offset] += 1
        except LogUnavailableError:
            continue


class Numbers:
    """Appends 0, 1, 2, … under each of some keys, and keeps where the acknowledged ones are."""

    def __init__(self, log, *, keys=8):
        self.acknowledged = {}
        self.failed = Counter()
        self.slowest = 0.0
        self._log = log
        self._tasks = [asyncio.create_task(self._append(b"%d" % key)) for key in range(keys)]

    async def stop(self):
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _append(self, key):
        for number in count():
            record = ProducerRecord(key, b"%d" % number)
            start = time.monotonic()
            try:
                (place,) = await self._log.append(EVENTS_TOPIC, [record])
            except LogUnavailableError:
                self.failed[key] += 1
            else:
                self.acknowledged[key, number] = place
            self.slowest = max(self.slowest, time.monotonic() - start)
            await asyncio.sleep(0.001)

    async def check(self):
        """Each acknowledged record is there once, where it was said to be, and each key's are in order."""
        seen = defaultdict(list)
        for records in (await read_all(self._log)).values():
            for record in records:
                seen[record.key, int(record.value)].append((record.partition, record.offset))
        assert {place: [found] for place, found in self.acknowledged.items()} == {
            place: seen[place] for place in self.acknowledged
        }
        assert max(map(len, seen.values())) == 1, "what was not acknowledged may be there, but once"
        for key in self.failed.keys() | {key for key, _ in self.acknowledged}:
            offsets = [place[1] for (each, _), place in sorted(self.acknowledged.items()) if each == key]
            assert offsets == sorted(offsets)


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


# Crashes


def test_a_crash_of_the_broker_loses_and_repeats_nothing_that_was_acknowledged(own_kafka):
    async def main():
        async with opened(own_kafka.url, HASTY) as log:
            numbers = Numbers(log)
            for _ in range(2):
                at = len(numbers.acknowledged)
                await eventually(lambda at=at: len(numbers.acknowledged) > at + 500)
                own_kafka.kill()
                await eventually(lambda: len(numbers.failed) == 8)
                await asyncio.to_thread(own_kafka.start)
            at = len(numbers.acknowledged)
            await eventually(lambda: len(numbers.acknowledged) > at + 500)
            await numbers.stop()
            assert numbers.slowest < 3
            await numbers.check()

    run(main())


def test_a_short_outage_is_waited_for(own_kafka):
    """Within the time of an append nobody hears of it."""

    async def main():
        async with opened(own_kafka.url, LogOptions(append_timeout=20.0)) as log:
            numbers = Numbers(log)
            await eventually(lambda: len(numbers.acknowledged) > 500)
            await asyncio.to_thread(own_kafka.restart)
            at = len(numbers.acknowledged)
            await eventually(lambda: len(numbers.acknowledged) > at + 500)
            await numbers.stop()
            assert not numbers.failed
            await numbers.check()

    run(main())


def test_readers_go_on_after_a_crash_of_the_broker(own_kafka):
    """Without a hole or a repeat; a member of a group keeps its partitions."""

    async def main():
        revoked = []

        async def on_revoked(partitions):
            revoked.append(partitions)

        async with (
            opened(own_kafka.url, LogOptions(append_timeout=2.0, session_timeout=20.0)) as log,
            await log.read(await log.beginning_offsets(EVENTS_TOPIC)) as plain,
            await log.join([EVENTS_TOPIC], group_id="group", on_revoked=on_revoked) as member,
        ):
            await log.append(EVENTS_TOPIC, numbered(40, key=None))
            assert len(await read_on(plain, 40)) == len(await read_on(member, 40)) == 40
            own_kafka.kill()
            for reader in (plain, member):
                error, _ = await timed(poll_until_unavailable(reader))
                assert error.retriable
            await asyncio.to_thread(own_kafka.start)
            await log.append(EVENTS_TOPIC, numbered(40, key=None))
            for reader in (plain, member):
                offsets = defaultdict(list)
                while sum(map(len, offsets.values())) < 40:
                    for record in await polls(reader) or ():
                        offsets[record.partition].append(record.offset)
                assert dict(offsets) == {partition: list(range(10, 20)) for partition in range(4)}
            await eventually(lambda: committed(member))
            assert revoked == []

    async def poll_until_unavailable(reader):
        for _ in range(60):
            assert await reader.poll(timeout=0.2) == []

    async def committed(member):
        try:
            await member.commit(dict.fromkeys(member.assignment, 20))
        except LogUnavailableError:
            return False
        return True

    run(main())


def test_memory_is_bounded_while_the_broker_is_away(own_kafka):
    """What has failed is let go, however much is offered."""

    async def main():
        value = os.urandom(500_000)
        async with opened(own_kafka.url), await open_log(own_kafka.url, LogOptions(append_timeout=0.3)) as log:
            await eventually(lambda: appends(log))
            own_kafka.kill()
            offered = 0
            highest = before = resident_bytes()
            for _ in range(8):
                calls = [log.append(EVENTS_TOPIC, [ProducerRecord(None, bytes(bytearray(value)))]) for _ in range(80)]
                assert {type(failure) for failure in await asyncio.gather(*calls, return_exceptions=True)} == {
                    LogUnavailableError
                }
                offered += len(calls) * len(value)
                highest = max(highest, resident_bytes())
            assert offered == 320_000_000
            assert highest - before < 100_000_000

    run(main())


async def appends(log):
    try:
        return await log.append(EVENTS_TOPIC, numbered(1))
    except LogUnavailableError:
        return False


async def polls(reader):
    try:
        return await reader.poll()
    except LogUnavailableError:
        return False


# Freezes


def test_a_frozen_broker_costs_bounded_time(own_kafka):
    async def main():
        async with opened(own_kafka.url) as patient:  # a topic may take its time to be made
            await patient.append(EVENTS_TOPIC, numbered(8, key=None))
        async with opened(own_kafka.url, HASTY) as log:
            partitions = await log.partitions(EVENTS_TOPIC)
            async with (
                await log.read(dict.fromkeys(partitions, 0)) as reader,
                await log.join([EVENTS_TOPIC], group_id="group") as member,
            ):
                await read_on(reader, 8)
                await read_on(member, 8)
                own_kafka.pause()
                try:
                    calls = (
                        log.append(EVENTS_TOPIC, numbered(8, key=None)),
                        log.end_offsets(EVENTS_TOPIC),
                        member.commit(dict.fromkeys(partitions, 2)),
                        poll_on(reader),
                    )
                    for (_, seconds), bound in zip(await asyncio.gather(*map(timed, calls)), (2, 2, 2, 6), strict=True):
                        assert seconds < bound
                    start = time.monotonic()
                    await (await open_log(own_kafka.url, HASTY)).close()
                    assert time.monotonic() - start < 1
                finally:
                    own_kafka.resume()
                await eventually(lambda: appends(log))
                await eventually(lambda: polls(reader))

    async def poll_on(reader):
        while True:
            assert await reader.poll() == []

    run(main())


def test_closing_beside_a_frozen_broker_takes_bounded_time(own_kafka):
    async def main():
        log = await open_log(own_kafka.url, HASTY)
        await log.create_topics([EVENTS_TOPIC])
        member = await log.join([EVENTS_TOPIC], group_id="group")
        await settled([member])
        own_kafka.pause()
        try:
            start = time.monotonic()
            appending = asyncio.create_task(log.append(EVENTS_TOPIC, [ProducerRecord(None, os.urandom(900_000))] * 8))
            await asyncio.sleep(0.1)
            await log.close()
            assert time.monotonic() - start < 8
            with pytest.raises(LogUnavailableError):
                await appending
        finally:
            own_kafka.resume()

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
        async with await open_log(real_kafka_url, HASTY) as log:
            small = [log.append("test.small", [ProducerRecord(b"k", b"%d" % number)]) for number in range(10)]
            large = log.append("test.small", [ProducerRecord(b"k", os.urandom(30_000))])
            await log.append("test.small", numbered(1))
            *places, refused = await asyncio.gather(*small, large, return_exceptions=True)
            assert isinstance(refused, RecordTooLargeError)
            assert "30001 bytes" in str(refused)
            assert [offset for ((_, offset),) in places] == list(range(1, 11))
            assert await log.append("test.small", numbered(1)) == [(0, 11)]
            many = [ProducerRecord(b"k", os.urandom(8_000)) for _ in range(20)]
            assert [offset for _, offset in await log.append("test.small", many)] == list(range(12, 32))

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


def test_tls_and_sasl(own_kafka):
    async def main():
        certificate = own_kafka.secure("snow", "plough")
        own_kafka.restart()
        url = f"kafka://127.0.0.1:{own_kafka.secure_port}?security_protocol=SASL_SSL&sasl_username=snow&sasl_password="
        async with opened(f"{url}plough&ssl_cafile={certificate}") as log:
            await log.append(EVENTS_TOPIC, numbered(10))
            async with await log.join([EVENTS_TOPIC], group_id="group") as member:
                assert len(await read_on(member, 10)) == 10
        async with await open_log(f"{url}wrong&ssl_cafile={certificate}", HASTY) as log:
            for call in (log.topics(), log.append(EVENTS_TOPIC, numbered(1))):
                with pytest.raises(LogError, match="SaslAuthenticationFailed") as refused:
                    await call
                assert not refused.value.retriable
        async with await open_log(f"{url}plough", HASTY) as log:
            with pytest.raises(LogUnavailableError, match="certificate verify failed"):
                await log.topics()

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


async def administer(url, work):
    admin = AIOKafkaAdminClient(bootstrap_servers=url.removeprefix("kafka://"))
    await admin.start()
    try:
        await work(admin)
    finally:
        await admin.close()


# Long


@pytest.mark.faults
def test_brokers_of_a_cluster_take_over_from_each_other(own_kafka, tmp_path):
    """Three replicas; two of three brokers crash in turns. Appends, a reader and a member of a group go on."""

    async def main():
        own_kafka.properties["offsets.topic.replication.factor"] = 3
        own_kafka.restart()
        with (
            KafkaServer(tmp_path / "2", node=2, joins=own_kafka) as second,
            KafkaServer(tmp_path / "3", node=3, joins=own_kafka) as third,
        ):
            await eventually(lambda: brokers(own_kafka.bootstrap_servers) == 3, timeout=30)
            options = LogOptions(partitions=6, replication_factor=3, append_timeout=15.0)
            servers = f"{own_kafka.url},{second.bootstrap_servers},{third.bootstrap_servers}"
            async with opened(servers, options) as log:
                numbers, seen = Numbers(log, keys=50), Counter()
                reader = await log.read(await log.beginning_offsets(EVENTS_TOPIC))
                member = await log.join([EVENTS_TOPIC], group_id="group")
                reading = [asyncio.create_task(read_in_spite(each, seen)) for each in (reader, member)]
                for server in (second, third) * 3:
                    at = len(numbers.acknowledged)
                    await eventually(lambda at=at: len(numbers.acknowledged) > at + 2000, timeout=30)
                    server.kill()
                    at = len(numbers.acknowledged)
                    await eventually(lambda at=at: len(numbers.acknowledged) > at + 2000, timeout=30)
                    await asyncio.to_thread(server.start)
                    await eventually(lambda: brokers(own_kafka.bootstrap_servers) == 3, timeout=30)
                await numbers.stop()
                await numbers.check()
                total = sum((await log.end_offsets(EVENTS_TOPIC)).values())
                await eventually(lambda: len(seen) == total and min(seen.values()) == 2, timeout=60)
                for task in reading:
                    task.cancel()
                await asyncio.gather(*reading, return_exceptions=True)
                again = sum(seen.values()) - 2 * total
                print(f"{len(numbers.acknowledged)} acknowledged, slowest {numbers.slowest:.1f} s, {again} read again")

    run(main(), timeout=300)


@pytest.mark.faults
def test_twenty_crashes_of_the_broker(own_kafka):
    """Under load, with a reader that follows: nothing acknowledged is lost or repeated, and the reader sees it all."""

    async def main():
        async with opened(own_kafka.url, HASTY) as log:
            numbers = Numbers(log, keys=50)
            seen = Counter()
            reader = await log.read(await log.beginning_offsets(EVENTS_TOPIC))
            reading = asyncio.create_task(read_in_spite(reader, seen))
            for kill in range(20):
                at = len(numbers.acknowledged)
                await eventually(lambda at=at: len(numbers.acknowledged) > at + 2000, timeout=30)
                await asyncio.sleep(kill % 7 / 100)
                await asyncio.to_thread(own_kafka.restart)
            at = len(numbers.acknowledged)
            await eventually(lambda: len(numbers.acknowledged) > at + 2000, timeout=30)
            await numbers.stop()
            await numbers.check()
            total = sum((await log.end_offsets(EVENTS_TOPIC)).values())
            await eventually(lambda: sum(seen.values()) == total, timeout=30)
            assert set(seen.values()) == {1}
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            print(
                f"{len(numbers.acknowledged)} acknowledged, {sum(numbers.failed.values())} failed, {total} on the log"
            )

    run(main(), timeout=600)
