"""What a request says: the events in it, and what cannot be understood, with the reason.

Source: Snowplow Enrich, SnowplowAdapter (Tp1, Tp2): parameters of the query string are merged into every event of the
body, and win.
"""

import re
from collections.abc import Callable
from typing import Any, Literal, NamedTuple
from urllib.parse import unquote_to_bytes

import orjson

from snowbus.bus import json_text
from snowbus.bus.errors import JsonError, PayloadError
from snowbus.bus.payload import (
    Payload,
    checked_payload,
    complete,
    is_payload_data,
    items_of_payload_data,
    payload_from_plain_json,
)

Kind = Literal[
    "content_type", "content_encoding", "not_json", "not_payload_data", "not_an_event", "redirect", "too_large"
]

_REASON_CHARACTERS = 300
KEPT_APART = 1_000
"""Of one request, the refused events that are kept each for itself; when there are more, they share one record."""
_CONTENT_TYPES = frozenset(
    {
        "",
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=utf-8",
        "text/plain;charset=utf-8",
    }
)
_JSON_TYPE = re.compile(r"application/([\w.-]+\+)?json|text/(plain|json)")
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]*)")
_CHARSETS = ("utf-8", "utf8", "us-ascii")


class Refused(NamedTuple):
    """What cannot be understood: one event of a batch (`where` it stood, its JSON), or a whole request."""

    kind: Kind
    reason: str
    where: str
    value: bytes

    @property
    def sentence(self) -> str:
        """Where and why."""
        return f"{self.where}: {self.reason}" if self.where else self.reason


_ONE_MORE = Refused("not_an_event", "not an event, as others before it", "", b"")
"""Each of those beyond KEPT_APART."""


class Understood(NamedTuple):
    """The payloads of a request, complete, in the order they were sent, and the events that were refused."""

    payloads: list[Payload]
    refused: list[Refused]


class RefusedError(PayloadError):
    """A whole request that cannot be understood."""

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def understand_query(query: bytes, *, tracker_version: str) -> Understood:
    """The one event in a query string."""
    try:
        if not query:
            raise PayloadError("the query string is empty; it holds an event's parameters, for example e=pv&aid=shop")
        return Understood([complete(parse_query(query), tracker_version=tracker_version)], [])
    except PayloadError as error:
        return Understood([], [Refused("not_an_event", _cut(error.reason), "", query)])


def understand_body(
    body: bytes, *, content_type: str, query: bytes, tracker_version: str, plain: bool = False, most: int | None = None
) -> Understood:
    """The events in a body: a payload_data, or, where `plain` events are taken, one of them or an array of them.

    When there are more than `most` the whole body is refused.
    """
    try:
        _check_content_type(content_type)
        items = _plain_items(body) if plain else _payload_data_items(body)
        if most is not None and len(items.values) > most:
            held = f"the body holds {len(items.values):,} events, and this request may hold {most:,}"
            raise RefusedError("too_large", f"{held}; send them in parts")
        return _understand_items(items, body, query=query, tracker_version=tracker_version)
    except RefusedError as error:
        return Understood([], [Refused(error.kind, _cut(error.reason), "", body)])
    except RecursionError:
        return Understood([], [Refused("not_json", "the body is nested too deeply", "", body)])


def _understand_items(items: "_Items", body: bytes, *, query: bytes, tracker_version: str) -> Understood:
    extra = parse_query(query) if query else None
    payloads, refused = [], []
    exact: list[Any] = []
    for position, item in enumerate(items.values):
        try:
            payload = items.as_payload(item)
            if extra:
                payload = {**payload, **extra}
            payloads.append(complete(payload, tracker_version=tracker_version))
        except PayloadError as error:
            if items.path is None:
                refused.append(Refused("not_an_event", _cut(error.reason), "", body))
                continue
            if len(refused) >= KEPT_APART:  # else a body of numbers would come to gigabytes
                refused.append(_ONE_MORE)
                continue
            exact = exact or _exact_values(body)
            value = json_text.dump_bytes(exact[position])
            refused.append(Refused("not_an_event", _cut(error.reason), f"{items.path}[{position}]", value))
    return Understood(payloads, refused)


def parse_query(query: bytes) -> Payload:
    """The parameters in a query string; of repeated ones the last.

    Bytes that are not UTF-8 become lone surrogates (as in PEP 383), so that nothing of what was sent is lost.
    """
    payload = {}
    for pair in query.split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            payload[_unquote(name)] = _unquote(value)
    return payload


def _unquote(text: bytes) -> str:
    if b"+" in text:
        text = text.replace(b"+", b" ")
    if b"%" in text:
        text = unquote_to_bytes(text)
    return text.decode("utf-8", "surrogateescape")


class _Items(NamedTuple):
    """The events of a body: where they stand in it (None: it is one), they, and how each becomes a payload."""

    path: str | None
    values: list[Any]
    as_payload: Callable[[Any], Payload]


def _payload_data_items(body: bytes) -> _Items:
    try:
        # In a payload_data nothing but strings counts, and those orjson reads exactly.
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = _loads(body)
    return _Items("data", _data_of(value), checked_payload)


def _plain_items(body: bytes) -> _Items:
    value = _loads(body)
    if is_payload_data(value):
        return _Items("data", _data_of(value), checked_payload)
    if isinstance(value, list):
        if not value:
            raise RefusedError("not_an_event", "the array is empty; it must hold at least one event")
        return _Items("", value, payload_from_plain_json)
    return _Items(None, [value], payload_from_plain_json)


def _exact_values(body: bytes) -> list[Any]:
    """The events of a body, read so that no number in them has changed."""
    value = _loads(body)
    return value if isinstance(value, list) else value["data"]


def _loads(body: bytes) -> Any:
    if not body:
        raise RefusedError("not_json", "the body is empty")
    try:
        return json_text.loads(body.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise RefusedError("not_json", f"the body is not UTF-8: byte {error.start}") from None
    except JsonError as error:
        raise RefusedError("not_json", str(error)) from None


def _data_of(value: Any) -> list[Any]:
    if not isinstance(value, dict) or not isinstance(value.get("schema"), str) or "data" not in value:
        raise RefusedError("not_payload_data", "the body must be a self-describing JSON with a schema and data")
    if not is_payload_data(value):
        raise RefusedError("not_payload_data", f"schema: {value['schema']!r} is not payload_data/jsonschema/1-*-*")
    try:
        return items_of_payload_data(value)
    except PayloadError as error:
        raise RefusedError("not_payload_data", error.reason) from None


def _check_content_type(content_type: str) -> None:
    """Take JSON, and what browsers call it to avoid a preflight: text/plain, or nothing. Raises RefusedError."""
    lowered = content_type.lower()
    if lowered in _CONTENT_TYPES:
        return
    if not _JSON_TYPE.fullmatch(lowered.partition(";")[0].strip()):
        raise RefusedError("content_type", f"content type {content_type!r}: must be application/json")
    charset = _CHARSET.search(lowered)
    if charset and charset[1] not in _CHARSETS:
        raise RefusedError("content_type", f"content type {content_type!r}: the charset must be utf-8")


def _cut(reason: str) -> str:
    return reason if len(reason) <= _REASON_CHARACTERS else reason[:_REASON_CHARACTERS] + "…"
