"""Does what websocket_sink.c does, where there is no compiler: more slowly, so that it may be what is measured."""

import argparse
import json
import re
import selectors
import socket
import sys
import time
from dataclasses import dataclass, field

BUFFER = 131_072
HEAD = 512
FIRST_SECONDS = 30.0
REQUEST = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{header}\r\n"
)
EVENT = re.compile(rb'\{"type":"event".*?"partition":(\d+),"offset":(\d+),"timestamp":\d+,"key":"(\d*)')
GAP = re.compile(rb'\{"type":"gap".*?"partition":(\d+),"offset":(\d+)\},"to":.*?"offset":(\d+)')


@dataclass
class Reader:
    """One connection, and what it has had."""

    connection: socket.socket
    sampled: bool
    rest: bytes = b""
    bytes: int = 0
    messages: int = 0
    next: dict[int, int] = field(default_factory=dict)


@dataclass
class Findings:
    """What was seen in the messages of the readers that are looked into."""

    holes: int = 0
    gaps: int = 0
    told: int = 0
    ages: list[float] = field(default_factory=list)

    def look_into(self, reader: Reader, message: bytes) -> None:
        if found := EVENT.match(message):
            partition, offset = int(found[1]), int(found[2])
            self.holes += reader.next.get(partition, offset) != offset
            reader.next[partition] = offset + 1
            if found[3]:
                self.ages.append((time.monotonic_ns() - int(found[3])) / 1e9)
        elif found := GAP.match(message):
            partition, start, end = map(int, found.groups())
            self.holes += reader.next.get(partition, start) != start
            reader.next[partition] = end
            self.gaps += 1
            self.told += end - start


def connect(port: int, path: str, header: str) -> socket.socket:
    """Shake hands, and take the first message, whole."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(REQUEST.format(path=path, port=port, header=header and f"{header}\r\n").encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1, socket.MSG_WAITALL) or sys.exit("the server closed a connection")
    if not head.startswith(b"HTTP/1.1 101"):
        sys.exit(head.decode())
    length = connection.recv(2, socket.MSG_WAITALL)[1]
    if length == 126:
        length = int.from_bytes(connection.recv(2, socket.MSG_WAITALL))
    connection.recv(length, socket.MSG_WAITALL)
    connection.setblocking(False)
    return connection


def parse(reader: Reader, data: bytes, findings: Findings) -> None:
    """Count the messages that are complete, and look into them where that is asked for."""
    data = reader.rest + data
    place = 0
    while len(data) >= place + 2:
        length, header = data[place + 1] & 127, 2
        if length > 125:
            header = 4 if length == 126 else 10
            if len(data) < place + header:
                break
            length = int.from_bytes(data[place + 2 : place + header])
        if len(data) < place + header + length:
            break
        if not data[place] & 8:  # no ping, no close
            reader.messages += 1
            if reader.sampled:
                findings.look_into(reader, data[place + header : place + header + min(length, HEAD)])
        place += header + length
    reader.rest = data[place:]


def take(readers: list[Reader], wanted: int, quiet: float, findings: Findings) -> dict[str, object]:
    """Take what comes until each reader has had so many messages, or nothing comes for `quiet` seconds."""
    selector = selectors.DefaultSelector()
    for reader in readers:
        selector.register(reader.connection, selectors.EVENT_READ, reader)
    missing = sum(reader.messages < wanted for reader in readers)
    first = last = 0.0
    cpu = time.process_time()
    while missing and (ready := selector.select(quiet if first else FIRST_SECONDS)):
        first = first or time.perf_counter()
        for key, _ in ready:
            reader = key.data
            data = reader.connection.recv(BUFFER) or sys.exit("the server closed a connection")
            lacking = reader.messages < wanted
            reader.bytes += len(data)
            parse(reader, data, findings)
            missing -= lacking and reader.messages >= wanted
        last = time.perf_counter()
    selector.close()
    found = {"holes": findings.holes, "gaps": findings.gaps, "told": findings.told, "ages": sorted(findings.ages)}
    findings.ages = []
    counts = {"bytes": [reader.bytes for reader in readers], "messages": [reader.messages for reader in readers]}
    return {"seconds": last - first, "cpu": time.process_time() - cpu, **counts, **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    for name in ("connections", "sampled", "stalled"):
        parser.add_argument(name, type=int)
    parser.add_argument("header", nargs="?", default="")
    asked = parser.parse_args()
    others = asked.connections - asked.stalled
    readers = []
    for number in range(asked.connections):
        nth = number - asked.stalled  # the sampled ones are spread evenly over those that are not stalled
        sampled = nth < 0 or nth * asked.sampled // others != (nth + 1) * asked.sampled // others
        readers.append(Reader(connect(asked.port, asked.path, asked.header), sampled))
    print("connected", flush=True)
    findings = Findings()
    for line in sys.stdin:
        which, wanted, quiet = line.split()
        asked_for = readers if which == "all" else readers[asked.stalled :]
        print(json.dumps(take(asked_for, int(wanted), int(quiet) / 1000, findings)), flush=True)


if __name__ == "__main__":
    main()
