"""The answers of ingest: status, headers, body; never an exception's own text.

Trackers send again after 5xx, 413 and 408, and give up after 400: so 400 is what can never be understood, 503 what may
be taken later, and a batch of which anything was taken is answered 200, or its events would come twice.
"""

from base64 import b64decode
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from snowbus.bus import json_text
from snowbus.bus.tracker_protocol import COLLECTOR_PATH

from .requests import Refused

HeaderList = tuple[tuple[bytes, bytes], ...]

_REASONS_TOLD = 10
_PREFLIGHT_SECONDS = b"3600"
_PIXEL = b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_NO_SNIFFING = (b"x-content-type-options", b"nosniff")
_CLOSE = ((b"connection", b"close"),)
_UNKEPT = ((b"cache-control", b"no-cache, no-store, must-revalidate"),)


class Answer(NamedTuple):
    """An HTTP answer, without what depends on who asked."""

    status: int
    content_type: bytes
    body: bytes
    headers: HeaderList = ()
    lingers: bool = False
    """Whether the rest of the body is still coming: a connection closed on it might lose the answer."""


_TEXT = b"text/plain; charset=utf-8"

OK = Answer(200, _TEXT, b"ok")
PIXEL = Answer(200, b"image/gif", _PIXEL, _UNKEPT)
ROBOTS = Answer(200, _TEXT, b"User-agent: *\nDisallow: /\n")


def preflight(*, with_keys: bool) -> Answer:
    """What pages of other origins may send; an API key among it where there are any."""
    allowed = b"Content-Type, SP-Anonymous" + (b", Authorization, X-API-Key" if with_keys else b"")
    headers = (
        (b"access-control-allow-methods", b"GET, HEAD, POST, OPTIONS"),
        (b"access-control-allow-headers", allowed),
        (b"access-control-max-age", _PREFLIGHT_SECONDS),
    )
    return Answer(200, _TEXT, b"", headers)


def found(location: bytes) -> Answer:
    """The way on, from a click; not to be kept by anybody, as then the next click would not come here."""
    return Answer(302, _TEXT, b"", ((b"location", location), *_UNKEPT))


def partly(accepted: int, refused: Sequence[Refused]) -> Answer:
    """Some events of a batch are on the log, others were refused: 200, so that none is sent again."""
    return Answer(200, b"application/json", _tally(accepted, refused))


def not_understood(refused: Sequence[Refused]) -> Answer:
    """Nothing in the request is an event."""
    return Answer(400, b"application/json", _tally(0, refused))


def too_large(reason: str, *, unread: bool) -> Answer:
    """A body, or an event in it, that is larger than is taken."""
    return _error(413, reason, unread=unread)


def stalled(seconds: float) -> Answer:
    """A body that did not arrive in time."""
    return _error(408, f"the body did not arrive within {seconds:g} seconds", _CLOSE)


def unavailable(reason: str, *, retry_after: int, unread: bool = False) -> Answer:
    """It is not known that anything was accepted; the same request may be in `retry_after` seconds."""
    return _error(503, reason, ((b"retry-after", str(retry_after).encode()),), unread=unread)


def unauthorized(reason: str) -> Answer:
    """No API key, or none that is known."""
    return _error(401, reason, ((b"www-authenticate", b'Bearer realm="snowbus"'),))


def rate_limited(reason: str, *, retry_after: int) -> Answer:
    """An API key that has sent more than it may."""
    return _error(429, reason, ((b"retry-after", str(retry_after).encode()),))


def not_found(path: str) -> Answer:
    """There is nothing on the path."""
    return _error(404, f"there is nothing at {path[:200]}; events go to {COLLECTOR_PATH} or /tracking")


def redirects_disabled() -> Answer:
    """The collector's answer while its click redirects are off."""
    return _error(404, "redirects disabled")


def not_allowed(method: str, methods: Iterable[str]) -> Answer:
    """The path is there, the method is not."""
    allowed = ", ".join([*methods, "OPTIONS"])
    return _error(405, f"{method} is not answered here; {allowed} are", ((b"allow", allowed.encode()),))


def headers_of(answer: Answer, *, cors: HeaderList, cookie: bytes | None) -> list[tuple[bytes, bytes]]:
    """All headers of an answer: its own, those for the page that asks, and the cookie."""
    headers = [
        (b"content-type", answer.content_type),
        (b"content-length", str(len(answer.body)).encode()),
        _NO_SNIFFING,
        *answer.headers,
        *cors,
    ]
    if cookie is not None:
        headers.append((b"set-cookie", cookie))
    return headers


def _error(status: int, reason: str, headers: HeaderList = (), *, unread: bool = False) -> Answer:
    body = json_text.dump_bytes({"error": reason}) + b"\n"
    return Answer(status, b"application/json", body, (*headers, *_CLOSE) if unread else headers, lingers=unread)


def _tally(accepted: int, refused: Sequence[Refused]) -> bytes:
    tally: dict[str, Any] = {
        "accepted": accepted,
        "refused": len(refused),
        "reasons": [each.sentence for each in refused[:_REASONS_TOLD]],
    }
    return json_text.dump_bytes(tally) + b"\n"
