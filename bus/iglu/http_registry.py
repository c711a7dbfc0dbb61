"""Fetches schemas from registries on the web.

Source: Snowplow's Iglu documentation, "Static repos" and "Iglu Server": a 404 says that there is no such schema.
"""

from .. import json_text
from ..download import DownloadError, download
from ..errors import JsonError, PayloadError, RegistryError, SchemaError
from .config import Http
from .registries import bounded
from .schema import MAX_BYTES
from .uri import IgluUri, parse_iglu_uri

_FETCH_SECONDS = 5.0
_REDIRECTS = 3
_BLANK = b"\xef\xbb\xbf \t\r\n"
_LIST_BYTES = 10_000_000


class HttpRegistry:
    """Schemas on the web. A key is sent to the registry itself and to nobody it redirects to."""

    def __init__(self, config: Http) -> None:
        self._base = config.uri.rstrip("/")
        self._headers = {"Accept": "application/json"} | ({"apikey": config.apikey} if config.apikey else {})
        self._redirects = 0 if config.apikey else _REDIRECTS

    async def fetch(self, uri: IgluUri) -> bytes | None:
        """See Registry."""
        text = await self._get(f"/schemas/{uri.path}", limit=MAX_BYTES)
        if text is not None and not text.lstrip(_BLANK).startswith(b"{"):  # the page of a proxy, say
            raise RegistryError("it answers 200 with something that is no schema")
        return text

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
            found = await download(
                self._base + path,
                whose="its",
                seconds=_FETCH_SECONDS,
                limit=limit,
                headers=self._headers,
                max_redirects=self._redirects,
            )
        except DownloadError as error:
            raise RegistryError(str(error)) from None
        if found.status == 404:
            return None
        if found.status != 200:
            raise RegistryError(f"it answers {found.status}")
        return bounded(found.body, limit)
