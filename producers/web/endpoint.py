"""The endpoint of a web app for the events of its own pages: ingest, mounted at a path of the app."""

import asyncio
import concurrent.futures
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from snowbus.bus.diagnostics import Diagnostics
from snowbus.bus.errors import ConfigurationError, SnowbusError
from snowbus.bus.http_server import Receive, Scope, Send
from snowbus.bus.log import Log, check_log_url, open_log
from snowbus.bus.metrics import Metrics
from snowbus.bus.payload import Payload
from snowbus.bus.settings import Settings
from snowbus.bus.sparingly import SparingDiagnostics

from ..emitters.options import check_text
from ..ingest.app import IngestApp
from .background_loop import BackgroundLoop
from .tracked_request import current_request

logger = Diagnostics(__name__)

_PATIENCE_SECONDS = 3.0
_TRACKING = "/tracking"
_UNAVAILABLE = b'{"error":"the log cannot be reached; try again"}\n'


class WsgiAnswer(NamedTuple):
    """An answer in WSGI's terms."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes


class _Opened(NamedTuple):
    log: Log
    app: IngestApp


class IngestEndpoint:
    """Ingest at one path of an app: `Tracking(…, endpoint=IngestEndpoint("kafka://localhost:9092"))`.

    It takes what `/tracking` of `snowbus ingest` takes, and answers as that does: 200 means durable on the log.
    `settings` are those of ingest, as far as they are not about listening. Events get the entities that the app's
    builders make of the request. It is an ASGI app; the log is opened with its first request. Raises ConfigurationError
    for what names no log, or is no path.
    """

    def __init__(self, log: str, *, path: str = _TRACKING, settings: Settings | None = None) -> None:
        check_text("log", log)
        check_log_url(log)
        if not path.startswith("/"):
            raise ConfigurationError(
                f'IngestEndpoint(path={path!r}): a path begins with a slash, such as "{_TRACKING}"'
            )
        self.path = path
        self._settings = (settings or Settings()).model_copy(update={"log": log})
        self._diagnostics = SparingDiagnostics(logger)
        self._hangs = False
        self._try_at = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening: asyncio.Task[_Opened] | None = None

    def trust(self, proxies: Sequence[str]) -> None:
        """Believe the proxies of the app, unless the settings name some."""
        if not self._settings.ingest_trusted_proxies:
            self._settings = self._settings.model_copy(update={"ingest_trusted_proxies": tuple(proxies)})

    def is_for(self, scope: Scope) -> bool:
        """Whether a request is for it."""
        return bool(scope["type"] == "http" and scope["path"] == self.path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, on whatever path it came in."""
        try:
            app = await self._app()
        except SnowbusError as error:
            self._diagnostics.warning("the endpoint takes no events", reason=str(error))
            headers = [(name.lower().encode(), value.encode()) for name, value in self._unavailable.headers]
            await send({"type": "http.response.start", "status": 503, "headers": headers})
            await send({"type": "http.response.body", "body": _UNAVAILABLE})
            return
        await app({**scope, "path": _TRACKING, "root_path": ""}, receive, send)

    def answer(self, scope: Scope, read: Callable[[int], bytes], background: BackgroundLoop) -> WsgiAnswer:
        """The answer to a request, for who is in a thread and may wait; `read` ends where the body does.

        But not for long: the app's views need the thread. While the log hangs one request now and then tries it, and
        the others are told at once to come again.
        """
        limit = self._settings.ingest_max_body_bytes
        body = read(limit + 1)
        now = time.monotonic()
        if self._hangs and now < self._try_at:
            return self._unavailable
        self._try_at = now + _PATIENCE_SECONDS
        future = background.submit(_call(self, scope, body, is_whole=len(body) <= limit))
        try:
            answer = future.result(_PATIENCE_SECONDS)
        except concurrent.futures.TimeoutError:  # what it has may still come to be on the log
            self._hangs = True
            self._try_at = time.monotonic() + self._settings.ingest_retry_after
            return self._unavailable
        self._hangs = False
        return answer

    @property
    def _unavailable(self) -> WsgiAnswer:
        headers = [("Content-Type", "application/json"), ("Retry-After", str(self._settings.ingest_retry_after))]
        return WsgiAnswer("503 Service Unavailable", headers, _UNAVAILABLE)

    async def aclose(self) -> None:
        """Wait for what is being written, and close the log; for the loop that it is open in."""
        opening = self._opening
        if opening is None or self._loop is not asyncio.get_running_loop():
            return
        self._opening = None
        with contextlib.suppress(SnowbusError):
            opened = await opening
            await opened.app.close()
            await opened.log.close()

    async def _app(self) -> IngestApp:
        loop = asyncio.get_running_loop()
        if self._opening is None or self._loop is not loop:  # another's has ended, or is that of a parent
            self._loop = loop
            self._opening = loop.create_task(self._open(), name="snowbus-endpoint")
        opening = self._opening
        try:
            return (await asyncio.shield(opening)).app
        except SnowbusError:
            if self._opening is opening:
                self._opening = None
            raise

    async def _open(self) -> _Opened:
        log = await open_log(self._settings.log, self._settings.log_options())
        return _Opened(log, IngestApp(log, self._settings, Metrics(), enrich=_with_contexts))


def scope_of(environ: Mapping[str, Any]) -> dict[str, Any]:
    """The ASGI scope of a request in a WSGI environ, or in a META of Django's."""
    headers = [
        (
            name.removeprefix("HTTP_").replace("_", "-").lower().encode("latin-1"),
            str(value).encode("latin-1", "replace"),
        )
        for name, value in environ.items()
        if name.startswith("HTTP_") or (name in ("CONTENT_TYPE", "CONTENT_LENGTH") and value)
    ]
    root = environ.get("SCRIPT_NAME", "")
    path = (root + environ.get("PATH_INFO", "")).encode("latin-1", "replace").decode("utf-8", "replace")
    client = environ.get("REMOTE_ADDR")
    return {
        "type": "http",
        "method": environ["REQUEST_METHOD"],
        "scheme": environ.get("wsgi.url_scheme", "http"),
        "path": path,
        "root_path": "",
        "query_string": environ.get("QUERY_STRING", "").encode("latin-1", "replace"),
        "headers": headers,
        "client": (client, 0) if client else None,
    }


async def _call(app: IngestEndpoint, scope: Scope, body: bytes, *, is_whole: bool) -> WsgiAnswer:
    coming = [{"type": "http.request", "body": body, "more_body": not is_whole}]
    sent: list[Any] = []

    async def receive() -> Any:
        return coming.pop() if coming else {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    status = sent[0]["status"]
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in sent[0]["headers"]]
    # The server's own: whether a connection stays open is not the app's to say in WSGI.
    headers = [(name, value) for name, value in headers if name != "connection"]
    is_head = scope["method"] == "HEAD"  # an ASGI server leaves the body out itself
    body = b"" if is_head else b"".join(message.get("body", b"") for message in sent[1:])
    return WsgiAnswer(f"{status} {HTTPStatus(status).phrase}", headers, body)


async def _with_contexts(payloads: Sequence[Payload]) -> list[Payload]:
    """Events with the entities of the request that they came in with."""
    request = current_request()
    return await request.enriched(payloads) if request else list(payloads)
