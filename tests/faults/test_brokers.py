"""Crashes and freezes brokers: what was acknowledged is there once and in order, and no call waits for ever.

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
from support import aio
from support.aio import eventually
from support.kafka import KafkaServer, brokers
from support.logs import numbered, opened, read_all, read_on, settled, timed

from snowbus.bus.errors import LogUnavailableError
from snowbus.bus.event import EVENTS_TOPIC, ProducerRecord
from snowbus.bus.log import LogOptions, open_log

pytestmark = [pytest.mark.faults, pytest.mark.real_kafka]
run = partial(aio.run, loop_factory=uvloop.new_event_loop)
HASTY = LogOptions(append_timeout=1.0, session_timeout=3.0)


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
