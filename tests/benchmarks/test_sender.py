"""CPU of one POST through the sender, beside the barest client that could do it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import cast
from urllib.parse import urlsplit

import httptools
import pytest
import uvloop
from support.http_sink import http_sink
from support.sending import body_of, sender

from snowbus.bus.tracker_protocol import COLLECTOR_PATH

REQUESTS = 3_000
BODIES = {"50 events": body_of(50, page="x" * 520), "200 events": body_of(200, page="x" * 520)}

Post = Callable[[], Awaitable[int]]


class Barest(asyncio.Protocol):
    """One connection; no timeouts, no errors, no bounds."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._answered.set_result(self._parser.get_status_code())

    def close(self) -> None:
        self._transport.close()

    async def post(self, head: bytes, body: bytes) -> int:
        self._parser = httptools.HttpResponseParser(self)
        self._answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._transport.writelines([head, body])
        return await self._answered


async def barest(url: str, body: bytes, in_flight: int) -> float:
    address = urlsplit(url)
    head = f"POST {COLLECTOR_PATH} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    idle: list[Barest] = []

    async def post() -> int:
        if not idle:
            loop = asyncio.get_running_loop()
            idle.append((await loop.create_connection(Barest, address.hostname, address.port))[1])
        connection = idle.pop()
        status = await connection.post(head, body)
        idle.append(connection)
        return status

    seconds = await cpu_of(post, in_flight)
    for connection in idle:
        connection.close()
    return seconds


async def ours(url: str, body: bytes, in_flight: int) -> float:
    async with sender(url, collect_in_flight=in_flight) as opened:

        async def post() -> int:
            return (await opened.post(body)).status

        return await cpu_of(post, in_flight)


async def cpu_of(post: Post, in_flight: int) -> float:
    """Seconds of CPU for one of many requests, once the connections are there."""
    left = REQUESTS

    async def work() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            assert await post() == 200

    await asyncio.gather(*[post() for _ in range(in_flight)])
    began = time.process_time()
    await asyncio.gather(*[work() for _ in range(in_flight)])
    return (time.process_time() - began) / REQUESTS


@pytest.mark.parametrize("in_flight", [8, 64])
@pytest.mark.parametrize("name", BODIES)
def test_cpu_of_a_request(name: str, in_flight: int) -> None:
    body = BODIES[name]
    print(f"\n{name}, {len(body) // 1000} kB, {in_flight} in flight")
    for client in (barest, ours):
        with http_sink() as url:
            print(f"  {client.__name__:8} {1e6 * uvloop.run(client(url, body, in_flight)):6.0f} µs")
