"""SIGKILLs while the embedded log is written, swept by retention and backed up: it is whole, and nothing is lost."""

import asyncio
import random
import subprocess
import sys
import time
from contextlib import suppress

import pytest
from support.aio import run

from snowbus.bus.event import TopicPartition
from snowbus.bus.log import LogOptions, open_log
from snowbus.bus.log.sqlite_copy import check

pytestmark = pytest.mark.faults

TOPIC = "snowbus.events"
PARTITION = TopicPartition(TOPIC, 0)
KILLS = 20
KEPT_BYTES = 3_000_000
PUBLISHER = """
import asyncio, sys
from snowbus.bus.event import ProducerRecord
from snowbus.bus.log import open_log, sqlite
sqlite._RETENTION_SECONDS = 0.01

async def main():
    async with await open_log(sys.argv[1]) as log:
        while True:
            placed = await log.append("snowbus.events", [ProducerRecord(b"k", b"x" * 900)] * 50)
            print(placed[-1][1], flush=True)

asyncio.run(main())
"""


async def make(url):
    async with await open_log(url, LogOptions(partitions=1, retention_bytes=KEPT_BYTES)) as log:
        await log.create_topics([TOPIC])


async def bounds(url):
    async with await open_log(url) as log:
        begin, end = await log.beginning_offsets(TOPIC), await log.end_offsets(TOPIC)
        async with await log.read(begin) as reader:
            offsets = []
            while more := await reader.poll(max_records=10_000, timeout=0):
                offsets += [record.offset for record in more]
        return begin[PARTITION], end[PARTITION], offsets


def killed_after(seconds, program):
    """The lines that a program wrote before it was killed."""
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        process.kill()
        return [line for line in process.stdout if line.endswith("\n")]


def test_kills_while_retention_sweeps_leave_a_whole_log_that_has_all_that_was_acknowledged(sqlite_url, tmp_path):
    run(make(sqlite_url))
    chance = random.Random(time.time())
    swept = 0
    for _ in range(KILLS):
        lines = killed_after(chance.uniform(1.5, 4), [sys.executable, "-c", PUBLISHER, sqlite_url])
        begin, end, offsets = run(bounds(sqlite_url))
        assert not lines or end > int(lines[-1])
        assert begin <= offsets[0]  # retention goes on while they are read
        assert offsets == list(range(offsets[0], end))
        assert check(tmp_path / "log.db").missing == 0
        swept = max(swept, begin)
    print(f"{KILLS} kills; {swept:,} of {end:,} records expired")
    assert swept > 0


def test_a_backup_that_is_killed_leaves_nothing_that_looks_like_one(sqlite_url, tmp_path):
    run(make(sqlite_url))

    async def main():
        async with await open_log(sqlite_url, LogOptions(retention_bytes=0)) as log:
            await log.create_topics([TOPIC])

    run(main())
    publisher = [sys.executable, "-c", PUBLISHER, sqlite_url]
    chance = random.Random(time.time())
    with subprocess.Popen(publisher, stdout=subprocess.DEVNULL) as publishing:
        for number in range(KILLS):
            copy = tmp_path / f"copy-{number}.db"
            backup = [sys.executable, "-m", "snowbus.cli", "log", "backup", str(copy), "--log", sqlite_url]
            killed_after(chance.uniform(0.3, 2), backup)
            if copy.exists():
                assert check(copy).missing == 0
        publishing.kill()
    assert asyncio.run(bounds(sqlite_url))[2]
