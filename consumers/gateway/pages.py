"""Plain HTTP answers of the gateway: the debug page's files, and short texts."""

import hashlib
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from importlib.resources import files
from typing import NamedTuple

from websockets.datastructures import Headers
from websockets.http11 import Response

from snowbus.schemas import read_text

CONTRACT_PATH = "/asyncapi.yaml"

_CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
    ".yaml": "application/yaml",
}
_EVERY_ANSWER = {
    "Connection": "close",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class PageFile(NamedTuple):
    """A file of the debug page, or the contract."""

    content_type: str
    body: bytes
    etag: str


def load_page() -> dict[str, PageFile]:
    """The debug page's files by their paths, `/` being the page itself, and beside them the websocket's contract."""
    found = {CONTRACT_PATH: _page_file(".yaml", read_text(CONTRACT_PATH.lstrip("/")).encode())}
    for entry in files(__package__).joinpath("page").iterdir():
        suffix = f".{entry.name.rpartition('.')[2]}"
        if suffix in _CONTENT_TYPES and entry.is_file():
            found[f"/{entry.name}"] = _page_file(suffix, entry.read_bytes())
    if "/index.html" in found:
        found["/"] = found["/index.html"]
    return found


def page_response(file: PageFile, if_none_match: Sequence[str]) -> Response:
    """The answer with a file, or that it has not changed."""
    headers = {"ETag": file.etag, "Cache-Control": "no-cache"}
    if any(file.etag in value for value in if_none_match):
        return response(304, "", b"", headers)
    return response(200, file.content_type, file.body, headers)


def text_response(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    """An answer of one sentence."""
    return response(status, "text/plain; charset=utf-8", f"{text}\n".encode("utf-8", "replace"), headers)


def response(status: int, content_type: str, body: bytes, headers: Mapping[str, str] | None = None) -> Response:
    """An answer with what every answer of ours carries; the connection is closed after it."""
    all_headers = {**_EVERY_ANSWER, "Cache-Control": "no-store", **(headers or {})}
    if content_type:
        all_headers["Content-Type"] = content_type
    if status != 304:
        all_headers["Content-Length"] = str(len(body))
    return Response(status, HTTPStatus(status).phrase, Headers(all_headers), body)


def _page_file(suffix: str, body: bytes) -> PageFile:
    return PageFile(_CONTENT_TYPES[suffix], body, f'"{hashlib.sha256(body).hexdigest()[:20]}"')
