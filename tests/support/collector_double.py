"""A strict collector double over a real socket: it checks each request, keeps a ledger by `eid`, and misbehaves when
told to.

Run it in a thread (`with CollectorDouble() as collector`) or as a process (`python -m support.collector_double`), whose
ledger is at `GET /ledger`.
"""

import argparse
import asyncio
import json
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

from .collector_faults import (
    Behaviour,
    Early,
    Weather,
    close_before_answer,
    close_mid_response,
    hang,
    late,
    random_weather,
    response,
    slow_bytes,
    status,
)
from .collector_ledger import CONTENT_TYPES, Ledger, Payload, Request, payloads_in, unpacked
from .loop_thread import LoopThread, stop_listening

__all__ = [
    "MAX_BODY_BYTES",
    "MAX_REQUEST_BYTES",
    "PATH",
    "Behaviour",
    "CollectorDouble",
    "Payload",
    "Request",
    "close_before_answer",
    "close_mid_response",
    "hang",
    "late",
    "slow_bytes",
    "status",
]

PATH = "/com.snowplowanalytics.snowplow/tp2"
MAX_BODY_BYTES = 1_048_576
"""What is larger gets its 200, and becomes a bad row."""
MAX_REQUEST_BYTES = 2 * MAX_BODY_BYTES
"""What is larger gets a 413."""


@dataclass
class CollectorDouble(Ledger):
    """A collector that takes what a real one would and is strict about it.

    `violations` says what no forwarder should ever have sent. What a real collector answers with 200 and then loses is
    `lost` here too. Of what is sent well it refuses `poison` with 400, the events in `refused` with the status given
    there, and bodies over `max_accepted_bytes` with 413. `respond` queues behaviours for the next requests; `weather`
    has its say after those. It unpacks gzip only with `takes_gzip`, and wants `authorization` as the header says it.
    """

    path: str = PATH
    host: str = "127.0.0.1"
    port: int = 0
    seconds: float = 0.0
    tls: ssl.SSLContext | None = None
    takes_gzip: bool = False
    authorization: str = ""
    poison: Callable[[Payload], bool] | None = None
    refused: Mapping[str, int] = field(default_factory=dict)
    max_accepted_bytes: int = MAX_BODY_BYTES
    weather: Weather | None = None
    violations: list[str] = field(default_factory=list)
    connections: int = 0
    closed: int = 0
    _behaviours: deque[Behaviour | Early] = field(default_factory=deque)
    _always: Behaviour | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    def respond(self, *behaviours: Behaviour | Early) -> None:
        """Answer the next requests so."""
        self._behaviours.extend(behaviours)

    def always(self, behaviour: Behaviour | None) -> None:
        """Answer every request so, once those queued are used up; None is good again."""
        self._always = behaviour

    # As a thread

    def __enter__(self) -> Self:
        self._thread = LoopThread("collector-double")
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()
        self._thread.close()

    def up(self) -> None:
        """Listen, on the same port as before."""
        self._thread.run(self.start())

    def down(self) -> None:
        """Refuse connections and reset those that are open."""
        self._thread.run(self.stop())

    def hang_up(self) -> None:
        """Close the connections that are open, and go on listening."""

        def close() -> None:
            for writer in self._open.values():
                writer.close()

        self._thread.call_soon(close)

    # Inside a loop

    async def start(self) -> None:
        """Listen."""
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._server = await asyncio.start_server(
            self._connected, self.host, self.port, limit=2 * MAX_REQUEST_BYTES, ssl=self.tls
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening, and reset every connection."""
        await stop_listening(self._server)
        for task, writer in list(self._open.items()):
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._open[task] = writer
        task.add_done_callback(self._open.pop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not writer.is_closing():
                method, target, headers = await _read_head(reader)
                if self._behaviours and isinstance(self._behaviours[0], Early):
                    self.came(Request(method, target, headers, b"", time.monotonic()))
                    await _answer_early(self._behaviours.popleft(), headers, reader, writer)
                    break
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                await self._answer(Request(method, target, headers, body, time.monotonic()), writer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            self.closed += 1

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if request.target == "/ledger":
            writer.write(response(200, json.dumps(self.ledger()).encode(), {"Content-Type": "application/json"}))
            return
        if (refused := self._refuse(request)) is not None:
            self.came(request)
            writer.write(refused)
            return
        request, problem = self._understand(request)
        self.came(request)
        if problem:
            self.lost.extend(request.payloads)
            writer.write(self._violated(problem, 200))
            return
        if self.seconds:
            await asyncio.sleep(self.seconds)
        behaviour = self._next_behaviour()
        if behaviour is not None:
            if await behaviour(writer):
                self.took(request, time.monotonic())
        elif refusal := self._refusal(request):
            writer.write(refusal)
        else:
            self.took(request, time.monotonic())
            writer.write(response(200, b"ok"))

    def _next_behaviour(self) -> Behaviour | None:
        if self._behaviours:
            behaviour = self._behaviours.popleft()
            assert not isinstance(behaviour, Early)  # _serve takes those
            return behaviour
        if self._always is not None:
            return self._always
        return self.weather() if self.weather is not None else None

    def _refuse(self, request: Request) -> bytes | None:
        """What the head of a request, or its size, is answered with, when it is not as it should be."""
        headers = request.headers
        if "cookie" in headers:
            self.violations.append(f"a cookie, {headers['cookie']!r}")
        if request.target != self.path:
            return self._violated(f"{request.method} {request.target}, not POST {self.path}", 404)
        if request.method != "POST":
            return self._violated(f"{request.method} {request.target}, not POST", 405)
        if self.authorization and headers.get("authorization") != self.authorization:
            return response(401, b"who are you?", {"WWW-Authenticate": "Basic"})
        if headers.get("content-encoding", "gzip") != "gzip" or ("content-encoding" in headers and not self.takes_gzip):
            return response(415, b"", {"Accept-Encoding": "gzip" if self.takes_gzip else "identity"})
        if len(request.body) > MAX_REQUEST_BYTES:
            return self._violated(f"a body of {len(request.body)} bytes", 413)
        return None

    def _understand(self, request: Request) -> tuple[Request, str]:
        """The request with its events, and what Enrich would have against it, who comes after the 200."""
        headers, body = request.headers, request.body
        try:
            if "content-encoding" in headers:
                body = unpacked(body, limit=MAX_REQUEST_BYTES)
            payloads = payloads_in(body)
        except ValueError as error:
            return request, str(error)
        request = replace(request, body=body, payloads=payloads)
        if headers.get("content-type", "").lower() not in CONTENT_TYPES:
            return request, f"content type {headers.get('content-type')!r}"
        if len(body) > MAX_BODY_BYTES:
            return request, f"a body of {len(body)} bytes"
        return request, ""

    def _violated(self, problem: str, code: int) -> bytes:
        self.violations.append(problem)
        return response(code, problem.encode())

    def _refusal(self, request: Request) -> bytes | None:
        if len(request.body) > self.max_accepted_bytes:
            return response(413, b"too large")
        if self.poison is not None and any(map(self.poison, request.payloads)):
            return response(400, b"poison")
        if self.refused:
            for payload in request.payloads:
                if code := self.refused.get(payload.get("eid", "")):
                    return response(code, b"refused")
        return None

    def ledger(self) -> dict[str, Any]:
        """Everything that a test in another process may ask for."""
        return {
            "requests": len(self.requests),
            "accepted": self.accepted,
            "lost": self.lost,
            "attempts": self.attempts,
            "violations": self.violations,
        }


async def _answer_early(
    early: Behaviour | Early, headers: Mapping[str, str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    assert isinstance(early, Early)
    await early.answer(writer)
    await writer.drain()
    if early.reads:
        await reader.readexactly(int(headers.get("content-length", "0")))


async def _read_head(reader: asyncio.StreamReader) -> tuple[str, str, dict[str, str]]:
    head = await reader.readuntil(b"\r\n\r\n")
    line, *fields = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = line.split(" ")
    return method, target, {name.lower(): text.strip() for name, _, text in (each.partition(":") for each in fields)}


async def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0.0, help="from a request to its answer")
    parser.add_argument("--weather", type=int, metavar="SEED", help="fail at random, the same for the same seed")
    arguments = parser.parse_args()
    weather = None if arguments.weather is None else random_weather(arguments.weather)
    double = CollectorDouble(port=arguments.port, seconds=arguments.seconds, weather=weather)
    await double.start()
    print(double.url, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
