"""Payloads: the tracker-protocol parameters of one event, a flat map of strings."""

import binascii
from base64 import b64decode
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import uuid4

from . import json_text
from .errors import JsonError, PayloadError
from .iglu.uri import parse_iglu_uri
from .tracker_protocol import CODE_BY_NAME, EVENTS

Payload = dict[str, str]

UNSTRUCT_EVENT_SCHEMA = "iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0"
CONTEXTS_SCHEMA = "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-1"
PAYLOAD_DATA_SCHEMA = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"

_PAYLOAD_DATA = parse_iglu_uri(PAYLOAD_DATA_SCHEMA)[:4]  # of this model, whichever version
_TO_STANDARD_ALPHABET = bytes.maketrans(b"-_", b"+/")
_CODE_BY_EVENT = {name: code for code, name in EVENTS.items()}


def dump_payload(payload: Payload) -> str:
    """The JSON text of a payload, as it stands in an Event."""
    return json_text.dumps(payload)


def load_payload(text: str | bytes) -> Payload:
    """The payload in an Event's JSON text. Raises PayloadError when the text does not hold one."""
    try:
        return checked_payload(json_text.loads_strings(text))
    except JsonError as error:
        raise PayloadError(str(error)) from None


def as_payload(parameters: Mapping[str, Any]) -> Payload:
    """The payload in what the official tracker hands to an emitter's `input`: it holds integers, and changes when an
    event is re-tracked.
    """
    return {code: value if isinstance(value, str) else str(value) for code, value in parameters.items()}


def checked_payload(value: Any) -> Payload:
    """The value itself, when it is a flat object of strings. Raises PayloadError when it is not."""
    if type(value) is not dict:
        raise PayloadError(f"an event must be a JSON object, not {_json_type(value)}")
    for parameter in value.values():
        if type(parameter) is not str:
            code = next(code for code in value if value[code] is parameter)
            raise PayloadError(f"{code}: must be a string, not {_json_type(parameter)}")
    return value


def is_payload_data(value: Any) -> bool:
    """Whether a value is, by its schema, a payload_data: the envelope in which trackers POST their events."""
    schema = value.get("schema") if isinstance(value, dict) else None
    try:
        return isinstance(schema, str) and parse_iglu_uri(schema)[:4] == _PAYLOAD_DATA
    except PayloadError:
        return False


def items_of_payload_data(value: dict[str, Any]) -> list[Any]:
    """What stands for events in a payload_data. Raises PayloadError when there is nothing."""
    items = value.get("data")
    if not isinstance(items, list) or not items:
        raise PayloadError("data: must be a non-empty array of events")
    return items


def complete(payload: Payload, *, tracker_version: str) -> Payload:
    """The payload with what every event on the log has: a known `e`, and `eid`, `p` and `tv`, filled in when absent.

    Raises PayloadError when `e` is absent or unknown.
    """
    event = payload.get("e")
    if event not in EVENTS:
        raise PayloadError(
            f"e: {'is missing' if event is None else f'{event!r} is unknown'}; it is one of {', '.join(EVENTS)}"
        )
    missing = {code: default for code, default in (("p", "srv"), ("tv", tracker_version)) if not payload.get(code)}
    if not payload.get("eid"):
        missing["eid"] = str(uuid4())
    return {**payload, **missing} if missing else payload


def payload_from_plain_json(value: Any) -> Payload:
    """The payload of one plain JSON event, in any of the three forms people write by hand.

    - tracker-protocol parameters: `{"e": "pv", "url": "…"}`, where numbers, booleans and JSON values are allowed too;
    - a self-describing event: `{"schema": "iglu:…", "data": {…}}`;
    - canonical names: `{"event": "page_view", "page_url": "…"}` or
      `{"event": "unstruct", "unstruct_event": {"schema": …, "data": …}, "contexts": [{"schema": …, "data": …}]}`.

    Raises PayloadError when it is none of them.
    """
    if not isinstance(value, dict):
        raise PayloadError(f"an event must be a JSON object, not {_json_type(value)}")
    if "e" in value:
        return {code: _as_parameter(parameter) for code, parameter in value.items() if parameter is not None}
    if "schema" in value and "data" in value:
        rest = {name: item for name, item in value.items() if name not in ("schema", "data")}
        return _from_canonical_names({**rest, "unstruct_event": {"schema": value["schema"], "data": value["data"]}})
    if "event" in value or "unstruct_event" in value:
        return _from_canonical_names(value)
    raise PayloadError(
        "not an event: it has neither e (tracker protocol), nor schema and data (self-describing), nor event"
    )


def _from_canonical_names(value: dict[str, Any]) -> Payload:
    payload: Payload = {}
    for name, item in value.items():
        if item is None:
            continue
        if name == "unstruct_event":
            payload["ue_pr"] = json_text.dumps({"schema": UNSTRUCT_EVENT_SCHEMA, "data": item})
        elif name == "contexts":
            payload["co"] = json_text.dumps({"schema": CONTEXTS_SCHEMA, "data": item})
        elif name == "event":
            payload["e"] = _CODE_BY_EVENT.get(item, "") if isinstance(item, str) else ""
        elif name in CODE_BY_NAME:
            payload[CODE_BY_NAME[name]] = _as_parameter(item)
        else:
            raise PayloadError(f"{name}: not a canonical field of an event")
    if "ue_pr" in payload:
        payload.setdefault("e", "ue")
    if not payload.get("e"):
        raise PayloadError(f"event: must be one of {', '.join(_CODE_BY_EVENT)}")
    return payload


def _as_parameter(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "1" if value else "0"
    return json_text.dumps(value)


def decode_base64(text: str) -> str:
    """The text in a base64 parameter: both alphabets, any padding. Raises PayloadError."""
    try:
        standard = text.encode("ascii").translate(_TO_STANDARD_ALPHABET, b"= \r\n")
        return b64decode(standard + b"=" * (-len(standard) % 4), validate=True).decode("utf-8", "surrogatepass")
    except (binascii.Error, ValueError) as error:
        raise PayloadError(f"not base64 of UTF-8 text: {error}") from None


def self_describing(payload: Payload, *, plain: str, base64: str) -> Any:
    """The self-describing JSON in `plain`, else in `base64`, or None when both are absent or empty.

    Raises PayloadError when it is not JSON, or not `{"schema": str, "data": …}`.
    """
    text = payload.get(plain)
    if not text:
        encoded = payload.get(base64)
        if not encoded:
            return None
        text = decode_base64(encoded)
    try:
        value = json_text.loads(text)
    except JsonError as error:
        raise PayloadError(str(error)) from None
    return checked_self_describing(value)


def checked_self_describing(value: Any) -> dict[str, Any]:
    """The value itself, when it is `{"schema": str, "data": …}`. Raises PayloadError when it is not."""
    if not isinstance(value, dict) or not isinstance(value.get("schema"), str) or "data" not in value:
        raise PayloadError("not a self-describing JSON, which has a schema (a string) and data")
    return value


def event_key(payload: Payload) -> bytes:
    """What keeps one user's events in order on the log: `uid`, else `duid`, else `tnuid`, else `eid`."""
    return utf8(_first(payload, ("uid", "duid", "tnuid", "eid")))


def utf8(text: str) -> bytes:
    """UTF-8, in which a lone surrogate is kept, not refused."""
    return text.encode("utf-8", "surrogatepass")


def _first(payload: Payload, codes: Iterable[str]) -> str:
    return next((payload[code] for code in codes if payload.get(code)), "")


def _json_type(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
