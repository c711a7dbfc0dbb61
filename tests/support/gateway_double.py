"""A gateway that does as a test says: it takes connections, and the test sends and expects each message.

It is strict: what a client says is checked against `schemas/asyncapi.yaml`, and a test that does not take it fails.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl

from support.aio import run
from support.asyncapi import check_client_message, check_gateway_message, check_parameters
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

TOPIC = "snowbus.events"
_SECONDS = 10.0


def event(offset: int, *, partition: int = 0, cursor: str | None = None, **members: Any) -> dict[str, Any]:
    """An event message, whose `eid` is its offset."""
    return {
        "type": "event",
        "cursor": cursor or f"{TOPIC}~{partition}.{offset + 1}",
        "topic": TOPIC,
        "partition": partition,
        "offset": offset,
        "timestamp": 1_700_000_000_000 + offset,
        "key": "ann",
        "event": {"event_id": str(offset), "event_name": "page_view"},
        "payload": {"e": "pv", "eid": str(offset)},
        "source": {},
        "validation": {"status": "unchecked", "errors": []},
        "producer": "test",
    } | members


class Peer:
    """One connection of a client, from the gateway's side."""

    def __init__(self, connection: ServerConnection, query: str) -> None:
        self.connection = connection
        self.parameters = parse_qsl(query, keep_blank_values=True)
        self.over = asyncio.Event()

    def parameter(self, name: str) -> str | None:
        """The value of a parameter of the URL."""
        return dict(self.parameters).get(name)

    async def send(self, *messages: dict[str, Any]) -> None:
        """Send messages."""
        for message in messages:
            check_gateway_message(message)
            await self.connection.send(json.dumps(message))

    async def hello(self, cursor: str | None = f"{TOPIC}~0.0") -> "Peer":
        """Greet it."""
        await self.send({**_hello(self.subscription()), "cursor": cursor})
        return self

    def subscription(self, **members: Any) -> dict[str, Any]:
        """What is in force."""
        found = {"from": self.parameter("from") or "latest", "filters": {}, "deliveries": False, "topics": [TOPIC]}
        found |= {"policy": "pause", "paused": False, "permits": None, "masked": []}
        if group := self.parameter("group"):
            found |= {"group": group, "max_in_flight": 100, "ack_timeout": 60}
        return found | members

    async def said(self) -> dict[str, Any]:
        """What the client says next."""
        async with asyncio.timeout(_SECONDS):
            message: dict[str, Any] = json.loads(await self.connection.recv())
        check_client_message(message)
        return message

    async def reply(self, **members: Any) -> None:
        """Say what is in force, in reply."""
        await self.send({"type": "subscription", "subscription": self.subscription(**members), "cursor": None})

    def cut(self) -> None:
        """End the connection without a word."""
        self.connection.transport.abort()
        self.over.set()


def _hello(subscription: dict[str, Any]) -> dict[str, Any]:
    return {"type": "hello", "server": "double/1", "subscription": subscription, "time": "2026-01-02T03:04:05.250Z"}


class GatewayDouble:
    """Takes connections, in order. `refusals` are the answers to the next handshakes: (status, text)."""

    def __init__(self) -> None:
        self.refusals: list[tuple[int, str]] = []
        self.requests: list[Request] = []
        self.url = ""
        self._peers: asyncio.Queue[Peer] = asyncio.Queue()

    async def peer(self) -> Peer:
        """The next connection."""
        async with asyncio.timeout(_SECONDS):
            return await self._peers.get()

    async def greeted(self) -> Peer:
        """The next connection, greeted."""
        return await (await self.peer()).hello()

    def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse a handshake, or let it in."""
        self.requests.append(request)
        if self.refusals:
            status, text = self.refusals.pop(0)
            return connection.respond(status, f"{text}\n")
        return None

    async def handle(self, connection: ServerConnection) -> None:
        """Hand a connection to the test, and keep it until it is over."""
        assert connection.request
        path, _, query = connection.request.path.partition("?")
        assert path == "/v1/events"
        check_parameters(parse_qsl(query, keep_blank_values=True))
        peer = Peer(connection, query)
        self._peers.put_nowait(peer)
        closed = asyncio.create_task(connection.wait_closed())
        over = asyncio.create_task(peer.over.wait())
        await asyncio.wait({closed, over}, return_when=asyncio.FIRST_COMPLETED)
        closed.cancel()
        over.cancel()


@asynccontextmanager
async def gateway_double() -> AsyncIterator[GatewayDouble]:
    """Run one."""
    double = GatewayDouble()
    server: Server
    options = {"process_request": double.answer, "ping_interval": None, "close_timeout": 0.2, "compression": None}
    async with serve(double.handle, "127.0.0.1", 0, **options) as server:
        port = server.sockets[0].getsockname()[1]
        double.url = f"ws://127.0.0.1:{port}/v1/events"
        yield double


def on_double(test: Callable[[GatewayDouble], Coroutine[Any, Any, None]]) -> None:
    """Run a test with a double of the gateway."""

    async def main() -> None:
        async with gateway_double() as double:
            await test(double)

    run(main(), timeout=30)
