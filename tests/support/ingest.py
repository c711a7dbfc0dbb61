"""Ingest on a real socket, and what it has put on its log."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
from support.forwarding import read_all

from snowbus.bus.envelope import decode_event
from snowbus.bus.event import BAD_TOPIC, EVENTS_TOPIC, Event, Record
from snowbus.bus.log import Log
from snowbus.bus.metrics import Metrics
from snowbus.bus.settings import Settings
from snowbus.producers.ingest.app import run_ingest

TP2 = "/com.snowplowanalytics.snowplow/tp2"
PAYLOAD_DATA = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"


def payload_data(*events: Any, schema: str = PAYLOAD_DATA) -> bytes:
    return orjson.dumps({"schema": schema, "data": list(events)})


@dataclass
class Ingest:
    url: str
    log: Log
    http: aiohttp.ClientSession
    metrics: Metrics
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    async def post(self, body: bytes | Any, path: str = TP2, **headers: str) -> tuple[int, Any]:
        """POST a body; the answer's status and its text, or JSON where it is that."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.post(
            self.url + path, data=body, headers={"Content-Type": "application/json"} | given
        ) as answer:
            return answer.status, await (answer.json() if answer.content_type == "application/json" else answer.text())

    async def events(self) -> list[Event]:
        return [decode_event(record.value) for record in await all_records(self.log, EVENTS_TOPIC)]

    async def payloads(self) -> list[dict[str, str]]:
        return [json.loads(event.payload) for event in await self.events()]

    async def bad(self) -> list[tuple[bytes, dict[str, str]]]:
        """The value and the headers of each record on `snowbus.bad`."""
        records = await all_records(self.log, BAD_TOPIC)
        return [(record.value, {name: value.decode() for name, value in record.headers}) for record in records]

    async def is_ready(self) -> bool:
        """Whether it says that it is ready: its topics are there."""
        async with self.http.get(self.url + "/ready") as answer:
            return answer.status == 200

    def metric(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def serving(log: Log, **settings: Any) -> AsyncIterator[Ingest]:
    """Ingest on a free port of loopback, drained at the end."""
    metrics = Metrics()
    stop = asyncio.Event()
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    chosen = Settings(**{"ingest_listen": "127.0.0.1:0", **settings})
    task = asyncio.create_task(run_ingest(log, chosen, metrics, ready=address.set_result, stop=stop))
    await asyncio.wait([task, address], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        try:
            yield Ingest(await address, log, http, metrics, stop)
        finally:
            stop.set()
            await task


async def all_records(log: Log, topic: str) -> list[Record]:
    """Everything on a topic, in the order of partitions and offsets."""
    return sorted(await read_all(log, topic), key=lambda record: record[:3])


async def raw(address: tuple[str, int], *pieces: bytes, end: bool = False, timeout: float = 10.0) -> bytes:
    """What comes back, until the server closes, for bytes written as they are, each piece on its own."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        with contextlib.suppress(ConnectionError):  # closed before all was written
            for position, piece in enumerate(pieces):
                if position:
                    await asyncio.sleep(0.02)
                writer.write(piece)
                await writer.drain()
            if end:
                writer.write_eof()
        return await asyncio.wait_for(reader.read(), timeout)
    finally:
        writer.close()


def connect(address: tuple[str, int]) -> socket.socket:
    """A plain connection that blocks."""
    return socket.create_connection(address, timeout=10)
