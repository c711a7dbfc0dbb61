"""Fetches schemas from registries: from folders, and over HTTP.

Source: Snowplow's Iglu documentation, "Static repos" and "Iglu Server": a 404 says that there is no such schema.
"""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import aiohttp

from .. import json_text
from ..errors import JsonError, PayloadError, RegistryError, SchemaError
from .config import Http, RegistryConfig
from .schema import MAX_BYTES
from .uri import IgluUri, parse_iglu_uri

_FETCH_SECONDS = 5.0
_REDIRECTS = 3
_LIST_BYTES = 10_000_000


class Registry(Protocol):
    """Somewhere schemas are."""

    async def fetch(self, uri: IgluUri) -> bytes | None:
        """The text of a schema, or None when it has none. Raises RegistryError, SchemaError (when it is too large)."""

    async def list_schemas(self) -> list[IgluUri]:
        """The schemas that it has. Raises RegistryError, as not every registry can tell."""


def registry_of(config: RegistryConfig) -> Registry:
    """The registry that is configured."""
    if config.connection.embedded is not None:
        return FolderRegistry(Path(config.connection.embedded.path))
    if config.connection.http is None:
        raise ValueError(f"no connection: {config.name}")
    return HttpRegistry(config.connection.http)


class FolderRegistry:
    """Schemas in a folder, each at `schemas/vendor/name/format/version`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def fetch(self, uri: IgluUri) -> bytes | None:
        """See Registry."""
        return await asyncio.to_thread(read_schema_file, self._folder, uri)

    async def list_schemas(self) -> list[IgluUri]:
        """See Registry."""
        return await asyncio.to_thread(lambda: [uri for _, uri in schema_files(self._folder) if uri is not None])


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


def read_schema_file(folder: Path, uri: IgluUri) -> bytes | None:
    """The text of a schema in a folder, or None. Raises RegistryError, SchemaError."""
    try:
        with (folder / "schemas" / uri.path).open("rb") as file:
            return _bounded(file.read(MAX_BYTES + 1), MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise RegistryError(f"it cannot be read: {error.strerror}") from None


def schema_files(folder: Path) -> Iterator[tuple[Path, IgluUri | None]]:
    """Each file below `schemas/` in a folder, in order, with the schema that its path names, if it does."""
    schemas = folder / "schemas"
    for parent, folders, names in os.walk(schemas):
        folders.sort()
        for name in sorted(names):
            file = Path(parent) / name
            try:
                yield file, parse_iglu_uri(f"iglu:{file.relative_to(schemas).as_posix()}")
            except PayloadError:
                yield file, None


async def _read(stream: aiohttp.StreamReader, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while size <= limit and (part := await stream.readany()):
        parts.append(part)
        size += len(part)
    return _bounded(b"".join(parts), limit)


def _bounded(text: bytes, limit: int) -> bytes:
    if len(text) > limit:
        raise SchemaError(f"it is larger than {limit:,} bytes")
    return text


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
