"""What tests of logs share: an open log with a topic, other processes on it, records, and readers that read on."""

import asyncio
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.aio import eventually

from snowbus.bus.errors import LogUnavailableError
from snowbus.bus.event import EVENTS_TOPIC, ProducerRecord
from snowbus.bus.log import LogOptions, open_log

WORKER = Path(__file__).with_name("log_worker.py")
SESSION = LogOptions(session_timeout=1.0)

several_processes = pytest.mark.parametrize(
    "log_url", ["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True
)
"""For tests of what only logs do that processes share."""


@asynccontextmanager
async def opened(url, options=SESSION):
    """A log with the events topic."""
    async with await open_log(url, options) as log:
        await log.create_topics([EVENTS_TOPIC])
        yield log


@asynccontextmanager
async def process(url, *arguments):
    """Another process on the log, ended at once at the end."""
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-P", WORKER, url, *map(str, arguments), stdout=subprocess.PIPE
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


def numbered(count, *, key=b"user", start=0):
    return [ProducerRecord(key, b"%d" % number) for number in range(start, start + count)]


async def read_on(reader, count, *, timeout=20.0):
    """The next `count` records."""
    records = []
    deadline = time.monotonic() + timeout
    while len(records) < count:
        records += await reader.poll(timeout=1.0)
        assert time.monotonic() < deadline, f"{len(records)} of {count} records in {timeout} s"
    return records


async def read_all(log):
    """All records, by partition, in the order in which they are read."""
    ends = await log.end_offsets(EVENTS_TOPIC)
    by_partition = defaultdict(list)
    async with await log.read(dict.fromkeys(ends, 0)) as reader:
        for record in await read_on(reader, sum(ends.values())):
            by_partition[record.topic_partition].append(record)
    return by_partition


async def settled(readers, *, partitions=4):
    """Poll the members of a group until the partitions are shared out among all of them."""

    async def check():
        for reader in readers:
            await reader.poll(timeout=0.05)
        held = [reader.assignment for reader in readers]
        return all(held) and sum(map(len, held)) == partitions == len(frozenset().union(*held))

    await eventually(check, timeout=20)


async def timed(call):
    """The LogUnavailableError of a call, and the seconds it took."""
    start = time.monotonic()
    with pytest.raises(LogUnavailableError) as unavailable:
        await call
    return unavailable.value, time.monotonic() - start
