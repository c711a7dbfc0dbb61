"""Sends the same POST over and over on many connections, as cheaply as asyncio allows, and prints what it counted."""

import argparse
import asyncio
import json
import time
from pathlib import Path

import uvloop


class Client(asyncio.Protocol):
    """One connection with one request under way at a time."""

    def __init__(self, request: bytes, deadline: float, latencies: list[float]) -> None:
        self._request = request
        self._deadline = deadline
        self._latencies = latencies
        self._started = 0.0
        self._answer = b""
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self._transport = transport
        self._send()

    def data_received(self, data):
        self._answer += data
        if not self._answer.startswith(b"HTTP/1.1 200"):
            raise AssertionError(self._answer[:300])
        if not self._answer.endswith(b"\r\n\r\nok"):
            return
        self._answer = b""
        self._latencies.append(time.perf_counter() - self._started)
        self._send()

    def connection_lost(self, _):
        if not self.ended.done():
            self.ended.set_result(None)

    def _send(self):
        self._started = time.perf_counter()
        if self._started > self._deadline:
            self._transport.close()
            return
        self._transport.write(self._request)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    parser.add_argument("body", type=Path)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=64)
    arguments = parser.parse_args()
    body = arguments.body.read_bytes()
    head = f"POST {arguments.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    request = head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    started = time.perf_counter()
    clients = []
    for _ in range(arguments.connections):
        _, client = await loop.create_connection(
            lambda: Client(request, started + arguments.seconds, latencies), "127.0.0.1", arguments.port
        )
        clients.append(client)
    await asyncio.gather(*(client.ended for client in clients))
    seconds = time.perf_counter() - started
    latencies.sort()
    print(
        json.dumps(
            {
                "count": len(latencies),
                "requests": len(latencies) / seconds,
                "p50": latencies[len(latencies) // 2],
                "p99": latencies[len(latencies) * 99 // 100],
            }
        )
    )


uvloop.run(main())
