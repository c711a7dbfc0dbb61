"""The cheapest collector there can be, for benchmarks: answers 200 to every POST after a while, and counts
events and requests.

Run it as a process (`http_sink(seconds=0.02)`), so that what is measured has a core to itself.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast
from urllib.request import urlopen

import uvloop

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Sink(asyncio.Protocol):
    """One connection."""

    events = 0
    requests = 0
    seconds = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._parts: list[bytes] = []
        self._missing = 0

    def data_received(self, data: bytes) -> None:
        if not self._missing:
            head, _, rest = data.partition(b"\r\n\r\n")
            if head.startswith(b"GET"):
                count = b"%d %d" % (Sink.events, Sink.requests)
                self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(count), count))
                return
            at = head.lower().index(b"content-length:") + 15
            self._missing = int(head[at:].split(b"\r\n", 1)[0])
            data = rest
        self._parts.append(data)
        self._missing -= len(data)
        if not self._missing:
            Sink.events += b"".join(self._parts).count(b'"eid"')
            Sink.requests += 1
            self._parts = []
            if Sink.seconds:
                asyncio.get_running_loop().call_later(Sink.seconds, self._transport.write, _OK)
            else:
                self._transport.write(_OK)


@contextmanager
def http_sink(*, seconds: float = 0.0, port: int = 0) -> Iterator[str]:
    """A sink that answers after so many seconds; its URL."""
    arguments = [sys.executable, __file__, str(seconds), str(port)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def events_taken(url: str) -> int:
    """How many events a sink has."""
    return _counts(url)[0]


def requests_taken(url: str) -> int:
    """How many requests it has had."""
    return _counts(url)[1]


def _counts(url: str) -> tuple[int, int]:
    with urlopen(f"{url}/count") as response:
        events, requests = response.read().split()
    return int(events), int(requests)


def wait_for_events(url: str, count: int, *, timeout: float = 300.0) -> None:
    """Wait, in a thread, until a sink has so many events."""
    deadline = time.monotonic() + timeout
    while events_taken(url) < count:
        assert time.monotonic() < deadline, f"{events_taken(url)} of {count} after {timeout} s"
        time.sleep(0.05)


async def _main(seconds: float, port: int) -> None:
    Sink.seconds = seconds
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", port)
    print("http://{}:{}".format(*server.sockets[0].getsockname()), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_main(float(sys.argv[1]), int(sys.argv[2])))
