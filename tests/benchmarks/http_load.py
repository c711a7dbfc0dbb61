"""Sends the same POSTs over and over on many connections, as cheaply as asyncio allows, and prints what it counted.

With `--sink`, an address of support/http_sink.py, never more than `--ahead` events are on their way there: so it sends
as many as the whole way takes.
"""

import argparse
import asyncio
import json
import time
from itertools import cycle
from pathlib import Path

import uvloop

LOOK_SECONDS = 0.05


class Pace:
    """How many more requests may be sent, by what has arrived at the other end of the way."""

    def __init__(self, ahead: float) -> None:
        self._ahead = ahead
        self._sent = self._arrived = 0
        self._waiting: list[Client] = []

    def may_send(self, client: "Client") -> bool:
        """Whether a client may send now; else it is told to send later."""
        if self._sent - self._arrived < self._ahead:
            self._sent += 1
            return True
        self._waiting.append(client)
        return False

    async def look(self, port: int, events: int) -> None:
        """Ask the sink again and again what it has."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        before = None
        while True:
            writer.write(b"GET /count HTTP/1.1\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            arrived = int((await reader.readuntil(b" ")).split()[0])
            await reader.read(64)
            before = arrived if before is None else before
            self._arrived = (arrived - before) // events
            waiting, self._waiting = self._waiting, []
            for client in waiting:
                client.send()
            await asyncio.sleep(LOOK_SECONDS)


class Client(asyncio.Protocol):
    """One connection with one request under way at a time."""

    def __init__(self, requests: "cycle[bytes]", deadline: float, latencies: list[float], pace: Pace) -> None:
        self._requests = requests
        self._deadline = deadline
        self._latencies = latencies
        self._pace = pace
        self._started = 0.0
        self._answer = b""
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self._transport = transport
        self.send()

    def data_received(self, data):
        self._answer += data
        if not self._answer.startswith(b"HTTP/1.1 200"):
            raise AssertionError(self._answer[:300])
        if not self._answer.endswith(b"\r\n\r\nok"):
            return
        self._answer = b""
        self._latencies.append(time.perf_counter() - self._started)
        self.send()

    def connection_lost(self, _):
        if not self.ended.done():
            self.ended.set_result(None)

    def send(self):
        """Send the next request, when it is time."""
        self._started = time.perf_counter()
        if self._started > self._deadline:
            self._transport.close()
        elif self._pace.may_send(self):
            self._transport.write(next(self._requests))


def requests_of(path: str, bodies: bytes) -> "cycle[bytes]":
    """Whole requests, over and over."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n".encode()
    return cycle([head + b"Content-Length: %d\r\n\r\n" % len(body) + body for body in bodies.splitlines()])


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    parser.add_argument("bodies", type=Path, help="a file with a body in each line")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--sink", type=int, help="its port")
    parser.add_argument("--ahead", type=int, default=10_000)
    parser.add_argument("--events", type=int, default=1, help="those in a body")
    arguments = parser.parse_args()
    requests = requests_of(arguments.path, arguments.bodies.read_bytes())
    loop = asyncio.get_running_loop()
    pace = Pace(arguments.ahead / arguments.events if arguments.sink else float("inf"))
    looking = asyncio.ensure_future(pace.look(arguments.sink, arguments.events)) if arguments.sink else None
    latencies: list[float] = []
    started = time.perf_counter()
    clients = []
    for _ in range(arguments.connections):
        _, client = await loop.create_connection(
            lambda: Client(requests, started + arguments.seconds, latencies, pace), "127.0.0.1", arguments.port
        )
        clients.append(client)
    await asyncio.gather(*(client.ended for client in clients))
    if looking is not None:
        looking.cancel()
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
