"""Deliveries a second of the gateway to many readers, beside `websockets.broadcast()` with the same messages."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.gateway import numbered
from support.snowbus import COMMAND, Process
from websockets.asyncio.client import ClientConnection, connect

from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.log import Log, open_log

SINK = Path(__file__).with_name("websocket_sink.py")
READERS = 200
BACKLOG = 20_000
SINGLY = 1_500
RATE = 500
SETTINGS = ("--heartbeat", "3600", "--ping", "3600", "--ring-events", "60000", "--ring-bytes", "500000000")
BROADCAST = """
import asyncio, sys
import uvloop
from websockets.asyncio.server import broadcast, serve
async def main():
    count, size = map(int, sys.argv[1:])
    message = "x" * (size - 4)
    connected = set()
    async def handle(connection):
        await connection.send("hello")
        connected.add(connection)
        await connection.wait_closed()
    async with serve(handle, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        for _ in range(count):
            broadcast(connected, message)
            await asyncio.sleep(0)
        await server.wait_closed()
uvloop.run(main())
"""


class Sink:
    """Many readers in a process of their own."""

    def __init__(self, port: int, *, sampled: int = 0) -> None:
        command = [sys.executable, SINK, str(port), "--connections", str(READERS), "--sampled", str(sampled)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._line() == "connected"

    def begin(self) -> None:
        """Take what comes from now on."""
        assert self.process.stdin
        print(file=self.process.stdin, flush=True)

    def result(self, *, size: int) -> dict[str, Any]:
        """What came of it, once it is over; each reader must have had `size` bytes."""
        found: dict[str, Any] = json.loads(self._line())
        assert set(found["bytes"]) == {size}
        return found

    def _line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()


@contextlib.contextmanager
def sink(port: int, *, sampled: int = 0) -> Iterator[Sink]:
    opened = Sink(port, sampled=sampled)
    with opened.process:
        try:
            yield opened
        finally:
            opened.process.kill()


class Usage:
    """The CPU seconds that a process has used since, as the kernel counts them."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._began = self._read()

    def cpu(self) -> float:
        return self._read() - self._began

    def _read(self) -> float:
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def size_of(watcher: ClientConnection, messages: int) -> int:
    """Read so many messages; returns their bytes on the wire."""
    size = 0
    for _ in range(messages):
        length = len(await watcher.recv(decode=False))
        size += length + (2 if length < 126 else 4 if length < 65_536 else 10)
    return size


async def publish_singly(log: Log, count: int, *, rate: float) -> float:
    """Append stamped events one by one; returns the seconds that an append took, at the median."""
    took = []
    started = time.monotonic()
    for number in range(count):
        await asyncio.sleep(max(0.0, started + number / rate - time.monotonic()))
        stamp = time.monotonic_ns()
        await log.append(EVENTS_TOPIC, [numbered(number, page=f"@{stamp}@")])
        took.append((time.monotonic_ns() - stamp) / 1e9)
    return sorted(took)[count // 2]


def report(what: str, *, events: int, seconds: float, cpu: float, more: str = "") -> float:
    """Print a figure; returns the deliveries a second."""
    deliveries = events * READERS
    rate = deliveries / seconds
    print(f"  {what:<36} {rate:>11,.0f} deliveries/s {cpu * 1e6 / deliveries:6.2f} CPU s/M  {more}")
    return rate


async def backlog(log: Log, watcher: ClientConnection, port: int, pid: int) -> tuple[float, int]:
    """Let all readers catch up with a full ring; returns the deliveries a second and the bytes of a message."""
    before = resident(pid)
    with sink(port) as readers:
        memory = (resident(pid) - before) / READERS
        used, started = Usage(pid), time.perf_counter()
        reading = asyncio.create_task(size_of(watcher, BACKLOG))  # the one reader who reads now: messages are made
        for start in range(0, BACKLOG, 500):
            await log.append(EVENTS_TOPIC, [numbered(number) for number in range(start, start + 500)])
        size = await reading
        seconds = time.perf_counter() - started
        print(f"  {memory / 1000:.0f} kB an idle connection, messages of {size // BACKLOG} bytes; ", end="")
        print(f"to one reader {BACKLOG / seconds:,.0f} events/s at {used.cpu() * 1e6 / BACKLOG:.0f} CPU s/M")
        used = Usage(pid)
        readers.begin()
        seconds = (await asyncio.to_thread(readers.result, size=size))["seconds"]
        return report("backlog in the ring", events=BACKLOG, seconds=seconds, cpu=used.cpu()), size // BACKLOG


async def unbatched(log: Log, watcher: ClientConnection, port: int, pid: int, *, rate: float) -> None:
    """Events one by one, each sent by itself."""
    with sink(port, sampled=10) as readers:
        used = Usage(pid)
        reading = asyncio.create_task(size_of(watcher, SINGLY))
        readers.begin()
        append = await publish_singly(log, SINGLY, rate=rate)
        result = await asyncio.to_thread(readers.result, size=await reading)
        ages = result["ages"]
        p50, p99 = ages[len(ages) // 2] * 1000, ages[len(ages) * 99 // 100] * 1000
        what = f"one by one, {rate:,.0f} events/s" if rate < 1e6 else "one by one, as the log flushes"
        more = f"p50 {p50:.1f} ms p99 {p99:.1f} ms after the call of append, which took {append * 1000:.1f} ms"
        report(what, events=SINGLY, seconds=result["seconds"], cpu=used.cpu(), more=more)


async def measure_gateway(url: str, port: int, pid: int) -> tuple[float, int]:
    address = f"ws://127.0.0.1:{port}/v1/events"
    async with await open_log(url) as log, connect(address, max_size=None, compression=None) as watcher:
        await watcher.recv()
        figures = await backlog(log, watcher, port, pid)
        await unbatched(log, watcher, port, pid, rate=RATE)
        await unbatched(log, watcher, port, pid, rate=1e9)
        return figures


def measure_broadcast(size: int) -> float:
    """What `websockets.broadcast()` does with messages of the same size, for as many readers."""
    count = BACKLOG // 5
    command = [sys.executable, "-c", BROADCAST, str(count), str(size)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        assert server.stdin
        try:
            with sink(int(server.stdout.readline())) as readers:
                used = Usage(server.pid)
                readers.begin()
                print(file=server.stdin, flush=True)
                seconds = readers.result(size=count * size)["seconds"]
                return report("websockets.broadcast()", events=count, seconds=seconds, cpu=used.cpu())
        finally:
            server.kill()


@pytest.mark.timeout(300)
def test_fan_out(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'log.db'}"
    print(f"\nFan-out to {READERS} readers")
    with Process(
        "gateway", "--log", url, "--listen", "127.0.0.1:0", *SETTINGS, program=COMMAND, cwd=tmp_path
    ) as gateway:
        port = int(gateway.address("gateway").rpartition(":")[2])
        rate, size = asyncio.run(measure_gateway(url, port, gateway.pid))
    floor = measure_broadcast(size)
    print(f"  backlog: {rate / floor:.1f} of websockets.broadcast()")
