"""The servers that a fan-out is measured with beside the gateway's command: three floors, and one event at a time.

`fanout_servers.py KIND READERS COUNT SIZE` prints the port that it listens on. At a line on stdin it sends COUNT
messages to each of the READERS that have connected; SIZE is that of a message, its frame's head included. The kinds:

- `send` writes the ready bytes of each message to each socket, with one system call,
- `joined` does so with as many messages a call as go into 128 KiB,
- `broadcast` is `websockets.broadcast()`,
- `gateway` is ours, on a log in memory that is read one event at a time; its messages have a size of their own,
- `paced` is ours, too, on a log in memory that gets stamped events at a pace that makes 100,000 deliveries a second.
"""

import asyncio
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial

import uvloop
from support.fanout import DELIVERIES_A_SECOND, page_view
from websockets.asyncio.server import ServerConnection, broadcast, serve

from snowbus.bus.event import EVENTS_TOPIC, Record
from snowbus.bus.log.embedded_reader import EmbeddedReader
from snowbus.bus.log.interface import Log, Offsets, Reader
from snowbus.bus.log.memory import MemoryLog
from snowbus.bus.metrics import Metrics
from snowbus.bus.settings import Settings
from snowbus.cli.running import collect_garbage_seldom
from snowbus.consumers.gateway.server import run_gateway

HELLO = b"\x81\x05hello"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
MAX_WRITE_BYTES = 131_072


def told_to() -> bool:
    """Wait for a line on stdin; False at its end."""
    return bool(sys.stdin.readline())


def send(readers: int, count: int, size: int, *, joined: int = 1) -> None:
    """Write ready bytes to blocking sockets, one after the other."""
    frame = b"\x81\x7e%c%c" % divmod(size - 4, 256) + b"x" * (size - 4)
    with socket.create_server(("127.0.0.1", 0), backlog=readers) as server:
        print(server.getsockname()[1], flush=True)
        connections = []
        for _ in range(readers):
            connection, _ = server.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as asyncio does
            connection.recv(4096)
            connection.sendall(SWITCHED + HELLO)
            connections.append(connection)
        told_to()
        for start in range(0, count, joined):
            frames = frame * min(joined, count - start)
            for connection in connections:
                connection.sendall(frames)
        told_to()


async def send_broadcast(count: int, size: int) -> None:
    """Give each message to `broadcast()`."""
    connected: set[ServerConnection] = set()

    async def handle(connection: ServerConnection) -> None:
        await connection.send("hello")
        connected.add(connection)
        await connection.wait_closed()

    message = "x" * (size - 4)
    async with serve(handle, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await asyncio.to_thread(told_to)
        for _ in range(count):
            broadcast(connected, message)
            await asyncio.sleep(0)
        await asyncio.to_thread(told_to)


class OneByOneReader(EmbeddedReader):
    """Reads one record at a time, however many there are, and lets the event loop write what came of it."""

    async def poll(self, *, max_records: int = 500, timeout: float = 1.0) -> list[Record]:
        del max_records
        await asyncio.sleep(0)
        return await super().poll(max_records=1, timeout=timeout)


class OneByOneLog(MemoryLog):
    """A log in memory that is read one record at a time."""

    async def read(self, offsets: Offsets) -> Reader:
        await super().read(offsets)
        return OneByOneReader(self, offsets)


async def append_paced(log: Log, count: int, *, rate: float) -> None:
    """Append events one by one, each with the time as its key."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    for number in range(count):
        await asyncio.sleep(max(0.0, started + number / rate - loop.time()))
        await log.append(EVENTS_TOPIC, [page_view(number, user=str(time.monotonic_ns()))])


async def run_gateway_here(log: Log, append: Callable[[], Awaitable[object]]) -> None:
    """Run the gateway; at a line on stdin its log gets its events."""
    stop = asyncio.Event()
    settings = Settings(gateway_listen="127.0.0.1:0", gateway_heartbeat=3600, gateway_ping=3600)
    async with log:
        tell = partial(print, flush=True)
        running = asyncio.create_task(
            run_gateway(log, settings, Metrics(), ready=lambda address: tell(address.rpartition(":")[2]), stop=stop)
        )
        await asyncio.to_thread(told_to)
        await append()
        await asyncio.to_thread(told_to)
        stop.set()
        await running


def main() -> None:
    kind, readers, count, size = sys.argv[1], *map(int, sys.argv[2:])
    collect_garbage_seldom()
    match kind:
        case "send":
            send(readers, count, size)
        case "joined":
            send(readers, count, size, joined=MAX_WRITE_BYTES // size)
        case "broadcast":
            uvloop.run(send_broadcast(count, size))
        case "gateway":
            log, events = OneByOneLog(), [page_view(number) for number in range(count)]
            uvloop.run(run_gateway_here(log, partial(log.append, EVENTS_TOPIC, events)))
        case "paced":
            log = MemoryLog()
            rate = DELIVERIES_A_SECOND / readers
            uvloop.run(run_gateway_here(log, partial(append_paced, log, count, rate=rate)))


if __name__ == "__main__":
    main()
