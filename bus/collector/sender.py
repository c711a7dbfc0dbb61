"""Sends bodies to one collector, over connections that are kept."""

import asyncio
import gzip
import ssl
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import aiohttp

from ..diagnostics import Diagnostics
from ..settings import Settings
from ..tls import client_context
from ..watched_file import WatchedFile
from .faults import no_answer
from .target import Target, headers_of, proxy_of
from .verdicts import Answer, NoAnswer

logger = Diagnostics(__name__)

_EXCERPT_CHARACTERS = 500
_READ_BYTES = 65_536
_GZIP_LEVEL = 1
_IDLE_SECONDS = 15.0
_NONE: Mapping[str, str] = {}
_HEADERS = {
    "Content-Type": "application/json; charset=utf-8",
    "Accept-Encoding": "identity",
    # One POST speaks for many clients. This asks the collector to put in neither our address nor a network user id
    # made up for us; what each client has of them stands in its payload.
    "SP-Anonymous": "*",
}


class Sender:
    """POSTs bodies to one collector. Never raises over what that does, and never follows a redirect.

    No request is sent twice by itself: one that was not answered may have been taken, and to send it again is the
    caller's to decide. It sends no User-Agent unless told to, which enrich would take for the client's where an event
    has none, and keeps no cookies. Whatever the environment says of proxies is not asked. Connections that are idle
    are closed after 15 s, before the other side would, which could cross with a request.

    Raises ConfigurationError, when it is made, for settings that cannot work.
    """

    def __init__(self, target: Target, *, settings: Settings) -> None:
        self.name = target.name
        self._target = target
        self._connections = settings.collect_in_flight
        self._timeout = aiohttp.ClientTimeout(
            total=settings.collect_timeout,
            connect=settings.collect_connect_timeout,
            sock_read=settings.collect_read_timeout,
        )
        self._gzip = settings.collect_gzip
        self._own_headers = [*_HEADERS.items(), *headers_of(settings.collect_headers, [target])]
        self.headers_file = _headers_file(settings, target)
        if target.authorization:
            self._own_headers.append(("Authorization", target.authorization))
        proxy = proxy_of(settings)
        self._proxy = proxy.url if proxy else None
        self._proxy_headers: dict[str, str] = {}
        if proxy and proxy.authorization:
            ours = ("Proxy-Authorization", proxy.authorization)
            if target.secure:
                self._proxy_headers = dict([ours])  # only the tunnel's: the collector has no business with it
            else:
                self._own_headers.append(ours)
        self._tls = _tls_context(settings) if target.secure else True

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._connections,
                ssl=self._tls,
                keepalive_timeout=_IDLE_SECONDS,
                resolver=aiohttp.ThreadedResolver(),  # the system's, also where aiodns is installed
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent",),
            timeout=self._timeout,
            trust_env=False,
            auto_decompress=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def post(self, body: bytes, headers: Mapping[str, str] = _NONE) -> Answer | NoAnswer:
        """Send a body and return what came back. An answer that breaks off counts as none.

        `headers` go along with this one.
        """
        ours = [*self._headers, *headers.items()]
        if self._gzip:
            packed = await asyncio.to_thread(gzip.compress, body, _GZIP_LEVEL)
            outcome = await self._send(packed, [*ours, ("Content-Encoding", "gzip")])
            if not isinstance(outcome, Answer) or outcome.status != 415:
                return outcome
            # It says that it took nothing, and what of: to send the same once more is no guess.
            logger.warning("the collector takes no gzip; requests go uncompressed now", collector=self.name)
            self._gzip = False
        return await self._send(body, ours)

    @property
    def _headers(self) -> list[tuple[str, str]]:
        in_file = self.headers_file.value(now=time.monotonic()) if self.headers_file else ()
        return [*self._own_headers, *in_file]

    async def _send(self, body: bytes, headers: list[tuple[str, str]]) -> Answer | NoAnswer:
        try:
            async with self._session.post(
                self._target.url,
                data=body,
                headers=headers,
                allow_redirects=False,
                proxy=self._proxy,
                proxy_headers=self._proxy_headers,
            ) as response:
                begins = await _beginning(response.content)
                excerpt = begins.decode("utf-8", "replace")[:_EXCERPT_CHARACTERS]
                return Answer(response.status, response.headers.get("Retry-After", ""), excerpt)
        except TimeoutError as error:
            return NoAnswer(self._describe(error))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            outcome = no_answer(error, host=self._target.host)
            if outcome is None:
                raise
            return outcome

    def _describe(self, error: TimeoutError) -> str:
        match error:
            case aiohttp.ConnectionTimeoutError():
                return f"no connection within {self._timeout.connect:g} s"
            case aiohttp.SocketTimeoutError():
                return f"not a byte for {self._timeout.sock_read:g} s"
        return f"no answer within {self._timeout.total:g} s"


def _headers_file(settings: Settings, target: Target) -> WatchedFile[list[tuple[str, str]]] | None:
    setting = "collect_headers_file"
    if not settings.collect_headers_file:
        return None

    def parse(text: str) -> list[tuple[str, str]]:
        lines = [line for line in text.splitlines() if line.strip()]
        return headers_of(lines, [target], setting=setting)

    return WatchedFile(setting, settings.collect_headers_file, parse)


def _tls_context(settings: Settings) -> ssl.SSLContext:
    """How to make sure of the collector, and of us. There is no way to leave it out."""
    return client_context(
        "collect",
        cafile=settings.collect_ssl_cafile,
        certfile=settings.collect_ssl_certfile,
        keyfile=settings.collect_ssl_keyfile,
        key_password_file=settings.collect_ssl_key_password_file,
    )


async def _beginning(stream: aiohttp.StreamReader) -> bytes:
    """A body up to a bound; whole, as a rule, so that the connection can be used again."""
    parts: list[bytes] = []
    size = 0
    while size < _READ_BYTES and (part := await stream.read(_READ_BYTES)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)
