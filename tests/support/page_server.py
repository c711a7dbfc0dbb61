"""A small gateway for the page's tests: serves its files, keeps messages in a list, and does what a test tells it."""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit
from weakref import WeakSet

from playwright.sync_api import Page
from support.aio import eventually
from support.loop_thread import LoopThread, stop_listening
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from snowbus.bus.tracker_protocol import timestamp_from_ms

PAGE = Path(__file__).parents[2] / "consumers" / "gateway" / "page"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
CONTENT_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
FILTERS = ("app_id", "event_name", "event_id", "user_id", "domain_userid")

Message = dict[str, Any]
Pairs = list[tuple[str, str]]


def an_event(name: str = "add_to_cart", *, event_id: str = "", data: Any = None, **fields: Any) -> Message:
    """An event message; the server adds its cursor and offset."""
    data = {"sku": "A-113", "quantity": 2} if data is None else data
    event = {
        "event": "unstruct",
        "app_id": "shop",
        "platform": "srv",
        "event_id": event_id or f"id-{name}",
        "event_vendor": "com.acme",
        "event_name": name,
        "event_format": "jsonschema",
        "event_version": "1-0-0",
        "user_id": "u-481",
        "collector_tstamp": "2026-01-02T03:04:05.006Z",
        "dvce_created_tstamp": "2026-01-02T03:04:04.766Z",
        "unstruct_event_com_acme_x_1": data,
        "contexts_com_acme_service_1": [{"name": "checkout", "host": "app-3"}],
        **fields,
    }
    service = {"schema": "iglu:com.acme/service/jsonschema/1-0-0", "data": {"name": "checkout", "host": "app-3"}}
    return {
        "type": "event",
        "topic": "snowbus.events",
        "partition": 0,
        "timestamp": round(time.time() * 1000),
        "key": "u-481",
        "event": {field: value for field, value in event.items() if value is not None},
        "payload": {"e": "ue", "eid": event["event_id"], "aid": event["app_id"], "dtm": "1767323044766", "res": "80x60"}
        | {"co": json.dumps({"schema": "iglu:c/contexts/jsonschema/1-0-0", "data": [service]})},
        "source": {"ip": "127.0.0.1", "method": "POST"},
        "validation": {"status": "valid", "errors": []},
        "producer": "ingest/0.1.0@test",
    }


def receipt(*offsets: int, status: str, **more: Any) -> Message:
    """What became of some events now, or at another `time` in ms since 1970."""
    time_ms = more.pop("time", round(time.time() * 1000))
    facts = {"attempts": 1, "http_status": 200, "error": ""} | more
    ranges = [[offset, offset] for offset in offsets]
    place = {"topic": "snowbus.events", "partition": 0, "offsets": ranges}
    return {**place, "status": status, **facts, "time": timestamp_from_ms(time_ms)}


def delivered(*offsets: int, **more: Any) -> Message:
    """The receipt of events that the collector took."""
    return receipt(*offsets, status="delivered", **more)


def retrying(*offsets: int, **more: Any) -> Message:
    """The receipt of events that the collector did not take yet."""
    return receipt(*offsets, status="retrying", **{"http_status": 503, "error": "the collector answered 503"} | more)


def down(url: str = "http://collector.example", **more: Any) -> Message:
    """A collector that is down."""
    now = timestamp_from_ms(round(time.time() * 1000))
    return {"url": url, "state": "down", "since": now, "error": "it answered 503", "next_try": now} | more


def rows(page: Page) -> Any:
    """The rows that the page shows."""
    return page.locator(".canvas .row")


def saved(page: Page, format_: str) -> str:
    """What the file holds that is saved."""
    page.locator("#rows").focus()
    page.keyboard.press("e")
    with page.expect_download() as download:
        page.locator("#export-panel").get_by_role("button", name=format_).click()
    return Path(download.value.path()).read_text("utf-8")


class PageServer:
    """Runs in a thread of its own, from `with` to its end; every method may be called from the test's thread."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.told: list[str] = []
        self.subscriptions: list[Pairs] = []
        self.refusal: tuple[int, str] | None = None
        self.said: list[Message] = []
        self.schemas: dict[str, Any] = {}  # by Iglu URI
        self.ingest = ""
        self.awaits_permits = False  # a reader of the past gets nothing before it has said how much it takes
        self._open: dict[ServerConnection, Pairs] = {}
        self._flows: dict[ServerConnection, _Flow] = {}
        self._accepted = WeakSet[ServerConnection]()
        self._server: Server | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self._thread = LoopThread("page-server")
        self._thread.run(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.run(self._stop())
        self._thread.close()

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://127.0.0.1:{self.port}/"

    def publish(self, *messages: Message) -> None:
        """Append messages, give each its offset and cursor, and send them to whoever asked for such."""
        self._thread.run(self._publish(messages))

    def say(self, text: str) -> None:
        """Send a text to every open websocket (there will be one), without keeping it."""
        self._thread.run(self._say(text))

    def tell(self, *receipts: Message, group: str = "collector", collectors: Iterable[Message] = ()) -> None:
        """Tell what became of events to every websocket that is open, and to those to come."""
        message = {"type": "delivery", "group": group, "time": timestamp_from_ms(round(time.time() * 1000))}
        self._thread.run(self._tell(json.dumps({**message, "receipts": receipts, "collectors": list(collectors)})))

    def cut(self) -> None:
        """Cut every open websocket (there will be one), as a broken network does."""
        self._thread.run(self._cut())

    def subscription(self, number: int = -1) -> dict[str, str]:
        """The parameters of one of the subscriptions that were asked for."""
        return dict(self.subscriptions[number])

    async def _start(self) -> None:
        self._server = await serve(
            self._stream,
            "127.0.0.1",
            0,
            process_request=self._answer,
            create_connection=self._accept,
            compression=None,
            close_timeout=1,
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    def _accept(self, *arguments: Any, **options: Any) -> ServerConnection:
        connection = ServerConnection(*arguments, **options)
        self._accepted.add(connection)  # the library knows of no connection that is still shaking hands
        return connection

    async def _stop(self) -> None:
        assert self._server
        await stop_listening(self._server.server)
        for connection in tuple(self._accepted):
            connection.transport.abort()
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

    async def _tell(self, text: str) -> None:
        self.told.append(text)
        for connection in list(self._open):
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
                self.subscriptions.append(_pairs_of(request))  # before the page is live
                return None
            return _response(426, b"open a websocket here", "text/plain")
        answered: dict[str, Any] = {"/schemas": list(self.schemas), "/v1/ingest": {"url": self.ingest}}
        answered |= {uri.replace("iglu:", "/schemas/"): schema for uri, schema in self.schemas.items()}
        if path in answered:
            return _response(200, json.dumps(answered[path]).encode(), "application/json")
        file = PAGE / (path.lstrip("/") or "index.html")
        if file.parent != PAGE or not file.is_file():
            return _response(404, b"no such file", "text/plain")
        return _response(200, file.read_bytes(), CONTENT_TYPES[file.suffix])

    async def _stream(self, connection: ServerConnection) -> None:
        assert connection.request
        pairs = _pairs_of(connection.request)
        start = dict(pairs)["from"]
        first = _first_offset(start, self.messages)
        filters = {name: [value] for name, value in pairs if name not in ("from", "token", "deliveries")}
        subscription = {"from": start, "filters": filters}
        hello = {"type": "hello", "server": "snowbus/test", "subscription": subscription, "cursor": f"c{first - 1}"}
        await connection.send(json.dumps(hello))
        self._flows[connection] = _Flow()
        if self.awaits_permits and start[:1].isdigit():
            await self._heard(connection, await connection.recv())
        told = 0
        while told < len(self.told) or first < len(self.messages):
            if told < len(self.told):
                await connection.send(self.told[told])
                told += 1
                continue
            history = self.messages[first:]
            await self._send(connection, pairs, history)
            first += len(history)
        self._open[connection] = pairs
        try:
            async for text in connection:
                await self._heard(connection, text)
        except ConnectionClosed:
            pass
        finally:
            del self._open[connection], self._flows[connection]

    async def _heard(self, connection: ServerConnection, text: str | bytes) -> None:
        message = json.loads(text)
        self.said.append(message)
        flow = self._flows[connection]
        flow.paused = message["type"] == "pause"
        if message["type"] == "permit":
            flow.permits = float("inf") if message["n"] is None else message["n"]
        held, flow.held = flow.held, []
        await self._send(connection, [], held)

    async def _send(self, connection: ServerConnection, pairs: Pairs, messages: Iterable[Message]) -> None:
        flow = self._flows[connection]
        try:
            for message in messages:
                if message["type"] == "event":
                    if not _matches(message, pairs):
                        continue
                    if flow.paused or flow.permits < 1:
                        flow.held.append(message)
                        continue
                    flow.permits -= 1
                await connection.send(json.dumps(message))
        except ConnectionClosed:
            return


@dataclass
class _Flow:
    """What a page permitted, and what it did not."""

    permits: float = float("inf")
    paused: bool = False
    held: list[Message] = field(default_factory=list)


def _pairs_of(request: Request) -> Pairs:
    return parse_qsl(urlsplit(request.path).query)


def _first_offset(start: str, messages: list[Message]) -> int:
    end = len(messages)
    if start.startswith("c"):
        return int(start[1:]) + 1
    if start.startswith("-"):
        return max(0, end + int(start))
    if start[:1].isdigit():
        since = datetime.fromisoformat(start).timestamp() * 1000
        return next((offset for offset, message in enumerate(messages) if message["timestamp"] >= since), end)
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
