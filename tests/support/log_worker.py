"""Another process on a log: `python log_worker.py URL append COUNT KEY` or `… member GROUP`; it prints what it does."""

import asyncio
import sys

from snowbus.bus.event import EVENTS_TOPIC, ProducerRecord
from snowbus.bus.log import LogOptions, open_log


async def append(url, count, key):
    """Append numbered records, each call after the other; a line says that all are durable."""
    async with await open_log(url) as log:
        for number in range(int(count)):
            await log.append(EVENTS_TOPIC, [ProducerRecord(key.encode(), b"%d" % number)])
    print("appended", flush=True)


async def member(url, group_id):
    """Read in a group and commit nothing; a line for each record, until killed."""
    async with (
        await open_log(url, LogOptions(session_timeout=1.0)) as log,
        await log.join([EVENTS_TOPIC], group_id=group_id) as reader,
    ):
        while True:
            for record in await reader.poll():
                print(record.partition, record.offset, flush=True)


if __name__ == "__main__":
    asyncio.run({"append": append, "member": member}[sys.argv[2]](sys.argv[1], *sys.argv[3:]))
