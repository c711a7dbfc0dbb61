"""What a request tells of its user and its page, as parameters of events.

Source: Snowplow's JavaScript tracker, id_cookie.ts: the cookie `_sp_id.<hash of its domain and path>` is
`domainUserId.createTs.visitCount.nowTs.lastVisitTs.sessionId.…`; a part that is not known is empty, or `undefined`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from snowplow_tracker import Subject

from snowbus.bus.atomic_fields import MAX_LENGTHS
from snowbus.bus.traceparent import traceparent_of
from snowbus.bus.tracker_protocol import BY_CODE

from ..ingest.cookies import read_cookie
from ..ingest.source import Head, Network, client_ip, header_text, is_from_proxy

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_PATH_CHARACTERS = "/:@!$&'()*+,;=~"
_PLATFORM = "srv"
_NUMBER = re.compile(r"[0-9]{1,9}")
_TIME = re.compile(r"[0-9]{1,12}")
_DOMAIN_USERID, _VISIT_COUNT, _NOW, _SESSION_ID = 0, 2, 3, 5


class Visit(NamedTuple):
    """What a request tells: its path, the parameters of whoever asks, those that an event may have of its own, and the
    trace that it belongs to.
    """

    path: str
    subject: Mapping[str, Any]
    event: Mapping[str, Any]
    traceparent: str = ""


UNKNOWN = Visit("", {"p": _PLATFORM}, {})
"""Of no request, or of one that cannot be understood."""


class Cookies(NamedTuple):
    """The prefix of the JavaScript tracker's cookies, and the name of the collector's."""

    prefix: str
    network_userid: str


def visit_of(head: Head, *, scheme: str, cookies: Cookies, proxies: Sequence[Network]) -> Visit:
    """What a request tells; `path` is the whole one, with where an app is mounted."""
    subject: dict[str, Any] = {"p": _PLATFORM, "ua": _header(head, b"user-agent"), "lang": _language(head)}
    header = head.headers.get(b"cookie", b"")
    subject |= _ids(header, cookies.prefix)
    if not head.anonymous:
        network_userid = read_cookie(header, cookies.network_userid)
        subject |= {"ip": client_ip(head, proxies=proxies), "tnuid": network_userid or ""}
    event = {"url": _url(head, scheme, proxies), "refr": _header(head, b"referer")}
    return Visit(head.path, _known(subject), _known(event), traceparent_of(head.headers.get(b"traceparent")))


def subject_of(visit: Visit) -> Subject:
    """The official tracker's subject of a request."""
    subject = Subject()
    subject.standard_nv_pairs.update(visit.subject)
    return subject


def _ids(header: bytes, prefix: str) -> dict[str, Any]:
    """Who the JavaScript tracker takes the user for; of several of its cookies that which it wrote last."""
    cookies = [_parts(value) for name, value in _pairs(header) if name.startswith(f"{prefix}id.")]
    if not cookies:
        return {}
    cookie = max(cookies, key=_age)
    ids: dict[str, Any] = {"duid": cookie[_DOMAIN_USERID]}
    if _NUMBER.fullmatch(cookie[_VISIT_COUNT]):
        ids["vid"] = int(cookie[_VISIT_COUNT])
    if _UUID.fullmatch(cookie[_SESSION_ID]):
        ids["sid"] = cookie[_SESSION_ID].lower()
    return ids


def _parts(value: str) -> list[str]:
    return [*value.split("."), *[""] * (_SESSION_ID + 1)]


def _age(parts: Sequence[str]) -> int:
    return int(parts[_NOW]) if _TIME.fullmatch(parts[_NOW]) else 0


def _pairs(header: bytes) -> Iterator[tuple[str, str]]:
    for pair in header.decode("latin-1").split(";"):
        name, _, value = pair.partition("=")
        yield name.strip(), unquote(value.strip().strip('"'))


def _url(head: Head, scheme: str, proxies: Sequence[Network]) -> str:
    host = _header(head, b"host")
    if is_from_proxy(head, proxies):
        scheme = _first(head, b"x-forwarded-proto") or scheme
        host = _first(head, b"x-forwarded-host") or host
    if not host:
        return ""
    scheme = {"ws": "http", "wss": "https"}.get(scheme, scheme)
    query = f"?{head.query.decode('latin-1')}" if head.query else ""
    return f"{scheme}://{host}{quote(head.path, safe=_PATH_CHARACTERS)}{query}"


def _language(head: Head) -> str:
    """The language that is asked for first."""
    language = _first(head, b"accept-language").partition(";")[0].strip()
    return "" if language == "*" else language


def _first(head: Head, name: bytes) -> str:
    return _header(head, name).partition(",")[0].strip()


def _header(head: Head, name: bytes) -> str:
    return header_text(head.headers.get(name, b""))


def _known(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What is known, no longer than Snowplow takes it: an event is not wrong because a browser's header is long."""
    return {
        code: value[: MAX_LENGTHS.get(BY_CODE[code].names[0])] if isinstance(value, str) else value
        for code, value in parameters.items()
        if value != ""
    }
