"""For how long the embedded log keeps publishers and readers waiting while retention sweeps, or a backup is made."""

import asyncio
import os
import time
from dataclasses import replace

import pytest

from snowbus.bus.event import EVENTS_TOPIC, ProducerRecord
from snowbus.bus.log import LogOptions, open_log
from snowbus.bus.log.sqlite_copy import back_up
from snowbus.bus.log.sqlite_url import file_of

GIB = float(os.environ.get("BENCH_GIB", "1"))
BYTES = 600
BATCH = 10
BATCHES_A_SECOND = 110  # 95 million events a day
QUIET_SECONDS = 10.0
KEEPING = LogOptions(retention_seconds=0)
HOUR_MS = 3_600_000


def batch(size, timestamp=None):
    return [ProducerRecord(b"user-%d" % (number % 1000), b"x" * BYTES, (), timestamp) for number in range(size)]


async def fill(url):
    """Make a log of which all has expired; nothing is deleted before it is opened again."""
    old = batch(5_000, time.time_ns() // 1_000_000 - 2 * HOUR_MS)
    async with await open_log(url, KEEPING) as log:
        await log.create_topics([EVENTS_TOPIC])
        while log.disk().used < GIB * 2**30:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(20):
                    tasks.create_task(log.append(EVENTS_TOPIC, old))


class Waits:
    """How long each append took, and from then until a reader had it."""

    def __init__(self):
        self.appends = []
        self.reads = []

    def say(self, what):
        for name, waits in (("append", self.appends), ("append to read", self.reads)):
            waits.sort()
            middle, high = waits[len(waits) // 2], waits[int(len(waits) * 0.99)]
            print(f"  {what:<24} {name:<16} p50 {middle:7.1f}  p99 {high:7.1f}  longest {waits[-1]:7.1f} ms")


async def publish_and_read(log, waits, until):
    """Publish at a steady rate, and read it all, until a coroutine is done."""
    begun = {}

    async def publish():
        due = time.perf_counter()
        while True:
            begun_at = time.perf_counter()
            placed = await log.append(EVENTS_TOPIC, batch(BATCH))
            waits.appends.append(1000 * (time.perf_counter() - begun_at))
            begun[placed[-1]] = begun_at
            due += 1 / BATCHES_A_SECOND
            await asyncio.sleep(max(0.0, due - time.perf_counter()))

    async def read():
        async with await log.read(await log.end_offsets(EVENTS_TOPIC)) as reader:
            while True:
                for record in await reader.poll():
                    if (at := begun.pop((record.partition, record.offset), None)) is not None:
                        waits.reads.append(1000 * (time.perf_counter() - at))

    working = [asyncio.create_task(read()), asyncio.create_task(publish())]
    await until
    for task in working:
        task.cancel()
    await asyncio.wait(working)


async def swept(log):
    while log.disk().used > 100 * 2**20:  # noqa: ASYNC110 - a disk tells nobody
        await asyncio.sleep(0.2)


async def back_up_meanwhile(url, target):
    """Seconds that a backup takes, and the waits meanwhile, and before it."""
    await fill(url)
    quiet, copying = Waits(), Waits()
    async with await open_log(url, KEEPING) as log:
        used = log.disk().used
        await publish_and_read(log, quiet, asyncio.sleep(QUIET_SECONDS))
        started = time.perf_counter()
        await publish_and_read(log, copying, asyncio.to_thread(back_up, file_of(url), target))
    return used, time.perf_counter() - started, quiet, copying


async def sweep(url):
    await fill(url)
    quiet, sweeping = Waits(), Waits()
    async with await open_log(url, KEEPING) as log:
        used = log.disk().used
        await publish_and_read(log, quiet, asyncio.sleep(QUIET_SECONDS))
    async with await open_log(url, replace(KEEPING, retention_seconds=3600)) as log:
        await log.create_topics([EVENTS_TOPIC])
    started = time.perf_counter()
    async with await open_log(url) as log:
        await publish_and_read(log, sweeping, swept(log))
    return used, time.perf_counter() - started, quiet, sweeping


def test_a_sweep_of_retention(sqlite_url):
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        used, seconds, quiet, sweeping = runner.run(sweep(sqlite_url))
    print(f"\nRetention: {used / 2**30:.2f} GiB expired and given back in {seconds:.0f} s, at 1,100 records a second")
    quiet.say("no sweep")
    sweeping.say("sweep")


def test_a_backup(sqlite_url, tmp_path):
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        used, seconds, quiet, copying = runner.run(back_up_meanwhile(sqlite_url, tmp_path / "copy.db"))
    print(f"\nBackup of {used / 2**30:.2f} GiB in {seconds:.0f} s, at 1,100 records a second")
    quiet.say("no backup")
    copying.say("backup")
