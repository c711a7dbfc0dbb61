"""A record as those who show it get it: decoded when somebody asks, at most once, and masked for some."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from typing import Any, NamedTuple

from snowbus.bus import json_text
from snowbus.bus.canonical import decode, view_of
from snowbus.bus.envelope import decode_event
from snowbus.bus.errors import EnvelopeError, PayloadError
from snowbus.bus.event import Event, FieldError, Record
from snowbus.bus.filters import Candidate
from snowbus.bus.payload import Payload, load_payload
from snowbus.bus.traceparent import TRACEPARENT, traceparent_of

from .masking import Mask


class Shown(NamedTuple):
    """An event's parameters, who sent it, and its canonical view."""

    payload: Payload
    source: Mapping[str, str]
    view: dict[str, Any]


class Validation(NamedTuple):
    """Whether an event is valid, invalid or unchecked, and what is wrong with it."""

    status: str
    errors: tuple[FieldError, ...]

    def members(self) -> dict[str, Any]:
        """As it stands in a message."""
        return {"status": self.status, "errors": [asdict(error) for error in self.errors]}


class Reading:
    """A record as readers get it: decoded when somebody asks, at most once. Never raises, whatever the record holds."""

    def __init__(self, record: Record) -> None:
        self.record = record

    @cached_property
    def candidate(self) -> Candidate:
        """The record as filters see it; all filters of all readers share one."""
        return _Candidate(self)

    @property
    def is_event(self) -> bool:
        """Whether the record is an event, with a payload that can be read."""
        return bool(self._decoded.payload)

    @property
    def view(self) -> dict[str, Any]:
        """The canonical view; empty when the record is not an event."""
        return self._decoded.view

    def shown(self, mask: Mask | None = None) -> "Shown | None":
        """What readers see of the event, with this mask; None when the record is not an event."""
        event, payload, view = self._decoded[:3]
        if event is None or not payload:
            return None
        if mask is None:
            return Shown(payload, event.source, view)
        masked = mask.payload(payload)
        return Shown(masked, mask.source(event.source), mask.view(event, masked, view))

    @property
    def view_json(self) -> bytes:
        """The canonical view as JSON text."""
        return self._decoded.view_json

    def validation(self, mask: Mask | None = None) -> "Validation":
        """Whether the event is valid, and why not; for readers with a mask, masked."""
        event, problems = self._decoded.event, self._decoded.problems
        status: str = event.validation if event else "invalid"
        errors = event.errors if event else ()
        if problems and status != "valid" and not errors:
            status, errors = "invalid", problems
        return Validation(status, mask.errors(errors) if mask else errors)

    def body(self, mask: Mask | None = None) -> bytes:
        """What follows the cursor in the message of this record; for readers with a mask, masked."""
        record = self.record
        decoded = self._decoded
        event = decoded.event
        key = None if record.key is None else record.key.decode("utf-8", "replace")
        payload, source, view_json = decoded.payload, event.source if event else {}, decoded.view_json
        if mask is not None:
            key, payload, source = mask.key(key), mask.payload(payload), mask.source(source)
            view_json = json_text.dump_bytes(mask.view(event, payload, decoded.view)) if event and payload else b"{}"
        place = {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp": record.timestamp,
            "key": key,
        }
        rest: dict[str, Any] = {
            "payload": payload,
            "source": source,
            "validation": self.validation(mask).members(),
            "producer": event.producer if event else "",
        }
        if traceparent := traceparent_of(record.header(TRACEPARENT)):
            rest["traceparent"] = traceparent
        parts = (json_text.dump_bytes(place)[1:-1], b'"event":' + view_json, json_text.dump_bytes(rest)[1:])
        return b",".join(parts)

    @cached_property
    def _decoded(self) -> "_Decoded":
        try:
            return _decode(self.record)
        except EnvelopeError as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001 - whatever one record holds, its readers go on
            reason = f"it cannot be shown: {error!r}"
        return _Decoded(None, {}, {}, b"{}", (FieldError("", "", "", "an event", reason[:500]),))


class _Candidate(Candidate):
    """Takes the text from the JSON that the message needs anyway."""

    def __init__(self, reading: Reading) -> None:
        super().__init__(reading.record, lambda: reading.view)
        self._reading = reading

    @cached_property
    def text(self) -> str:
        return self._reading.view_json.decode().lower()


class _Decoded(NamedTuple):
    event: Event | None
    payload: Payload
    view: dict[str, Any]
    view_json: bytes
    problems: tuple[FieldError, ...]


def _decode(record: Record) -> _Decoded:
    event = decode_event(record.value)
    try:
        payload = load_payload(event.payload)
    except PayloadError as error:
        problem = FieldError("payload", "", "", "a flat JSON object of strings", error.reason)
        return _Decoded(event, {}, {}, b"{}", (problem,))
    decoded = decode(payload)
    view = view_of(event, decoded)
    try:
        return _Decoded(event, payload, view, json_text.dump_bytes(view), tuple(decoded.problems))
    except RecursionError:
        problem = FieldError("payload", "", "", "JSON that is not nested so deeply", "about a thousand levels")
        view = {name: value for name, value in view.items() if not isinstance(value, dict | list)}
        return _Decoded(event, payload, view, json_text.dump_bytes(view), (problem, *decoded.problems))
