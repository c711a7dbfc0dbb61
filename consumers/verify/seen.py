"""An event as a plan looks at it, whatever it was read from: a record, a message of a gateway, plain JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from snowbus.bus.acceptance import Draft
from snowbus.bus.canonical import Decoded, decode, schema_of, view_of
from snowbus.bus.envelope import decode_event
from snowbus.bus.errors import EnvelopeError, PayloadError
from snowbus.bus.event import Event, FieldError, Record, Validation
from snowbus.bus.filters import Candidate, schema_matcher
from snowbus.bus.iglu.uri import IgluUri
from snowbus.bus.payload import Payload, load_payload

_CONTEXTS = "contexts_"


class SeenEntity(NamedTuple):
    """An entity of an event: its Iglu URI, where that is known, else the `column` that the Analytics SDKs give it."""

    schema: str
    data: Any
    column: str = ""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """An event that was seen.

    `event` has Snowplow's enriched names, typed; `payload` what was sent, where known; `schema` and `data` are those of
    a self-describing event, `schema` of the older types Snowplow's own. `validation` is `valid`, `invalid` or
    `unchecked`, and `errors` says why. `timestamp` is when it was accepted (ms since 1970; 0 where nobody knows), and
    `place` where it stands, in words. All is empty, and invalid, for what is no event.
    """

    event: Mapping[str, Any]
    payload: Payload = field(default_factory=dict)
    schema: str = ""
    data: Any = None
    entities: tuple[SeenEntity, ...] = ()
    validation: Validation = "unchecked"
    errors: tuple[FieldError, ...] = ()
    timestamp: int = 0
    place: str = ""

    @property
    def is_event(self) -> bool:
        """Whether it is an event at all."""
        return bool(self.event or self.payload)

    @property
    def event_id(self) -> str:
        """The event's id, or an empty string."""
        return str(self.event.get("event_id", ""))

    @property
    def name(self) -> str:
        """What happened: the name of a self-describing event, else the type."""
        event = self.event
        name = event.get("event_name") if event.get("event") == "unstruct" else None
        return str(name or event.get("event") or "not an event")

    def entities_of(self, schema: str) -> list[Any]:
        """The data of every entity of this schema: an Iglu URI, with `*` allowed in its version. Raises FilterError.

        Of an entity that is known by its column only, the version is known to its model.
        """
        is_wanted, column = schema_matcher(schema), _column(schema)
        return [
            entity.data
            for entity in self.entities
            if (is_wanted(entity.schema) if entity.schema else _is_column(entity.column, column))
        ]

    @property
    def candidate(self) -> Candidate:
        """The event as filters see it."""
        facts = {
            "event_id": self.event_id,
            "app_id": self.event.get("app_id"),
            "event": self.event.get("event"),
            "schema": self.schema,
            "valid": {"valid": "true", "invalid": "false"}.get(self.validation),
        }
        headers = tuple((name, str(value).encode("utf-8", "replace")) for name, value in facts.items() if value)
        return Candidate(Record("", 0, 0, self.timestamp, None, b"", headers), lambda: self.event)


def seen_record(record: Record) -> Seen:
    """The event in a record of the log. Never raises."""
    place = f"{record.topic}/{record.partition}@{record.offset}"
    try:
        return seen_event(decode_event(record.value), place=place, timestamp=record.timestamp)
    except EnvelopeError as error:
        return not_an_event(str(error), place=place, timestamp=record.timestamp)


def seen_event(event: Event, *, place: str = "", timestamp: int | None = None) -> Seen:
    """An event as it was accepted. Never raises."""
    when = event.ingest_tstamp if timestamp is None else timestamp
    try:
        payload = load_payload(event.payload)
    except PayloadError as error:
        return not_an_event(error.reason, place=place, timestamp=when)
    decoded = decode(payload)
    return Seen(
        event=view_of(event, decoded),
        **_told_by(payload, decoded),
        **_validation(event.validation, event.errors or tuple(decoded.problems)),
        timestamp=when,
        place=place,
    )


def seen_draft(drafted: Draft, *, place: str = "") -> Seen:
    """An event that was read and has not been checked. Never raises."""
    event = Event(drafted.payload["eid"], 0, "")
    return Seen(event=view_of(event, drafted.decoded), **_told_by(*drafted), place=place)


def seen_message(
    view: Mapping[str, Any],
    payload: Payload,
    *,
    validation: Validation = "unchecked",
    errors: tuple[FieldError, ...] = (),
    place: str = "",
    timestamp: int = 0,
) -> Seen:
    """An event from its canonical view and its payload, as the gateway sends both. Never raises."""
    return Seen(
        event=view,
        **_told_by(payload, decode(payload)),
        validation=validation,
        errors=errors,
        place=place,
        timestamp=timestamp,
    )


def seen_view(view: Mapping[str, Any], *, place: str = "") -> Seen:
    """An event from its canonical view alone, the shape of the Analytics SDKs. Never raises."""
    parts = [view.get(f"event_{part}") for part in ("vendor", "name", "format", "version")]
    data = next((value for name, value in view.items() if name.startswith("unstruct_event_")), None)
    entities = [
        SeenEntity("", item, name)
        for name, items in view.items()
        if name.startswith(_CONTEXTS) and isinstance(items, list)
        for item in items
    ]
    return Seen(
        event=view,
        schema=f"iglu:{'/'.join(map(str, parts))}" if all(parts) else "",
        data=data,
        entities=tuple(entities),
        place=place,
    )


def not_an_event(reason: str, *, place: str = "", timestamp: int = 0) -> Seen:
    """What is no event, and why."""
    error = FieldError("", "", "", "an event", reason)
    return Seen(event={}, validation="invalid", errors=(error,), place=place, timestamp=timestamp)


def _told_by(payload: Payload, decoded: Decoded) -> dict[str, Any]:
    """What of an event its payload tells."""
    return {
        "payload": payload,
        "schema": str(schema_of(payload, decoded) or ""),
        "data": decoded.unstruct_event.data if decoded.unstruct_event else None,
        "entities": tuple(SeenEntity(str(entity.schema), entity.data) for entity in decoded.contexts),
    }


def _validation(status: Validation, errors: tuple[FieldError, ...]) -> dict[str, Any]:
    if errors and status == "unchecked":
        status = "invalid"
    return {"validation": status, "errors": errors}


def _column(schema: str) -> tuple[str, str]:
    """The column of a pattern's entities up to its model, and the model, which may be `*`."""
    vendor, name, _, version = schema.removeprefix("iglu:").split("/")
    model = version.partition("-")[0]
    parts = IgluUri(vendor, name, "jsonschema", 0, 0, 0).column("contexts")
    return parts.removesuffix("0"), model


def _is_column(column: str, wanted: tuple[str, str]) -> bool:
    beginning, model = wanted
    found = column.removeprefix(beginning)
    return column.startswith(beginning) and (found == model or (model == "*" and found.isdigit()))
