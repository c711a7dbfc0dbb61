"""Takes what a websocket server sends on many connections, as cheaply as Python allows, and prints what it counted.

It says `connected`; at each line on stdin it takes everything, until nothing has come for half a second.
"""

import argparse
import json
import re
import selectors
import socket
import sys
import time
from typing import Any

BUFFER = 1 << 20
QUIET_SECONDS = 0.5
STAMP = re.compile(rb'"page":"@(\d+)@')
REQUEST = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def connect(port: int, path: str) -> socket.socket:
    """Shake hands, and take the first message, whole."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(REQUEST.format(path=path, port=port).encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    length = connection.recv(2, socket.MSG_WAITALL)[1]
    if length == 126:
        length = int.from_bytes(connection.recv(2, socket.MSG_WAITALL))
    connection.recv(length, socket.MSG_WAITALL)
    connection.setblocking(False)
    return connection


def take(connections: list[socket.socket], sampled: int) -> dict[str, Any]:
    """Take what comes: seconds from first to last byte, bytes by connection, and ages of the stamped events of some."""
    selector = selectors.DefaultSelector()
    taken = dict.fromkeys(connections, 0)
    samples = set(connections[:: max(1, len(connections) // sampled)]) if sampled else set()
    ages: list[float] = []
    for connection in connections:
        selector.register(connection, selectors.EVENT_READ)
    buffer = bytearray(BUFFER)
    view = memoryview(buffer)
    first = last = 0.0
    while ready := selector.select(QUIET_SECONDS if first else None):
        first = first or time.perf_counter()
        for key, _ in ready:
            count = key.fileobj.recv_into(view)
            if not count:
                raise SystemExit("the server closed a connection")
            taken[key.fileobj] += count
            if key.fileobj in samples:
                now = time.monotonic_ns()
                ages += [(now - int(stamp)) / 1e9 for stamp in STAMP.findall(buffer, 0, count)]
        last = time.perf_counter()
    return {"seconds": last - first, "bytes": list(taken.values()), "ages": sorted(ages)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--path", default="/v1/events")
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--sampled", type=int, default=0)
    arguments = parser.parse_args()
    connections = [connect(arguments.port, arguments.path) for _ in range(arguments.connections)]
    print("connected", flush=True)
    for _ in sys.stdin:
        print(json.dumps(take(connections, arguments.sampled)), flush=True)


if __name__ == "__main__":
    main()
