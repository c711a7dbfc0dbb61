"""The gateway as a static Iglu registry: schemas of folders at `/schemas/…`, and a list of them.

They are those of the resolver's folders, and our own: the feeds mention some.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from websockets.http11 import Response

from snowbus.bus.errors import PayloadError, RegistryError, SchemaError
from snowbus.bus.iglu.registries import read_schema_file, schema_files
from snowbus.bus.iglu.uri import parse_iglu_uri
from snowbus.bus.json_text import dump_bytes

from .pages import response, text_response

PATH = "/schemas"

# Any page may read them, as browser extensions do that check events against them; they hold nobody's data.
_FOR_ALL = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}


class SchemaFiles:
    """Serves what is in these folders; of two that have a schema, the first one's."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders

    async def answer(self, path: str) -> Response | None:
        """The answer for a path, or None when it is not for schemas.

        `/schemas` is a JSON array of Iglu URIs, `/schemas/vendor/name/format/version` the schema.
        """
        if path.rstrip("/") == PATH:
            return _json(await asyncio.to_thread(self._list))
        if not path.startswith(f"{PATH}/"):
            return None
        try:
            text = await asyncio.to_thread(self._read, path.removeprefix(f"{PATH}/"))
        except (RegistryError, SchemaError) as error:
            return text_response(503, str(error), _FOR_ALL)
        return _json(text) if text is not None else text_response(404, f"no such schema; {PATH} lists them", _FOR_ALL)

    def _list(self) -> bytes:
        uris = {uri for folder in self._folders for _, uri in schema_files(folder) if uri is not None}
        return dump_bytes([str(uri) for uri in sorted(uris)])

    def _read(self, path: str) -> bytes | None:
        try:
            uri = parse_iglu_uri(f"iglu:{path}")
        except PayloadError:
            return None
        texts = (read_schema_file(folder, uri) for folder in self._folders)
        return next((text for text in texts if text is not None), None)


def _json(body: bytes) -> Response:
    return response(200, "application/json", body, _FOR_ALL)
