"""A strict collector double over a real socket: it checks each request, keeps a ledger by `eid`, and misbehaves when
told to.

Run it in a thread (`with CollectorDouble() as collector`) or as a process (`python -m support.collector_double`), whose
ledger is at `GET /ledger`.
"""

import argparse
import asyncio
import json
import threading
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Self

PATH = "/com.snowplowanalytics.snowplow/tp2"
MAX_BODY_BYTES = 1_048_576

Payload = dict[str, str]


class Request(NamedTuple):
    """A request as it came, and when, in seconds of `time.monotonic`."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def payloads(self) -> list[Payload]:
        """The events in the body."""
        data: list[Payload] = json.loads(self.body)["data"]
        return data


Behaviour = Callable[[asyncio.StreamWriter], Awaitable[bool]]
"""Answers in the place of a good collector. True means that it took the events."""


def status(code: int, body: str = "", **headers: str) -> Behaviour:
    """Answer with a status; `retry_after="1"` is a header."""

    async def answer(writer: asyncio.StreamWriter) -> bool:
        writer.write(_response(code, body.encode(), {name.replace("_", "-"): text for name, text in headers.items()}))
        return 200 <= code < 300

    return answer


def close_before_answer() -> Behaviour:
    """Reset the connection without a word."""

    async def answer(writer: asyncio.StreamWriter) -> bool:
        writer.transport.abort()
        return False

    return answer


def close_mid_response(sent: bytes = b"HTTP/1.1 200 OK\r\nContent-Le") -> Behaviour:
    """Break off in the middle of an answer."""

    async def answer(writer: asyncio.StreamWriter) -> bool:
        writer.write(sent)
        await writer.drain()
        writer.close()
        return False

    return answer


def hang(seconds: float) -> Behaviour:
    """Say nothing for a while, then break off."""

    async def answer(writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(seconds)
        writer.close()
        return False

    return answer


def slow_bytes(every: float, *, count: int = 1_000) -> Behaviour:
    """Begin a good answer and let its body trickle, never to its end."""

    async def answer(writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        for _ in range(count):
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(every)
        writer.close()
        return False

    return answer


def late(seconds: float) -> Behaviour:
    """Take the events, and say so after a while."""

    async def answer(writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(seconds)
        writer.write(_response(200, b"ok"))
        return True

    return answer


@dataclass
class CollectorDouble:
    """A collector that takes what a real one would and is strict about it.

    `violations` says what no forwarder should ever have sent. `poison` marks events that make a request a 400,
    `max_accepted_bytes` bodies that make it a 413, and `respond` queues behaviours for the next requests.
    """

    path: str = PATH
    host: str = "127.0.0.1"
    port: int = 0
    seconds: float = 0.0
    poison: Callable[[Payload], bool] | None = None
    max_accepted_bytes: int = MAX_BODY_BYTES
    requests: list[Request] = field(default_factory=list)
    accepted: list[Payload] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    _behaviours: deque[Behaviour] = field(default_factory=deque)
    _always: Behaviour | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self.host}:{self.port}"

    @property
    def event_ids(self) -> list[str]:
        """The `eid` of each event taken, in order of arrival."""
        return [payload.get("eid", "") for payload in list(self.accepted)]

    @property
    def duplicates(self) -> dict[str, int]:
        """The events taken more than once, and how often."""
        return {event_id: times for event_id, times in Counter(self.event_ids).items() if times > 1}

    def respond(self, *behaviours: Behaviour) -> None:
        """Answer the next requests so."""
        self._behaviours.extend(behaviours)

    def always(self, behaviour: Behaviour | None) -> None:
        """Answer every request so, once those queued are used up; None is good again."""
        self._always = behaviour

    # As a thread

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="collector-double", daemon=True)
        self._thread.start()
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def up(self) -> None:
        """Listen, on the same port as before."""
        asyncio.run_coroutine_threadsafe(self.start(), self._loop).result(10)

    def down(self) -> None:
        """Refuse connections and reset those that are open."""
        asyncio.run_coroutine_threadsafe(self.stop(), self._loop).result(10)

    # Inside a loop

    async def start(self) -> None:
        """Listen."""
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._server = await asyncio.start_server(self._connected, self.host, self.port, limit=4 * MAX_BODY_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening, and reset every connection."""
        self._server.close()
        for task, writer in list(self._connections.items()):
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._connections[task] = writer
        task.add_done_callback(self._connections.pop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await _read_request(reader)) and not writer.is_closing():
                await self._answer(request, writer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if request.target == "/ledger":
            writer.write(_response(200, json.dumps(self.ledger()).encode(), {"Content-Type": "application/json"}))
            return
        self.requests.append(request)
        if problem := self._problem(request):
            self.violations.append(problem)
            writer.write(_response(400, problem.encode()))
            return
        if self.seconds:
            await asyncio.sleep(self.seconds)
        behaviour = self._behaviours.popleft() if self._behaviours else self._always
        if behaviour is not None:
            if await behaviour(writer):
                self.accepted.extend(request.payloads)
            return
        if len(request.body) > self.max_accepted_bytes:
            writer.write(_response(413, b"too large"))
        elif self.poison is not None and any(map(self.poison, request.payloads)):
            writer.write(_response(400, b"poison"))
        else:
            self.accepted.extend(request.payloads)
            writer.write(_response(200, b"ok"))

    def ledger(self) -> dict[str, Any]:
        """Everything that a test in another process may ask for."""
        return {"requests": len(self.requests), "accepted": self.accepted, "violations": self.violations}

    def _problem(self, request: Request) -> str:
        content_type = request.headers.get("content-type", "")
        if request.method != "POST" or request.target != self.path:
            return f"{request.method} {request.target}, not POST {self.path}"
        if content_type.partition(";")[0].strip() != "application/json":
            return f"content type {content_type!r}"
        if len(request.body) > MAX_BODY_BYTES:
            return f"a body of {len(request.body)} bytes"
        if "cookie" in request.headers:
            return f"a cookie, {request.headers['cookie']!r}"
        try:
            _check_payload_data(json.loads(request.body.decode(), object_pairs_hook=_unique))
        except ValueError as error:
            return str(error)
        return ""


def _check_payload_data(value: Any) -> None:
    if not isinstance(value, dict) or set(value) != {"schema", "data"}:
        raise ValueError("not a self-describing JSON")
    if value["schema"] != "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4":
        raise ValueError(f"schema {value['schema']!r}")
    if not isinstance(value["data"], list) or not value["data"]:
        raise ValueError("data is no array of events")
    for payload in value["data"]:
        if not isinstance(payload, dict) or not all(isinstance(text, str) for text in payload.values()):
            raise ValueError(f"not a flat object of strings: {payload!r}")
        if not all(payload.get(code) for code in ("tv", "p", "e")):
            raise ValueError(f"an event without tv, p or e: {payload!r}")


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for name, item in pairs:
        if name in value:
            raise ValueError(f"{name} stands twice in an object")
        value[name] = item
    return value


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    head = await reader.readuntil(b"\r\n\r\n")
    line, *fields = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = line.split(" ")
    headers = {name.lower(): text.strip() for name, _, text in (each.partition(":") for each in fields)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, target, headers, body, time.monotonic())


def _response(code: int, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    # A real collector sets a cookie; a forwarder that kept it would give all its events one network user id.
    fields = {"Content-Length": str(len(body)), "Set-Cookie": "sp=made-up; Path=/", **(headers or {})}
    head = "".join(f"{name}: {text}\r\n" for name, text in fields.items())
    return f"HTTP/1.1 {code} Status\r\n{head}\r\n".encode() + body


async def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0.0, help="from a request to its answer")
    arguments = parser.parse_args()
    double = CollectorDouble(port=arguments.port, seconds=arguments.seconds)
    await double.start()
    print(double.url, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
