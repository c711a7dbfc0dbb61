"""Requests of every kind to ingest, made by chance from a seed, and what is known of each before it is sent."""

import asyncio
import contextlib
import gzip
import json
import random
import socket
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from support.ingest import PAYLOAD_DATA, TP2

TYPES = ("pv", "pp", "ue", "se", "tr", "ti")
TEXTS = ("", "a", "0", "é", "🧀", "\ud83d", "\x00", "a b+c&d=e", "null", "{}", "[1", '"', "x" * 3_000, "-1", "1e999")
JUNK: tuple[Any, ...] = (
    None,
    7,
    10**40,
    -0.0,
    True,
    "text",
    [],
    [[]],
    {},
    {"e": "xx"},
    {"e": 1},
    {"e": "pv", "aid": 7},
)
METHODS = ("GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "TRACE", "PATCH", "get", "X" * 50)
PATHS = (
    "/",
    "/i",
    "/ice.png",
    "/tracking",
    TP2,
    "/com.acme/v1",
    "/r/tp2",
    "/r/x",
    "/health",
    "/a/b/c",
    "//",
    "/%2e%2e/x",
)
HEADERS = (
    "Origin: https://shop.example",
    "Origin: null",
    "Origin: a\tb",
    "Cookie: sp=known",
    "Cookie: sp=;sp=\xff; x",
    "SP-Anonymous: *",
    "X-Forwarded-For: 1.2.3.4, nonsense, [::1]:80",
    "User-Agent: " + "u" * 5_000,
    "Upgrade: h2c",
    "Content-Encoding: br",
    "Transfer-Encoding: gzip",
    "Content-Type: application/x-www-form-urlencoded",
    "Content-Type: application/json; charset=utf-16",
    "Accept: */*",
    "Connection: Upgrade",
)


@dataclass
class Sent:
    """The bytes of a request (or of what is not even one), in the pieces they are sent in."""

    pieces: list[bytes]
    accepted: list[str] = field(default_factory=list)
    """The ids of the events in it that must be on the log after a 200, and must not be there without it."""
    exact: bool = True
    """Whether that is known: not of what was mangled."""


class Fuzzer:
    """Makes requests. The ids of their events are such that no mangled one is another's."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def next(self) -> Sent:
        """Another request."""
        makers = (self._batch, self._plain, self._query, self._click, self._odd, self._large, self._noise)
        sent = self._chance.choices(makers, weights=(30, 15, 15, 5, 10, 1, 3))[0]()
        if self._chance.random() < 0.3:
            return self._mangled(sent)
        if self._chance.random() < 0.2:
            sent.pieces = self._cut(b"".join(sent.pieces))
        return sent

    def _batch(self) -> Sent:
        items, accepted = self._items(self._payload)
        path = self._chance.choice((TP2, "/com.acme/v1", "/tracking"))
        return Sent([self._post(path, _payload_data(items))], accepted)

    def _plain(self) -> Sent:
        items, accepted = self._items(self._plain_event)
        whole = items[0] if len(items) == 1 and not isinstance(items[0], list) else items
        return Sent([self._post("/tracking", json.dumps(whole).encode())], accepted)

    def _query(self) -> Sent:
        eid = self._id()
        good = self._chance.random() < 0.7
        payload = self._payload(eid) if good else {"eid": eid, "e": self._chance.choice(TEXTS)}
        path = self._chance.choice(("/i", "/ice.png", "/tracking", TP2, "/com.acme/v1"))
        return Sent([self._head("GET", f"{path}?{_query_of(payload)}")], [eid] if good else [])

    def _click(self) -> Sent:
        eid = self._id()
        target, good = self._chance.choice(
            (("https://shop.example/", True), ("https://evil.example", False), ("", False))
        )
        query = _query_of({"u": target, "eid": eid, "aid": self._chance.choice(TEXTS)})
        return Sent([self._head("GET", f"/r/tp2?{query}")], [eid] if good else [])

    def _odd(self) -> Sent:
        """A method, a path and headers that do not go together."""
        method, path = self._chance.choice(METHODS), self._chance.choice(PATHS)
        body = self._chance.choice((b"", b"{}", b"[]", b"\xff", b"[" * 100_000, b'{"schema":"iglu:x","data":1}'))
        headers = self._chance.sample(HEADERS, self._chance.randint(0, 4))
        return Sent([self._post(f"{path}?e=xx", body, *headers, method=method)], exact=False)

    def _large(self) -> Sent:
        """What is over a bound: a body, a packed body, a head, events that are refused by the thousand."""
        body = self._chance.choice(
            (b"x" * 300_000, _payload_data([{"e": "pv", "page": "x" * 300_000}]), b"[" + b"1," * 99_999)
        )
        match self._chance.randrange(4):
            case 0:
                return Sent([self._post(TP2, body)])
            case 1:
                packed = gzip.compress(b"0" * 30_000_000)
                return Sent([self._post(TP2, packed, "Content-Encoding: gzip")])
            case 2:
                return Sent([self._post(TP2, b"{}", "A: " + "a" * 70_000)])
            case _:
                return Sent([self._post("/tracking", json.dumps([7] * 3_000).encode())])

    def _noise(self) -> Sent:
        return Sent([self._chance.randbytes(self._chance.randint(1, 300)) + b"\r\n\r\n"], exact=False)

    def _items(self, make: Any) -> tuple[list[Any], list[str]]:
        """Events, some of which are none, and the ids of those that are."""
        items, accepted = [], []
        for _ in range(self._chance.choice((1, 1, 1, 2, 5, 30))):
            eid = self._id()
            if self._chance.random() < 0.8:
                items.append(make(eid))
                accepted.append(eid)
            else:
                items.append(self._chance.choice(JUNK))
        return items, accepted

    def _payload(self, eid: str) -> dict[str, str]:
        codes = self._chance.sample(("aid", "url", "page", "uid", "duid", "nuid", "ue_px", "cx", "co", "dtm", "zz"), 4)
        odd = {code: self._chance.choice(TEXTS) for code in codes}
        return {"e": self._chance.choice(TYPES), "eid": eid} | odd

    def _plain_event(self, eid: str) -> dict[str, Any]:
        data = self._chance.choice(({}, [], 1, None, {"a": [{}]}, {"big": 10**30}))
        return self._chance.choice(
            (
                {"schema": "iglu:com.acme/x/jsonschema/1-0-0", "data": data, "event_id": eid},
                {"event": "page_view", "page_url": "not a url", "event_id": eid},
                {"e": "se", "se_va": 1.5, "eid": eid, "co": {"any": data}},
            )
        )

    def _id(self) -> str:
        return f"{self._chance.getrandbits(64):016x}"

    def _post(self, path: str, body: bytes, *headers: str, method: str = "POST") -> bytes:
        """A request with a body: as it is, packed, or in chunks."""
        way = self._chance.randrange(4) if not headers else 0
        if way == 1:
            body, headers = gzip.compress(body), ("Content-Encoding: gzip",)
        if way == 2:
            return self._head(method, path, "Transfer-Encoding: chunked") + self._chunks(body)
        return self._head(method, path, f"Content-Length: {len(body)}", *headers) + body

    def _head(self, method: str, target: str, *headers: str) -> bytes:
        lines = [f"{method} {target} HTTP/1.1", "Host: x", "Connection: close", *headers]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def _chunks(self, body: bytes) -> bytes:
        pieces = [piece for piece in self._cut(body) if piece]
        return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"

    def _cut(self, whole: bytes) -> list[bytes]:
        cuts = sorted(self._chance.randrange(len(whole) + 1) for _ in range(self._chance.randint(0, 3)))
        return [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]

    def _mangled(self, sent: Sent) -> Sent:
        """The same bytes with a few of them replaced, dropped, doubled or added."""
        mangled = bytearray(b"".join(sent.pieces)[:20_000])
        for _ in range(self._chance.randint(1, 6)):
            at = self._chance.randrange(len(mangled))
            match self._chance.randrange(4):
                case 0:
                    mangled[at] = self._chance.randrange(256)
                case 1:
                    del mangled[at : at + self._chance.randint(1, 10)]
                case 2:
                    mangled[at:at] = mangled[at : at + self._chance.randint(1, 30)]
                case _:
                    mangled[at:at] = self._chance.randbytes(self._chance.randint(1, 5))
            mangled = mangled or bytearray(b"x")
        return Sent(self._cut(bytes(mangled)), exact=False)


@dataclass
class Answer:
    """An answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def tally(self) -> dict[str, Any] | None:
        """What it says of the events in the request, where it says that."""
        told = json.loads(self.body) if self.headers.get("content-type") == "application/json" and self.body else {}
        return told if "refused" in told else None

    @property
    def kept(self) -> int:
        """How many records there must be on `snowbus.bad` for it."""
        if self.status == 200 and (tally := self.tally) is not None:
            return tally["refused"] if tally["refused"] <= 1_000 else 1
        understood_as_http = self.headers.get("content-type") == "application/json"
        return int(self.status == 413 or (self.status == 400 and understood_as_http))


async def exchange(address: tuple[str, int], pieces: list[bytes], *, timeout: float, is_all: bool = False) -> bytes:
    """What comes back, until the server closes, also when it does that before all is sent; it may be told that what
    was sent `is_all`.
    """
    loop = asyncio.get_running_loop()
    received = bytearray()
    with socket.socket() as client:
        client.setblocking(False)
        async with asyncio.timeout(timeout):
            await loop.sock_connect(client, address)
            with contextlib.suppress(ConnectionError):
                for piece in pieces:
                    await loop.sock_sendall(client, piece)
                    await asyncio.sleep(0)
                if is_all:
                    with contextlib.suppress(OSError):  # it is closed already
                        client.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                while block := await loop.sock_recv(client, 65_536):
                    received += block
    return bytes(received)


def read_answers(data: bytes) -> list[Answer]:
    """The answers in what came back on one connection."""
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        size = int(headers.get("content-length", 0))
        found.append(Answer(int(status.split()[1]), headers, data[:size]))
        data = data[size:]
    return found


def _query_of(payload: dict[str, str]) -> str:
    return "&".join(f"{quote(code)}={quote(text.encode('utf-8', 'surrogatepass'))}" for code, text in payload.items())


def _payload_data(items: list[Any]) -> bytes:
    return json.dumps({"schema": PAYLOAD_DATA, "data": items}).encode()
