"""Sends bodies to the collector, over connections that are kept."""

from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import aiohttp

from snowbus.bus.errors import ConfigurationError

from .verdicts import Answer, NoAnswer

DEFAULT_PATH = "/com.snowplowanalytics.snowplow/tp2"

_CONNECT_SECONDS = 10.0
_EXCERPT_CHARACTERS = 500
_READ_BYTES = 65_536
_HEADERS = {
    "Content-Type": "application/json; charset=utf-8",
    "Accept-Encoding": "identity",
    # One POST speaks for many clients. This asks the collector to put in neither our address nor a network user id
    # made up for us; what each client has of them stands in its payload.
    "SP-Anonymous": "*",
}


def collector_url(setting: str) -> str:
    """The URL to POST to: the setting's own path when it has one, else the tracker protocol's.

    Raises ConfigurationError when it is no URL of a collector.
    """
    if not setting:
        raise ConfigurationError(
            "no collector to forward to: give --collector http://HOST:PORT (or SNOWBUS_COLLECTOR), the URL that "
            "trackers would send to"
        )
    try:
        parts = urlsplit(setting)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or parts.fragment:
        raise ConfigurationError(
            f"collector {setting!r} is not a URL like http://HOST:PORT or https://HOST/com.acme/track"
        )
    return setting if parts.path not in ("", "/") else parts._replace(path=DEFAULT_PATH).geturl()


class Sender:
    """POSTs bodies to one URL. Never raises over what the collector does, and never follows a redirect.

    It sends no User-Agent, which enrich would take for the client's where an event has none, and keeps no cookies.
    Whatever the environment says of proxies is not asked.
    """

    def __init__(self, url: str, *, connections: int, timeout: float) -> None:
        self.url = url
        self._connections = connections
        self._timeout = timeout

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_HEADERS,
            skip_auto_headers=("User-Agent",),
            timeout=aiohttp.ClientTimeout(total=self._timeout, sock_connect=min(_CONNECT_SECONDS, self._timeout)),
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def post(self, body: bytes) -> Answer | NoAnswer:
        """Send a body and return what came back. An answer that breaks off counts as none."""
        try:
            async with self._session.post(self.url, data=body, allow_redirects=False) as response:
                begins = await _beginning(response.content)
                excerpt = begins.decode("utf-8", "replace")[:_EXCERPT_CHARACTERS]
                return Answer(response.status, response.headers.get("Retry-After", ""), excerpt)
        except TimeoutError:
            return NoAnswer(f"no answer within {self._timeout:g} s")
        except (aiohttp.ClientError, OSError) as error:
            return NoAnswer(str(error) or type(error).__name__)
        except ValueError as error:  # what the library makes of some broken answers
            return NoAnswer(f"not HTTP: {error}")


async def _beginning(stream: aiohttp.StreamReader) -> bytes:
    """A body up to a bound; whole, as a rule, so that the connection can be used again."""
    parts: list[bytes] = []
    size = 0
    while size < _READ_BYTES and (part := await stream.read(_READ_BYTES)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)
