"""A small gateway for the page's tests: serves its files, keeps messages in a list, and does what a test tells it."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Iterable
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from support.aio import eventually
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

PAGE = Path(__file__).parents[2] / "consumers" / "gateway" / "page"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
CONTENT_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
FILTERS = ("app_id", "event_name", "event_id", "user_id")

Message = dict[str, Any]
Pairs = list[tuple[str, str]]


class PageServer:
    """Runs in a thread of its own, from `with` to its end; every method may be called from the test's thread."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.subscriptions: list[Pairs] = []
        self.refusal: tuple[int, str] | None = None
        self._open: dict[ServerConnection, Pairs] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: Server | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://127.0.0.1:{self.port}/"

    def publish(self, *messages: Message) -> None:
        """Append messages, give each its offset and cursor, and send them to whoever asked for such."""
        self._call(self._publish(messages))

    def say(self, text: str) -> None:
        """Send a text to every open websocket (there will be one), without keeping it."""
        self._call(self._say(text))

    def cut(self) -> None:
        """Cut every open websocket (there will be one), as a broken network does."""
        self._call(self._cut())

    def subscription(self, number: int = -1) -> dict[str, str]:
        """The parameters of one of the subscriptions that were asked for."""
        return dict(self.subscriptions[number])

    def _call(self, what: Awaitable[None]) -> None:
        async def done() -> None:
            await what

        asyncio.run_coroutine_threadsafe(done(), self._loop).result(timeout=10)

    async def _start(self) -> None:
        self._server = await serve(
            self._stream, "127.0.0.1", 0, process_request=self._answer, compression=None, close_timeout=1
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def _stop(self) -> None:
        assert self._server
        self._server.close()
        await self._server.wait_closed()

    async def _publish(self, messages: Iterable[Message]) -> None:
        for message in messages:
            offset = len(self.messages)
            self.messages.append({**message, "cursor": f"c{offset}", "offset": offset})
            for connection, pairs in list(self._open.items()):
                await self._send(connection, pairs, self.messages[-1:])

    async def _say(self, text: str) -> None:
        for connection in await self._connected():
            await connection.send(text)

    async def _cut(self) -> None:
        for connection in await self._connected():
            connection.transport.abort()
            await connection.wait_closed()

    async def _connected(self) -> list[ServerConnection]:
        await eventually(lambda: self._open)
        return list(self._open)

    def _answer(self, _connection: ServerConnection, request: Request) -> Response | None:
        path = urlsplit(request.path).path
        if path == "/v1/events":
            if self.refusal:
                return _response(self.refusal[0], self.refusal[1].encode(), "text/plain")
            if "Upgrade" in request.headers:
                return None
            return _response(426, b"open a websocket here", "text/plain")
        file = PAGE / (path.lstrip("/") or "index.html")
        if file.parent != PAGE or not file.is_file():
            return _response(404, b"no such file", "text/plain")
        return _response(200, file.read_bytes(), CONTENT_TYPES[file.suffix])

    async def _stream(self, connection: ServerConnection) -> None:
        assert connection.request
        pairs = parse_qsl(urlsplit(connection.request.path).query)
        self.subscriptions.append(pairs)
        start = dict(pairs)["from"]
        first = _first_offset(start, len(self.messages))
        hello = {"type": "hello", "server": "snowbus/test", "subscription": dict(pairs), "cursor": f"c{first - 1}"}
        await connection.send(json.dumps(hello))
        while first < len(self.messages):
            history = self.messages[first:]
            await self._send(connection, pairs, history)
            first += len(history)
        self._open[connection] = pairs
        try:
            await connection.wait_closed()
        finally:
            del self._open[connection]

    async def _send(self, connection: ServerConnection, pairs: Pairs, messages: Iterable[Message]) -> None:
        try:
            for message in messages:
                if message["type"] != "event" or _matches(message, pairs):
                    await connection.send(json.dumps(message))
        except ConnectionClosed:
            return


def _first_offset(start: str, end: int) -> int:
    if start.startswith("c"):
        return int(start[1:]) + 1
    if start.startswith("-"):
        return max(0, end + int(start))
    return 0 if start == "earliest" else end


def _matches(message: Message, pairs: Pairs) -> bool:
    event = message["event"]
    for name in {name for name, _ in pairs}:
        wanted = [value for other, value in pairs if other == name]
        if name in FILTERS and event.get(name) not in wanted:
            return False
        if name == "q" and not any(text in json.dumps(event, ensure_ascii=False) for text in wanted):
            return False
    return True


def _response(status: int, body: bytes, content_type: str) -> Response:
    headers = Headers(
        {
            "Content-Type": f"{content_type}; charset=utf-8",
            "Content-Length": str(len(body)),
            "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff",
            "Connection": "close",
        }
    )
    return Response(status, HTTPStatus(status).phrase, headers, body)
