"""The edge of ingest: an ASGI app, and the role that serves it."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, NamedTuple

from snowbus.bus import tracing
from snowbus.bus.clock import now_ms
from snowbus.bus.diagnostics import Diagnostics
from snowbus.bus.errors import LogError, RecordTooLargeError
from snowbus.bus.http_server import Receive, Scope, Send, serve_http
from snowbus.bus.iglu.resolver import resolver_of
from snowbus.bus.log import Log
from snowbus.bus.metrics import Metrics
from snowbus.bus.operations import Operations
from snowbus.bus.payload import Payload
from snowbus.bus.settings import Settings
from snowbus.bus.sparingly import SparingDiagnostics
from snowbus.bus.traceparent import TRACEPARENTS, split_traceparents, traceparent_of
from snowbus.bus.version import tracker_version
from snowbus.schemas import read_text

from ..bad_records import Bad
from . import answers
from .answers import Answer
from .cookies import Cookies
from .cors import Cors
from .encodings import unpack
from .keys import Key, Keys, RateLimitedError, UnauthorizedError, without_key
from .reading import BodyReader, DisconnectedError, OverloadedError, StalledError, TooLargeError
from .redirects import Redirects
from .requests import Refused, RefusedError, Understood, understand_body, understand_query
from .routes import CONTRACT_PATH, Endpoint, Routes, endpoints_of
from .source import Head, head_of, header_text, parse_networks, source_of
from .topics import Topics
from .writer import Sent, Writer

logger = Diagnostics(__name__)

_WARN_SECONDS = 5.0
_TOLD = {
    400: "not understood; snowbus.bad has them",
    401: "no API key, or one that is not known",
    408: "the body came too slowly",
    413: "too large; snowbus.bad has them",
    429: "more events than the API key may send",
}
"""The answers that say that events were refused, and why."""

_METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS"})
_DRAIN_READING_SECONDS = 3.0
_GRACE_SECONDS = 5.0

_METHOD = "http.request.method"
_TRACEPARENTS = TRACEPARENTS.lower().encode()

_Taken = tuple[Answer, bytes | None]
Enrich = Callable[[list[Payload]], Awaitable[list[Payload]]]


async def run_ingest(
    log: Log,
    settings: Settings,
    metrics: Metrics,
    *,
    ready: Callable[[str], None],
    own_listen: str = "",
    stop: asyncio.Event,
) -> None:
    """Serve ingest until `stop` is set, then finish what is under way.

    The log may be away: until it is there `/ready` and every event get 503. `ready` is called with the address. An
    ingest that shares its port with others listens on an `own_listen` of its own, too, which is the address that
    `ready` is told then. Raises ConfigurationError for an address that cannot be listened on.
    """
    app = IngestApp(log, settings, metrics)

    async def hurry() -> None:
        await stop.wait()
        app.hurry(_DRAIN_READING_SECONDS)

    tasks = [asyncio.create_task(app.make_topics()), asyncio.create_task(hurry())]
    grace = drain_seconds(settings)
    try:
        await serve_http(app, settings.ingest_listen, own_listen=own_listen, ready=ready, stop=stop, grace=grace)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await app.close()


def drain_seconds(settings: Settings) -> float:
    """How long it may take at a stop until every request under way has its answer."""
    return _DRAIN_READING_SECONDS + settings.append_timeout + _GRACE_SECONDS


class _Sender(NamedTuple):
    """Who sends a request: what its records share, the cookie for the answer, and the API key if one is needed."""

    sent: Sent
    cookie: bytes | None
    key: Key | None


class IngestApp:
    """Ingest as an ASGI app, to serve alone or to mount in another; it makes its topics when it first needs them.

    `enrich` adds to the events of a request what an app around it knows of them.
    Raises ConfigurationError when a setting cannot work.
    """

    def __init__(self, log: Log, settings: Settings, metrics: Metrics, *, enrich: Enrich | None = None) -> None:
        self._settings = settings
        self._enrich = enrich
        self._metrics = metrics
        self._proxies = parse_networks(settings.ingest_trusted_proxies)
        self._cookies = Cookies(settings)
        self._cors = Cors(settings)
        keys_file = settings.ingest_api_keys_file
        self._keys = Keys(keys_file, rate=settings.ingest_key_rate) if keys_file else None
        domains = settings.ingest_redirect_domains
        self._redirects = Redirects(domains) if domains else None
        self._routes = Routes(settings.ingest_paths, redirects=bool(domains))
        self._topics = Topics(log, seconds=settings.append_timeout, warn=self._warn_of)
        resolver = resolver_of(settings.iglu_resolver, wait=settings.iglu_wait)
        for watched in (self._keys.file if self._keys else None, resolver.file):
            if watched is not None:
                metrics.watch_file(watched)
        self._writer = Writer(log, settings, metrics, topics=self._topics, resolver=resolver)
        self._reader = BodyReader(
            limit=settings.ingest_max_body_bytes,
            seconds=settings.ingest_body_timeout,
            max_held=settings.ingest_max_pending_bytes,
        )
        self._operations = Operations(metrics, self._topics.reason_not_ready)
        self._tracker_version = tracker_version()
        self._diagnostics = SparingDiagnostics(logger, seconds=_WARN_SECONDS)
        self._counters: dict[tuple[str, int], Callable[[], None]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await _decline(scope, receive, send)
            return
        started = time.perf_counter()
        head = head_of(scope)
        cookie = None
        try:
            answer, cookie = await self._answer(head, receive)
        except DisconnectedError:
            self._count(head.method, 499, started)
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the sender must learn to try again
            answer = self._failed(error)
        headers = answers.headers_of(answer, cors=self._cors.headers(head.headers.get(b"origin")), cookie=cookie)
        with contextlib.suppress(OSError):  # the sender is gone; what was accepted stays so
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            if answer.lingers:
                await send({"type": "http.response.body", "body": answer.body, "more_body": True})
                await self._reader.discard(receive)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            else:
                await send({"type": "http.response.body", "body": answer.body, "more_body": False})
        self._count(head.method, answer.status, started)
        if answer.status in _TOLD:
            about = str(answer.status)
            self._diagnostics.info("requests are refused", about=about, status=answer.status, why=_TOLD[answer.status])

    async def make_topics(self) -> None:
        """Try to make the topics until they are made."""
        await self._topics.keep_making()

    def hurry(self, seconds: float) -> None:
        """Give requests whose body is still arriving no more than so many seconds."""
        self._reader.hurry(seconds)

    async def close(self) -> None:
        """Wait for what is being written."""
        await self._writer.close()
        await self._topics.close()

    async def _answer(self, head: Head, receive: Receive) -> _Taken:
        """The answer to a request, and the cookie that goes with it."""
        if head.method == "OPTIONS":
            return self._cors.preflight, None
        path = self._routes.real(head.path)
        endpoints = endpoints_of(path)
        match endpoints.get(head.method):
            case Endpoint.PIXEL | Endpoint.BATCH | Endpoint.TRACKING as endpoint:
                taking = self._take(head._replace(path=path), receive, endpoint)
            case Endpoint.REDIRECT if self._redirects is not None:
                taking = self._redirect(head._replace(path=path), self._redirects)
            case _:
                return await self._tell(head, path, endpoints), None
        return await _traced(taking, head)

    async def _tell(self, head: Head, path: str, endpoints: Mapping[str, Endpoint]) -> Answer:
        """The answer to a request that has no event."""
        match endpoints.get(head.method):
            case Endpoint.OPERATIONS:
                told = await self._operations.answer(path)
                if told is not None:
                    return Answer(told.status, told.content_type.encode(), told.body)
            case Endpoint.ROBOTS:
                return answers.ROBOTS
            case Endpoint.CONTRACT:
                return Answer(200, b"application/yaml", read_text(CONTRACT_PATH.lstrip("/")).encode())
            case Endpoint.REDIRECT:
                return answers.redirects_disabled()
        return answers.not_allowed(head.method, endpoints) if endpoints else answers.not_found(head.path)

    async def _take(self, head: Head, receive: Receive, endpoint: Endpoint) -> _Taken:
        sender = self._sender(head)
        if endpoint is Endpoint.PIXEL:
            whole = sender.sent.query
            understood = understand_query(whole, tracker_version=self._tracker_version)
        else:
            try:
                whole = await self._reader.read(receive, head)
                if b"content-encoding" in head.headers:
                    encoding = header_text(head.headers[b"content-encoding"])
                    whole = unpack(whole, encoding, limit=self._settings.ingest_max_body_bytes)
            except TooLargeError as error:
                return await self._refuse_too_large(error, sender.sent), None
            except RefusedError as error:
                understood = Understood([], [Refused(error.kind, error.reason, "", whole)])
            else:
                understood = understand_body(
                    whole,
                    content_type=header_text(head.headers.get(b"content-type", b"")),
                    query=sender.sent.query,
                    tracker_version=self._tracker_version,
                    plain=endpoint is Endpoint.TRACKING,
                    most=self._writer.most_events(sender.sent),
                )
        accepted = answers.PIXEL if endpoint is Endpoint.PIXEL else answers.OK
        answer = await self._write(understood, whole, sender, accepted=accepted)
        return answer, sender.cookie if answer.status == 200 else None

    async def _redirect(self, head: Head, redirects: Redirects) -> _Taken:
        """Keep a click, and say where it leads; there, too, when there is no event in it that could be kept."""
        sender = self._sender(head)
        click = redirects.click(sender.sent.query)
        answer = await self._write(click.understood, sender.sent.query, sender, accepted=answers.OK)
        return (answer, None) if click.location is None else (answers.found(click.location), sender.cookie)

    def _sender(self, head: Head) -> _Sender:
        """Who sends. Raises UnauthorizedError, RateLimitedError."""
        key = None
        if self._keys is not None:
            key = self._keys.key_of(head, now=time.monotonic())
            head = without_key(head)
        network_userid, cookie = self._cookies.identify(head)
        source = source_of(head, network_userid=network_userid, proxies=self._proxies)
        if key is not None:
            source["api_key"] = key.name
        trace, traces = tracing.active() or _traceparent(head), head.headers.get(_TRACEPARENTS)
        each = split_traceparents(header_text(traces)) if traces else ()
        return _Sender(Sent(source, now_ms(), head.query, trace, each), cookie, key)

    async def _write(self, understood: Understood, whole: bytes, sender: _Sender, *, accepted: Answer) -> Answer:
        if sender.key is not None:
            sender.key.spend(len(understood.payloads) + len(understood.refused))
        if self._enrich is not None:
            understood = understood._replace(payloads=await self._enrich(understood.payloads))
        outcome = await self._writer.write(understood, whole, sent=sender.sent)
        if not outcome.refused:
            return accepted
        if outcome.accepted:
            return answers.partly(outcome.accepted, outcome.refused)
        if all(each.kind == "too_large" for each in outcome.refused):
            return answers.too_large(outcome.refused[0].reason, unread=False)
        return answers.not_understood(outcome.refused)

    async def _refuse_too_large(self, error: TooLargeError, sent: Sent) -> Answer:
        reason = f"the body is larger than {self._settings.ingest_max_body_bytes} bytes"
        await self._writer.write_bad(Bad(error.first, reason, truncated=True, size=error.size), "too_large", sent=sent)
        return answers.too_large(reason, unread=error.unread)

    def _failed(self, error: Exception) -> Answer:
        """The answer when a request could not be taken."""
        retry_after = self._settings.ingest_retry_after
        if isinstance(error, StalledError):
            return answers.stalled(self._settings.ingest_body_timeout)
        if isinstance(error, UnauthorizedError):
            return answers.unauthorized(str(error))
        if isinstance(error, RateLimitedError):
            return answers.rate_limited(str(error), retry_after=error.seconds)
        if isinstance(error, RecordTooLargeError):
            return answers.too_large(str(error), unread=False)
        self._warn_of(error)
        if isinstance(error, OverloadedError):
            return answers.unavailable(str(error), retry_after=retry_after, unread=error.unread)
        what = "the log cannot be reached" if isinstance(error, LogError) else "something failed here"
        return answers.unavailable(f"{what}; try again", retry_after=retry_after)

    def _warn_of(self, error: Exception) -> None:
        """Log what failed, sparingly."""
        if isinstance(error, OverloadedError):
            self._diagnostics.warning("more requests wait than the settings allow", reason=str(error))
        elif isinstance(error, LogError):
            self._diagnostics.warning("the log takes nothing", reason=str(error))
        else:
            self._diagnostics.exception("a request failed unexpectedly", about=type(error).__name__)

    def _count(self, method: str, status: int, started: float) -> None:
        key = (method if method in _METHODS else "other", status)
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = self._metrics.ingest_requests.labels(key[0], str(status)).inc
        counter()
        self._metrics.ingest_seconds.observe(time.perf_counter() - started)


def _traceparent(head: Head) -> str:
    return traceparent_of(head.headers.get(b"traceparent"))


async def _traced(taking: Coroutine[Any, Any, _Taken], head: Head) -> _Taken:
    """Take events in the trace of the request, or of the app around."""
    trace = tracing.active() or _traceparent(head)
    if not trace:
        return await taking
    with tracing.span(head.method, [trace], kind="SERVER", attributes=lambda: {_METHOD: head.method}) as span:
        answer, cookie = await taking
        span.note("http.response.status_code", answer.status)
    return answer, cookie


async def _decline(scope: Scope, receive: Receive, send: Send) -> None:
    """Say no to what is not HTTP; a websocket that is closed before it is accepted gets 403."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close"})
