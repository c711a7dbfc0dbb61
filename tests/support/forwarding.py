"""Runs the collector consumer in a test, and publishes numbered events for it."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from snowbus.bus.envelope import event_record
from snowbus.bus.event import DEAD_TOPIC, EVENTS_TOPIC, Event, ProducerRecord, Record
from snowbus.bus.log import Log, open_log
from snowbus.bus.metrics import Metrics
from snowbus.bus.payload import dump_payload
from snowbus.bus.settings import Settings
from snowbus.consumers.collector.run import run_collect

INGEST_TSTAMP = time.time_ns() // 1_000_000 - 3_600_000
"""When the events were accepted: an hour ago, which no retention calls old."""

FAST = {"collect_backoff": 0.02, "collect_backoff_max": 0.05, "collect_listen": "127.0.0.1:0", "session_timeout": 6.0}


def numbered(number: int, *, user: str = "", **parameters: str) -> ProducerRecord:
    """An event whose `eid` is its number."""
    payload = {"tv": "test-1", "p": "srv", "e": "pv", "eid": str(number), "uid": user or f"user-{number % 7}"}
    payload |= {"dtm": str(INGEST_TSTAMP - 9), "stm": str(INGEST_TSTAMP - 1)} | parameters
    event = Event(payload["eid"], INGEST_TSTAMP, dump_payload(payload), {"ip": "203.0.113.7"})
    return event_record(event, payload)


async def publish(log: Log, records: Iterable[ProducerRecord]) -> None:
    """Append events, making the topic when it is missing."""
    await log.create_topics([EVENTS_TOPIC, DEAD_TOPIC])
    await log.append(EVENTS_TOPIC, list(records))


class Forwarding:
    """A collector consumer that runs; `address` is where it answers those who run it."""

    def __init__(self, log: Log, metrics: Metrics) -> None:
        self.log = log
        self.metrics = metrics
        self.address = ""
        self.stopping = asyncio.Event()
        self.task: asyncio.Task[None]

    async def get(self, path: str) -> tuple[int, str]:
        """What it answers: the status and the body."""
        host, port = self.address.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        writer.close()
        await writer.wait_closed()
        return int(head.split()[1]), body

    async def stop(self) -> None:
        """As SIGTERM does: drain, and wait for the end."""
        self.stopping.set()
        await self.task


@asynccontextmanager
async def forwarding(log_url: str, collector: str, **overrides: Any) -> AsyncIterator[Forwarding]:
    """Run the collector consumer on a log of its own connection; stopped at the end, when it is not stopped before."""
    settings = Settings(log=log_url, collector=collector, **(FAST | overrides))
    async with await open_log(log_url, settings.log_options()) as log:
        running = Forwarding(log, Metrics())
        ready = asyncio.Event()

        def tell(address: str) -> None:
            running.address = address
            ready.set()

        running.task = asyncio.create_task(
            run_collect(log, settings, running.metrics, ready=tell, stop=running.stopping)
        )
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({waiting, running.task}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        try:
            yield running
        finally:
            await running.stop()


async def read_all(log: Log, topic: str) -> list[Record]:
    """Everything that stands in a topic."""
    ends = await log.end_offsets(topic)
    begins = await log.beginning_offsets(topic)
    left = sum(ends.values()) - sum(begins.values())
    records: list[Record] = []
    async with await log.read(begins) as reader:
        while len(records) < left:
            records += await reader.poll()
    return records
