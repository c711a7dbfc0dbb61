"""Events a second from the log to a collector, beside the simplest loop that could do it."""

import asyncio
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple
from uuid import uuid4

import aiohttp
import uvloop
from aiokafka import AIOKafkaConsumer
from support.forwarding import numbered, publish
from support.http_sink import events_taken, http_sink, requests_taken, wait_for_events

from snowbus.bus.envelope import decode_event
from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.log import Log, open_log
from snowbus.bus.metrics import Metrics
from snowbus.bus.payload import PAYLOAD_DATA_SCHEMA
from snowbus.bus.settings import Settings
from snowbus.bus.tracker_protocol import COLLECTOR_PATH
from snowbus.cli.running import collect_garbage_seldom
from snowbus.consumers.collector.run import run_collect

EVENTS = 100_000
BATCH = 200
IN_FLIGHT = 8
PAGE = "https://shop.example/products/" + "x" * 330  # some 600 bytes an event


class Figure(NamedTuple):
    seconds: float
    cpu: float
    requests: int

    def __str__(self) -> str:
        return (
            f"{EVENTS / self.seconds:8,.0f} events/s {self.requests / self.seconds:6,.0f} requests/s "
            f"{self.cpu * 1e6 / EVENTS:6.1f} CPU s/M"
        )


async def simplest_loop(log: Log, url: str, stop: asyncio.Event) -> None:
    """Reads, decodes, and POSTs with as many in flight; forgets offsets, order, failures and clients."""
    places = asyncio.Semaphore(IN_FLIGHT)
    opening = f'{{"schema":"{PAYLOAD_DATA_SCHEMA}","data":['
    batches = batches_of_kafka if log.url.startswith("kafka:") else batches_of_log

    async with aiohttp.ClientSession(headers={"Content-Type": "application/json"}) as session:

        async def post(body: str) -> None:
            async with session.post(url + COLLECTOR_PATH, data=body.encode()) as response:
                await response.read()
            places.release()

        async with asyncio.TaskGroup() as tasks:
            async for values in batches(log, stop):
                body = opening + ",".join(decode_event(value).payload for value in values) + "]}"
                await places.acquire()
                tasks.create_task(post(body))


async def batches_of_kafka(log: Log, stop: asyncio.Event) -> AsyncIterator[list[bytes]]:
    servers = log.url.removeprefix("kafka://")
    async with AIOKafkaConsumer(EVENTS_TOPIC, bootstrap_servers=servers, auto_offset_reset="earliest") as reader:
        while not stop.is_set():
            for found in (await reader.getmany(timeout_ms=100, max_records=BATCH)).values():
                yield [record.value for record in found]


async def batches_of_log(log: Log, stop: asyncio.Event) -> AsyncIterator[list[bytes]]:
    async with await log.read(await log.beginning_offsets(EVENTS_TOPIC)) as reader:
        while not stop.is_set():
            if records := await reader.poll(max_records=BATCH, timeout=0.1):
                yield [record.value for record in records]


async def ours(log: Log, url: str, stop: asyncio.Event) -> None:
    settings = Settings(
        log=log.url,
        collector=url,
        group=f"benchmark-{uuid4()}",  # a new one each time: everything is to be read
        collect_batch_events=BATCH,
        collect_in_flight=IN_FLIGHT,
        collect_listen="127.0.0.1:0",
    )
    await run_collect(log, settings, Metrics(), ready=lambda _: None, stop=stop)


async def measure(log_url: str, forward: Callable[[Log, str, asyncio.Event], Awaitable[None]], url: str) -> Figure:
    async with await open_log(log_url) as log:
        stop = asyncio.Event()
        forwarding = asyncio.ensure_future(forward(log, url, stop))
        await asyncio.to_thread(wait_for_events, url, 1)
        cpu, started = time.process_time(), time.monotonic()
        await asyncio.to_thread(wait_for_events, url, EVENTS)
        figure = Figure(time.monotonic() - started, time.process_time() - cpu, requests_taken(url))
        stop.set()
        await forwarding
        assert events_taken(url) == EVENTS
        return figure


async def fill(log_url: str) -> None:
    async with await open_log(log_url) as log:
        for start in range(0, EVENTS, 2_000):
            numbers = range(start, start + 2_000)
            await publish(log, [numbered(number, user=f"user-{number % 1_000}", page=PAGE) for number in numbers])


def test_events_a_second(log_url: str) -> None:
    uvloop.run(fill(log_url))
    collect_garbage_seldom()  # as every command does
    print()
    for milliseconds in (0, 20, 100):
        figures = {}
        for forward in (simplest_loop, ours):
            with http_sink(seconds=milliseconds / 1000) as url:
                figures[forward] = uvloop.run(measure(log_url, forward, url))
        ratio = figures[simplest_loop].seconds / figures[ours].seconds
        print(f"forwarding from {log_url.partition(':')[0]}, answers in {milliseconds} ms")
        print(f"  the simplest loop    {figures[simplest_loop]}")
        print(f"  the collector role   {figures[ours]}   {ratio:.2f} of it")
    print(f"  memory at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")
