"""Recorded traffic for `snowbus verify --file`: the events in a text, whichever of a few shapes it has."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from snowbus.bus.acceptance import Draft, draft
from snowbus.bus.canonical import decode
from snowbus.bus.errors import JsonError, SnowbusError
from snowbus.bus.event import ERROR_MEMBERS, FieldError
from snowbus.bus.json_text import loads
from snowbus.consumers.verify.checking import Unchecked
from snowbus.consumers.verify.seen import Seen, not_an_event, seen_draft, seen_message, seen_view

from .events_in import events_in
from .har import HarError, har_requests, is_har

FORMATS = (
    "what `snowbus tail --json` or the websocket prints, events as `snowbus publish` takes them (payload_data, "
    "tracker protocol, self-describing, canonical names), canonical views as of the Analytics SDKs, each a line or in "
    "an array; what Snowplow Micro has at /micro/good and /micro/bad; or a HAR file"
)

_OTHER_MESSAGES = ("hello", "heartbeat", "subscription", "delivery", "gap", "error")
_VIEW_ONLY = ("event_vendor", "event_version", "collector_tstamp", "etl_tstamp")

Recorded = Seen | Unchecked
"""An event that was checked when it was recorded, or has still to be."""


class RecordedError(SnowbusError):
    """Recorded traffic that cannot be read; says where."""


def recorded_events(text: str) -> Iterator[Recorded]:
    """The events in recorded traffic, in its order. Raises RecordedError for what holds none that could be read."""
    text = text.removeprefix("\ufeff")
    if not text.strip():
        return
    try:
        whole = loads(text)
    except JsonError:
        yield from _lines(text)
        return
    if isinstance(whole, list):
        for number, item in enumerate(whole):
            yield from _events(item, f"[{number}]")
    else:
        yield from _har(whole) if is_har(whole) else _events(whole, "line 1")


def _lines(text: str) -> Iterator[Recorded]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = loads(line)
        except JsonError as error:
            raise RecordedError(f"line {number}: {error}; understood is {FORMATS}") from None
        yield from _events(value, f"line {number}")


def _events(value: Any, place: str) -> Iterator[Recorded]:
    """The events in one value."""
    if isinstance(value, dict) and "rawEvent" in value:
        yield from _of_micro(value, place)
    elif isinstance(value, dict) and isinstance(value.get("event"), dict):
        yield _message(value, place)
    elif isinstance(value, dict) and value.get("type") in _OTHER_MESSAGES and "e" not in value:
        return
    elif isinstance(value, dict) and any(name in value for name in _VIEW_ONLY):
        yield seen_view(value, place=place)
    else:
        for read in events_in(value):
            if isinstance(read.event, Draft):
                yield _unchecked(read.event, read.at(place))
            else:
                yield not_an_event(str(read.event), place=read.at(place))


def _of_micro(value: dict[str, Any], place: str) -> Iterator[Recorded]:
    """The event in an item of Snowplow Micro's /micro/good or /micro/bad, with what Micro found."""
    told = "; ".join(map(str, value["errors"])) if isinstance(value.get("errors"), list) else ""
    raw = value["rawEvent"]
    parameters = raw.get("parameters") if isinstance(raw, dict) else None
    for read in events_in(parameters):
        if not isinstance(read.event, Draft):
            yield not_an_event(told or str(read.event), place=place)
            continue
        seen = seen_draft(read.event, place=place)
        if told:
            yield replace(
                seen, validation="invalid", errors=(FieldError("", "", "", "what Micro takes for good", told),)
            )
        else:
            yield replace(seen, validation="valid")


def _message(value: dict[str, Any], place: str) -> Recorded:
    """An event as the gateway sends it, with what was found of it; or as others keep it, with its view and payload."""
    payload, validation = value.get("payload"), value.get("validation")
    if not isinstance(payload, dict) or not all(isinstance(item, str) for item in payload.values()):
        payload = {}
    if {"topic", "partition", "offset"} <= value.keys():
        place = f"{value['topic']}/{value['partition']}@{value['offset']}"
    if value["event"] and not payload:
        return seen_view(value["event"], place=place)
    timestamp = value["timestamp"] if isinstance(value.get("timestamp"), int) else 0
    if not isinstance(validation, dict) or validation.get("status") not in ("valid", "invalid", "unchecked"):
        return Unchecked(seen_message(value["event"], payload, place=place, timestamp=timestamp), decode(payload))
    return seen_message(
        value["event"],
        payload,
        validation=validation["status"],
        errors=tuple(_field_error(error) for error in validation.get("errors") or () if isinstance(error, dict)),
        place=place,
        timestamp=timestamp,
    )


def _field_error(error: dict[str, Any]) -> FieldError:
    return FieldError(*(str(error.get(name, "")) for name in ERROR_MEMBERS))


def _unchecked(drafted: Draft, place: str) -> Unchecked:
    return Unchecked(seen_draft(drafted, place=place), drafted.decoded)


def _har(value: dict[str, Any]) -> Iterator[Recorded]:
    """The events in the requests that a browser sent to a collector. Raises RecordedError."""
    try:
        for number, understood in har_requests(value):
            for payload in understood.payloads:
                yield _unchecked(draft(payload), f"request {number}")
            for refused in understood.refused:
                yield not_an_event(refused.sentence, place=f"request {number}")
    except HarError as error:
        raise RecordedError(str(error)) from None
