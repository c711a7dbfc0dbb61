"""Runs the gateway: handshakes, the debug page, and the tasks that all readers share."""

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any
from weakref import WeakSet

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from snowbus.bus.clock import now_ms
from snowbus.bus.diagnostics import Diagnostics
from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.http_server import address_of, bind_all
from snowbus.bus.iglu.config import own_config, settings_config
from snowbus.bus.log.interface import Log
from snowbus.bus.metrics import Metrics
from snowbus.bus.operations import Operations, reason_unanswered
from snowbus.bus.settings import Settings
from snowbus.bus.sparingly import SparingDiagnostics

from ..websocket_protocol import EVENTS_PATH
from .access import Access, access_for
from .bodies import Bodies
from .connection import HISTORY_SLOTS, Hub, Session
from .deflate import SharedDeflateFactory
from .deliveries import Deliveries
from .delivery_tail import DeliveryTail
from .door import Door, RefusedErrors, refusal_of, refusal_response
from .exports import Exports
from .feeds import Feeds
from .group import GroupOptions
from .group_session import GroupSession
from .groups import Groups
from .ingest_address import IngestAddress
from .live import Live
from .pages import load_page, page_response, response, text_response
from .schemas import SchemaFiles
from .subscription import Subscription, parse_subscription, query_pairs
from .tail import Tail
from .tokens import Tokens
from .wire import REQUEST_SECONDS, GatewayConnection

logger = Diagnostics(__name__)

_MAX_MESSAGE_BYTES = 65_536
_MAX_QUEUED_MESSAGES = 4
_WRITE_BUFFER_BYTES = 65_536
_SOCKET_BUFFER_BYTES = 131_072
_HANDSHAKE_SECONDS = REQUEST_SECONDS + 5.0
CLOSE_SECONDS = 3.0
"""How long readers have to say goodbye, too."""
_TOKEN_ENDED = 4001
_GOODBYE = "the gateway is stopping; reconnect with your cursor"


async def run_gateway(
    log: Log,
    settings: Settings,
    metrics: Metrics,
    *,
    ready: Callable[[str], None],
    own_listen: str = "",
    ingest: Callable[[], str] = lambda: "",
    stop: asyncio.Event,
) -> None:
    """Stream events to websockets until `stop` is set, then say goodbye to the readers.

    `ready` is called with the address once connections are taken; the log need not be there by then. A gateway that
    shares its port with others listens on an `own_listen` of its own, too, which is the address that `ready` is told
    then. `ingest` says where ingest listens, once that is known. Raises ConfigurationError when an address cannot be
    listened on, or must not be without tokens.
    """
    with bind_all(settings.gateway_listen, own_listen) as bound:
        access = access_for(bound[0].getsockname()[0].partition("%")[0], settings)
        gateway = _Gateway(log, settings, metrics, access, Tokens(settings, metrics), ingest=ingest)
        servers = [await _serve(gateway, each) for each in bound]
        running: list[asyncio.Task[Any]] = [
            asyncio.create_task(gateway.tail.run(), name="snowbus-gateway-tail"),
            asyncio.create_task(gateway.delivery_tail.run(), name="snowbus-gateway-deliveries"),
            asyncio.create_task(gateway.keep_time(), name="snowbus-gateway-time"),
            asyncio.create_task(stop.wait(), name="snowbus-gateway-stop"),
        ]
        if (signed := gateway.tokens.signed) is not None and signed.jwks is not None:
            running.append(asyncio.create_task(signed.jwks.run(), name="snowbus-gateway-keys"))
        try:
            ready(f"http://{address_of(bound[-1])}")
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _close(servers, gateway.accepted)
            await gateway.groups.close()
            for task in running:
                task.cancel()
            await asyncio.wait(running)
        for task in running:
            if not task.cancelled():
                task.result()


async def _serve(gateway: "_Gateway", bound: socket.socket) -> Server:
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER_BYTES)  # what it accepts inherits this
    return await serve(
        gateway.handle,
        sock=bound,
        process_request=gateway.answer,
        create_connection=gateway.accept,  # type: ignore[arg-type] # any callable will do
        compression=None,
        extensions=[SharedDeflateFactory()],
        server_header=None,
        open_timeout=_HANDSHAKE_SECONDS,
        ping_interval=None,  # the gateway's own, which knows slow from gone
        close_timeout=CLOSE_SECONDS,
        max_size=_MAX_MESSAGE_BYTES,
        max_queue=_MAX_QUEUED_MESSAGES,
        write_limit=_WRITE_BUFFER_BYTES,
        logger=_library_logger(),
    )


class _Gateway:
    """The readers of one gateway and what they share."""

    def __init__(
        self,
        log: Log,
        settings: Settings,
        metrics: Metrics,
        access: Access,
        tokens: Tokens,
        *,
        ingest: Callable[[], str],
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._access = access
        self.tokens = tokens
        self._log = log
        self._page = load_page()
        self._diagnostics = SparingDiagnostics(logger)
        self._ingest_address = IngestAddress(settings.gateway_ingest_url, ingest)
        self._schemas = SchemaFiles([*settings_config(settings.iglu_resolver).folders, *own_config().folders])
        self._operations = Operations(metrics, self._reason_not_ready)
        self.accepted = WeakSet[GatewayConnection]()
        self._admitted: dict[GatewayConnection, str] = {}  # and whose token it is
        self._sessions: dict[GatewayConnection, Session | GroupSession] = {}
        ring_events = settings.gateway_ring_events
        live = Live(max_entries=ring_events, max_bytes=settings.gateway_ring_bytes, metrics=metrics)
        watch_every = settings.gateway_heartbeat / 2
        self.tail = Tail(log, live, ring_events=ring_events, watch_every=watch_every)
        # A range a ring's event: in the worst case each event has one of its own.
        deliveries = Deliveries(EVENTS_TOPIC, max_ranges=ring_events, metrics=metrics)
        self.delivery_tail = DeliveryTail(log, deliveries, live, look_every=watch_every)
        options = GroupOptions(settings.gateway_group_in_flight, settings.gateway_group_deliveries)
        self.groups = Groups(log, metrics, options)
        slots = asyncio.Semaphore(HISTORY_SLOTS)
        self._hub = Hub(log, live, self.tail, deliveries, metrics, slots, Bodies(), settings.gateway_heartbeat)
        door = Door(access, tokens)
        self._exports = Exports(log, door)
        self._feeds = Feeds(log, live, door)
        metrics.gateway_connections.set_function(lambda: len(self._sessions))

    def accept(self, *arguments: Any, **options: Any) -> GatewayConnection:
        """A connection, as the library asks for one when it is made."""
        connection = GatewayConnection(*arguments, **options)
        self.accepted.add(connection)
        return connection

    async def handle(self, connection: ServerConnection) -> None:
        """Serve one websocket whose handshake is done."""
        if not isinstance(connection, GatewayConnection) or not isinstance(connection.admitted, Subscription):
            raise TypeError(f"not admitted: {connection!r}")
        connection.forget_handshake()
        session = self._sessions[connection] = self._session(connection, connection.admitted)
        expiry = _close_at(connection, connection.admitted.rights.until)
        try:
            await session.run()
        except Exception:
            logger.exception("a reader failed")
            connection.give_up("internal error")
        finally:
            del self._sessions[connection]
            if expiry is not None:
                expiry.cancel()

    def _session(self, connection: GatewayConnection, subscription: Subscription) -> Session | GroupSession:
        if subscription.group is None:
            return Session(connection, subscription, self._hub)
        group = self.groups.of(connection)
        if group is None:
            raise RuntimeError(f"the group ended before its connection began: {subscription.group.name!r}")
        return GroupSession(connection, subscription, self._hub, group, subscription.group)

    async def keep_time(self) -> None:
        """Heartbeats and pings for all readers, and the end of those whose token was taken away."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(1.0, self._settings.gateway_heartbeat / 4))
            now = loop.time()
            for connection, session in tuple(self._sessions.items()):
                session.tick(now)
                connection.keep_alive(now=now, silence=self._settings.gateway_ping)
                if connection.is_open and not self.tokens.stand(connection.admitted.rights):
                    connection.give_up("the token has been taken away or changed", code=_TOKEN_ENDED)
            self._hub.deliveries.flush()

    async def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """The answer to an HTTP request, or None when it is a handshake that may go on."""
        path, _, query = request.path.partition("?")
        if request.method not in ("GET", "HEAD"):
            found = text_response(405, "only GET is answered here", {"Allow": "GET, HEAD"})
        elif (answer := await self._operations.answer(path)) is not None:
            found = response(answer.status, answer.content_type, answer.body)
        elif refusal := self._access.check_host(request.headers.get_all("Host")):
            found = text_response(*refusal)
        elif path == EVENTS_PATH:
            refused = await self._admit(connection, request, query)
            if refused is None:
                return None
            self._metrics.gateway_refused.labels(str(refused.status_code)).inc()
            status = refused.status_code
            self._diagnostics.info("websockets are refused", about=str(status), status=status)
            found = refused
        elif (served := self._ingest_address.answer(path) or await self._schemas.answer(path)) is not None:
            found = served
        elif file := await self._exports.answer(path, query, request) or await self._feeds.answer(path, query, request):
            found = file
        elif path in self._page:
            found = page_response(self._page[path], request.headers.get_all("If-None-Match"))
        else:
            found = text_response(404, f"nothing here; events are at {EVENTS_PATH}, the page is at /")
        if request.method == "HEAD":
            found.body = b""
        return found

    async def _admit(self, connection: ServerConnection, request: Request, query: str) -> Response | None:
        """Let a reader in, or say why not."""
        headers = request.headers
        try:
            pairs = query_pairs(query)
            shown = [value for name, value in pairs if name == "token"]
            refusal = self._access.check_origin(headers.get_all("Origin"), headers.get_all("Host"))
            if refusal is None:
                rights = await self.tokens.rights(headers.get_all("Authorization"), shown)
                asked = [pair for pair in pairs if pair[0] != "token"]
                subscription = parse_subscription(asked, now=now_ms(), rights=rights)
                refusal = self.groups.reason_to_refuse(subscription)
        except RefusedErrors as error:
            refusal = refusal_of(error)
        if refusal is not None:
            return refusal_response(refusal)
        if not any(value.lower() == "websocket" for value in headers.get_all("Upgrade")) or request.method != "GET":
            return text_response(426, "this is a websocket: connect with ws:// or wss://", {"Upgrade": "websocket"})
        if len(self._admitted) >= self._settings.gateway_max_connections:
            return text_response(503, "as many readers as may be are connected", {"Retry-After": "5"})
        holder = rights.holder
        if holder and list(self._admitted.values()).count(holder) >= self._settings.gateway_max_connections_per_token:
            return text_response(429, "as many readers as may be have this token", {"Retry-After": "5"})
        if isinstance(connection, GatewayConnection) and not connection.is_lost:
            self._admitted[connection] = holder
            connection.admitted = subscription
            connection.on_lost = lambda: self._on_lost(connection)
            self.groups.enter(connection, subscription)
        return None

    def _on_lost(self, connection: GatewayConnection) -> None:
        self._admitted.pop(connection, None)
        self.groups.leave(connection)

    async def _reason_not_ready(self) -> str:
        reason = self.tail.outage or await reason_unanswered(self._log.end_offsets(EVENTS_TOPIC))
        return f"the log cannot be read: {reason}" if reason else ""


def _close_at(connection: GatewayConnection, until: float | None) -> asyncio.TimerHandle | None:
    """Close a connection when its token expires, at a time in seconds since 1970."""
    if until is None:
        return None
    close = partial(connection.give_up, "the token has expired", code=_TOKEN_ENDED)
    return connection.loop.call_later(until - time.time(), close)


async def _close(servers: Sequence[Server], accepted: Iterable[GatewayConnection]) -> None:
    """Close every connection with a reason. Those that do not take it are cut, those that asked for nothing at once."""
    for server in servers:
        server.close(code=1001, reason=_GOODBYE)
    for connection in tuple(accepted):
        if connection.is_idle:  # browsers keep some in reserve
            connection.transport.abort()
    closed = [asyncio.create_task(server.wait_closed()) for server in servers]
    await asyncio.wait(closed, timeout=CLOSE_SECONDS)
    for reader in [each for server in servers for each in tuple(server.all_connections)]:
        reader.transport.abort()
    await asyncio.wait(closed)


def _library_logger() -> logging.Logger:
    """The library's own diagnostics, without its debugging: that would show query strings, which may hold tokens."""
    library = logging.getLogger(f"{__name__}.websockets")
    library.setLevel(logging.WARNING)
    return library
