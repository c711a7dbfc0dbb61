"""Fetches schemas from registries on the web.

Source: Snowplow's Iglu documentation, "Static repos" and "Iglu Server": a 404 says that there is no such schema.
"""

import os

import aiohttp

from .. import json_text
from ..errors import JsonError, PayloadError, RegistryError, SchemaError
from .config import Http
from .registries import bounded
from .schema import MAX_BYTES
from .uri import IgluUri, parse_iglu_uri

_FETCH_SECONDS = 5.0
_REDIRECTS = 3
_LIST_BYTES = 10_000_000


class HttpRegistry:
    """Schemas on the web. A key is sent to the registry itself and to nobody it redirects to."""

    def __init__(self, config: Http) -> None:
        self._base = config.uri.rstrip("/")
        self._headers = {"Accept": "application/json"} | ({"apikey": config.apikey} if config.apikey else {})
        self._redirects = not config.apikey

    async def fetch(self, uri: IgluUri) -> bytes | None:
        """See Registry."""
        return await self._get(f"/schemas/{uri.path}", limit=MAX_BYTES)

    async def list_schemas(self) -> list[IgluUri]:
        """See Registry. An Iglu Server lists its schemas, and a gateway of ours; a static registry does not."""
        try:
            listed = json_text.loads_strings(await self._get("/schemas", limit=_LIST_BYTES) or b"null")
            if not isinstance(listed, list):
                raise RegistryError("it does not list its schemas")
            return [parse_iglu_uri(str(each)) for each in listed]
        except (JsonError, PayloadError, SchemaError):
            raise RegistryError("it does not list its schemas") from None

    async def _get(self, path: str, *, limit: int) -> bytes | None:
        try:
            async with (
                aiohttp.ClientSession(
                    timeout=aiohttp.ClientTimeout(total=_FETCH_SECONDS),
                    connector=aiohttp.TCPConnector(resolver=aiohttp.ThreadedResolver()),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    trust_env=False,
                ) as session,
                session.get(
                    self._base + path, headers=self._headers, allow_redirects=self._redirects, max_redirects=_REDIRECTS
                ) as response,
            ):
                if response.status == 404:
                    return None
                if response.status != 200:
                    raise RegistryError(f"it answers {response.status}")
                return await _read(response.content, limit)
        except TimeoutError:
            raise RegistryError(f"no answer within {_FETCH_SECONDS:g} s") from None
        except SchemaError:
            raise
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise RegistryError(_reason(error)) from None


async def _read(stream: aiohttp.StreamReader, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while size <= limit and (part := await stream.readany()):
        parts.append(part)
        size += len(part)
    return bounded(b"".join(parts), limit)


def _reason(error: Exception) -> str:
    """What went wrong, without the texts of aiohttp: the whole URL stands in some."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return "its certificate is not to be trusted"
        case aiohttp.ClientConnectorDNSError():
            return "its name is not found"
        case aiohttp.ClientConnectorError() if error.errno:
            return f"cannot connect: {os.strerror(error.errno)}"
        case aiohttp.TooManyRedirects():
            return "it redirects too often"
    return "no answer that can be understood"
