"""Deliveries a second of the gateway to many readers, beside what the bare sockets and `websockets.broadcast()` do."""

import asyncio
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

import pytest
from support.fanout import (
    DELIVERIES_A_SECOND,
    Usage,
    gateway_command,
    page_view,
    pin,
    report,
    report_head,
    resident,
    sink,
)

from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.log import Log, open_log

SERVERS = Path(__file__).with_name("fanout_servers.py")
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
BIG_RING = ("--ring-events", "60000", "--ring-bytes", "500000000")


class Load(NamedTuple):
    """How many readers, and how many events each of the measurements sends them."""

    readers: int
    backlog: int
    singly: int
    paced: int


LOADS = [Load(200, 25_000, 2_000, 1_000), Load(1_000, 8_000, 400, 300)]


class Figure(NamedTuple):
    """Deliveries a CPU second of the server, and the bytes of a message."""

    rate: float
    size: int


def measure_server(kind: str, what: str, load: Load, *, count: int, size: int, header: str = "") -> Figure:
    """Let one of the servers in SERVERS send so many messages to each reader, who ask with that header."""
    command = [sys.executable, SERVERS, kind, str(load.readers), str(count), str(size)]
    variables = {**os.environ, "PYTHONPATH": str(SERVERS.parents[1])}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables) as server:
        assert server.stdout
        assert server.stdin
        try:
            pin(server.pid)
            port, sampled = int(server.stdout.readline()), 20 if kind == "paced" else 0
            with sink(port, load.readers, sampled=sampled, header=header) as readers:
                used = Usage(server.pid)
                readers.begin(count)
                print(file=server.stdin, flush=True)
                taken = readers.result()
                cpu, writes = used.cpu(), used.writes()
                assert set(taken.messages) == {count}
                deliveries = count * load.readers
                more = taken.percentiles() if kind == "paced" else ""
                if kind == "gateway":
                    more = f"{deliveries / writes:.1f} a write"
                rate = report(what, deliveries=deliveries, seconds=taken.seconds, cpu=cpu, more=more)
                return Figure(rate, taken.bytes[0] // count)
        finally:
            server.kill()


def events_sent(port: int) -> int:
    """How many events the gateway has handed to its sockets."""
    with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        found = re.search(
            r'^snowbus_gateway_messages_total\{type="event"\} (\S+)', answer.read().decode(), re.MULTILINE
        )
    return int(float(found[1])) if found else 0


async def make_backlog(log: Log, port: int, events: int) -> None:
    """Append events in batches while one reader reads them, so that their messages are made and in the ring."""
    with sink(port, 1) as watcher:
        watcher.begin(events)
        for start in range(0, events, 500):
            await log.append(EVENTS_TOPIC, [page_view(number) for number in range(start, start + 500)])
        taken = await asyncio.to_thread(watcher.result)
        assert (taken.messages, taken.holes) == ([events], 0)


async def measure_backlog(log: Log, port: int, pid: int, load: Load, what: str, *, header: str = "") -> Figure:
    """Let all readers catch up with a full ring."""
    with sink(port, 1):  # what is made once is there
        before = resident(pid)
        with sink(port, load.readers, sampled=0, header=header) as readers:
            print(f"  {(resident(pid) - before) / load.readers / 1000:.1f} kB an idle connection")
            await make_backlog(log, port, load.backlog)
            sent, used = events_sent(port), Usage(pid)
            taken = await asyncio.to_thread(readers.take, load.backlog)
            cpu = used.cpu()
            assert set(taken.messages) == {load.backlog}
            deliveries = (load.readers + 2) * load.backlog - sent
            return Figure(
                report(what, deliveries=deliveries, seconds=taken.seconds, cpu=cpu), taken.bytes[0] // load.backlog
            )


async def publish_singly(log: Log, count: int, *, rate: float) -> list[float]:
    """Append stamped events one by one; returns the seconds that each append took, sorted."""
    took = []
    started = time.monotonic()
    for number in range(count):
        await asyncio.sleep(max(0.0, started + number / rate - time.monotonic()))
        stamp = time.monotonic_ns()
        await log.append(EVENTS_TOPIC, [page_view(number, user=str(stamp))])
        took.append((time.monotonic_ns() - stamp) / 1e9)
    return sorted(took)


async def measure_latency(log: Log, port: int, pid: int, load: Load) -> None:
    """Events one by one, at a steady pace."""
    rate = DELIVERIES_A_SECOND / load.readers
    with sink(port, load.readers, sampled=20) as readers:
        used = Usage(pid)
        readers.begin(load.paced)
        took = await publish_singly(log, load.paced, rate=rate)
        taken = await asyncio.to_thread(readers.result)
        cpu = used.cpu()
        assert (set(taken.messages), taken.holes) == ({load.paced}, 0)
        report(
            f"gateway, {rate:,.0f} events/s of another process",
            deliveries=load.paced * load.readers,
            seconds=taken.seconds,
            cpu=cpu,
            more=f"{taken.percentiles()}; the append {took[len(took) // 2] * 1000:.1f} ms",
        )


async def measure_command(load: Load) -> tuple[Figure, Figure]:
    """Measure the gateway as users run it: a backlog, and the same compressed."""
    with gateway_command(*BIG_RING) as (url, port, pid):
        async with await open_log(url) as log:
            plain = await measure_backlog(log, port, pid, load, "gateway, backlog in the ring")
            await measure_latency(log, port, pid, load)
    with gateway_command(*BIG_RING) as (url, port, pid):
        async with await open_log(url) as log:
            return plain, await measure_backlog(log, port, pid, load, "gateway, backlog, compressed", header=DEFLATE)


def compared(plain: Figure, compressed: Figure) -> str:
    """What compression saves and costs, in words."""
    return (
        f"{compressed.size / plain.size:.0%} of the bytes, {compressed.rate / plain.rate:.0%} of the deliveries a CPU "
        "second"
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize("load", LOADS, ids=lambda load: f"{load.readers} readers")
def test_fan_out(load: Load) -> None:
    report_head(f"Fan-out to {load.readers} readers")
    backlog, squeezed = asyncio.run(measure_command(load))
    size = backlog.size
    rate = DELIVERIES_A_SECOND // load.readers
    measure_server("paced", f"gateway, {rate} events/s of its own process", load, count=load.paced, size=size)
    joined = measure_server("joined", "floor: send 128 KiB of ready messages", load, count=load.backlog, size=size)
    one = "gateway, one event at a time"
    singly = measure_server("gateway", one, load, count=load.singly, size=size)
    pressed = measure_server("gateway", f"{one}, compressed", load, count=load.singly, size=size, header=DEFLATE)
    floor = measure_server("send", "floor: send each ready message", load, count=load.singly, size=size)
    library = measure_server("broadcast", "floor: websockets.broadcast()", load, count=load.singly, size=size)
    print(
        f"  messages of {size} bytes; a CPU second: backlog {backlog.rate / joined.rate:.0%} of joined sends, ", end=""
    )
    print(
        f"{backlog.rate / library.rate:.1f} of broadcast(); one by one {singly.rate / floor.rate:.0%} of sends, ",
        end="",
    )
    print(f"{singly.rate / library.rate:.1f} of broadcast()")
    print(f"  compressed: backlog {compared(backlog, squeezed)}; one by one {compared(singly, pressed)}")
