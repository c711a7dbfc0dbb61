"""How many requests and events a second ingest takes, and at what cost, beside what it is made of: a bare uvicorn app
that reads the body and says ok, the log alone, and on Kafka aiokafka alone.
"""

import asyncio
import subprocess
import sys
import time

import pytest
import uvloop
from aiokafka import AIOKafkaProducer
from support.loading import cpu_seconds, figures, page_view, start_load
from support.snowbus import COMMAND, Process

from snowbus.bus.acceptance import accept
from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.log import open_log

SIZES = (1, 10, 100)
CONNECTIONS = 64
LOG_SECONDS = 3.0
FLOOR = """
import asyncio, json, uvloop
from snowbus.bus.http_server import serve_http
async def app(scope, receive, send):
    body = b""
    more = True
    while more:
        message = await receive()
        body += message["body"]
        more = message["more_body"]
    json.loads(body)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
async def main():
    stop = asyncio.Event()
    await serve_http(app, "127.0.0.1:0", ready=lambda address: print(address, flush=True), stop=stop)
uvloop.run(main())
"""


def load(address, tmp_path, events, *, pid):
    """What a server takes: requests a second, latencies, and CPU time a request."""
    before = cpu_seconds(pid)
    found = figures(start_load(address, tmp_path, events=events))
    return found | {"cpu": (cpu_seconds(pid) - before) / found["count"]}


def show(what, events, found, floor=None):
    ratio = f"  {found['requests'] / floor['requests']:5.2f} of a bare app" if floor else ""
    cpu = f" {found['cpu'] * 1e6:7.0f} µs CPU" if "cpu" in found else ""
    print(
        f"  {what:<34} {found['requests']:>8,.0f} requests/s {found['requests'] * events:>9,.0f} events/s "
        f"p50 {found['p50'] * 1000:6.1f} ms p99 {found['p99'] * 1000:6.1f} ms{cpu}{ratio}"
    )


async def timed(append):
    """What can be appended from as many tasks as the load has connections, each waiting for its own."""
    latencies = []
    ends = time.perf_counter() + LOG_SECONDS

    async def work():
        while (started := time.perf_counter()) < ends:
            await append()
            latencies.append(time.perf_counter() - started)

    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    latencies.sort()
    count = len(latencies)
    return {
        "requests": count / LOG_SECONDS,
        "p50": latencies[count // 2],
        "p99": latencies[count * 99 // 100],
    }


async def log_alone(log_url, events):
    """The log without HTTP: records that are ready, as many in an append as events in a POST."""
    records = [accept(page_view(), now=0, producer="benchmark") for _ in range(events)]
    async with await open_log(log_url) as log:
        await log.create_topics([EVENTS_TOPIC])
        return await timed(lambda: log.append(EVENTS_TOPIC, records))


async def aiokafka_alone(servers, events):
    """aiokafka without anything of ours: it sends each record, and waits for all."""
    records = [accept(page_view(), now=0, producer="benchmark") for _ in range(events)]
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", enable_idempotence=True, compression_type="lz4")

    async def send():
        sent = [await producer.send(EVENTS_TOPIC, key=record.key, value=record.value) for record in records]
        await asyncio.gather(*sent)

    async with producer:
        return await timed(send)


@pytest.fixture
def floor(tmp_path):
    """What a bare app takes, by events a POST."""
    with subprocess.Popen([sys.executable, "-c", FLOOR], stdout=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().strip()
        yield {events: load(address, tmp_path, events, pid=process.pid) for events in SIZES}
        process.kill()


def test_ingest(log_url, tmp_path, floor):
    kind, _, servers = log_url.partition("://")
    print(f"\nIngest on {kind}, client, server and log on the same two cores")
    for events in SIZES:
        show(f"the log alone, {events} an append", events, uvloop.run(log_alone(log_url, events)))
        if kind == "kafka":
            show(f"aiokafka alone, {events} at once", events, uvloop.run(aiokafka_alone(servers, events)))
    with Process("ingest", "--log", log_url, "--listen", "127.0.0.1:0", program=COMMAND, cwd=tmp_path) as ingest:
        address = ingest.address("ingest")
        for events in SIZES:
            show(f"bare app, {events} a POST", events, floor[events])
            show(f"ingest, {events} a POST", events, load(address, tmp_path, events, pid=ingest.pid), floor[events])
