"""The canonical view: what everyone who reads an event gets, in Snowplow's own enriched names and types.

The shape is that of the Analytics SDKs: typed atomic fields, `unstruct_event_<vendor>_<name>_<model>` with the
event's data, `contexts_<vendor>_<name>_<model>` with a list of entities' data.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from . import json_text
from .errors import PayloadError
from .event import Event, FieldError
from .iglu.uri import IgluUri, parse_iglu_uri
from .payload import (
    CONTEXTS_SCHEMA,
    UNSTRUCT_EVENT_SCHEMA,
    Payload,
    checked_self_describing,
    load_payload,
    self_describing,
)
from .tracker_protocol import BY_CODE, EVENTS, NULLABLE, TEXT, Parameter, timestamp_from_ms

_SNOWPLOW = "com.snowplowanalytics.snowplow"
_UNTYPED_SCHEMAS = {
    "pv": IgluUri(_SNOWPLOW, "page_view", "jsonschema", 1, 0, 0),
    "pp": IgluUri(_SNOWPLOW, "page_ping", "jsonschema", 1, 0, 0),
    "se": IgluUri("com.google.analytics", "event", "jsonschema", 1, 0, 0),
    "tr": IgluUri(_SNOWPLOW, "transaction", "jsonschema", 1, 0, 0),
    "ti": IgluUri(_SNOWPLOW, "transaction_item", "jsonschema", 1, 0, 0),
}
_FROM_SOURCE = {
    "user_ipaddress": "ip",
    "useragent": "user_agent",
    "network_userid": "network_userid",
    "page_url": "referer",
}
_TEXT_NAMES = {code: parameter.names[0] for code, parameter in BY_CODE.items() if parameter.kind is TEXT}


class Entity(NamedTuple):
    """One self-describing JSON of an event: its schema and its data, and the `field` that it stands in."""

    schema: IgluUri
    data: Any
    field: str


class Decoded(NamedTuple):
    """A payload, decoded: typed `fields`, the self-describing event, its entities, and what could not be decoded."""

    fields: dict[str, Any]
    unstruct_event: Entity | None
    contexts: list[Entity]
    problems: list[FieldError]

    @property
    def entities(self) -> list[Entity]:
        """The self-describing event, if there is one, and the entities."""
        return self.contexts if self.unstruct_event is None else [self.unstruct_event, *self.contexts]


def canonical_view(event: Event) -> dict[str, Any]:
    """The canonical view of an event. Never raises: what cannot be decoded is left as the string that was sent."""
    try:
        payload = load_payload(event.payload)
    except PayloadError:
        payload = {}
    return view_of(event, decode(payload))


def view_of(event: Event, decoded: Decoded) -> dict[str, Any]:
    """The canonical view, from an event and its payload already decoded."""
    view = dict(decoded.fields)
    view["event_id"] = view.get("event_id", event.event_id)
    view["collector_tstamp"] = timestamp_from_ms(event.ingest_tstamp)
    for name, key in _FROM_SOURCE.items():
        if name not in view and key in event.source:
            view[name] = event.source[key]
    if decoded.unstruct_event is not None:
        view[decoded.unstruct_event.schema.column("unstruct_event")] = decoded.unstruct_event.data
    for entity in decoded.contexts:
        view.setdefault(entity.schema.column("contexts"), []).append(entity.data)
    return view


def decode(payload: Payload) -> Decoded:
    """Decode a payload by the table. Never raises: what is wrong is a problem, and stays the string that was sent."""
    fields: dict[str, Any] = {}
    problems: list[FieldError] = []
    for code, text in payload.items():
        if text == "":
            continue
        if (name := _TEXT_NAMES.get(code)) is not None:  # most are, and stay as they are
            if code != "nuid" or not payload.get("tnuid"):
                fields[name] = text
        elif (parameter := BY_CODE.get(code)) is not None:
            _decode_typed(parameter, text, fields, problems)
    unstruct_event = _unstruct_event(payload, problems) if payload.get("e") == "ue" else None
    schema = unstruct_event.schema if unstruct_event else _UNTYPED_SCHEMAS.get(payload.get("e", ""))
    if schema is not None:
        fields.update(_schema_fields(schema))
    return Decoded(fields, unstruct_event, _contexts(payload, problems), problems)


def _decode_typed(parameter: Parameter, text: str, fields: dict[str, Any], problems: list[FieldError]) -> None:
    name = parameter.names[0]
    try:
        value = parameter.kind.convert(text)
    except ValueError:
        if parameter.kind not in NULLABLE or text.lower() != "null":
            problems.append(FieldError(name, "", "", parameter.kind.expected, text))
            fields[name] = text
        return
    if len(parameter.names) == 1:
        fields[name] = value
    else:
        fields[name], fields[parameter.names[1]] = value


@lru_cache(maxsize=1024)
def _schema_fields(schema: IgluUri) -> Mapping[str, str]:
    """What the schema of an event says of it."""
    return {
        "event_vendor": schema.vendor,
        "event_name": schema.name,
        "event_format": schema.format,
        "event_version": schema.version,
    }


def event_schema(payload: Payload) -> IgluUri | None:
    """The Iglu URI of what happened: that of the self-describing event, or Snowplow's own for the older types."""
    if payload.get("e") == "ue":
        event = _unstruct_event(payload, [])
        return event.schema if event else None
    return _UNTYPED_SCHEMAS.get(payload.get("e", ""))


def schema_of(payload: Payload, decoded: Decoded) -> IgluUri | None:
    """As `event_schema`, from a payload already decoded."""
    if payload.get("e") == "ue":
        return decoded.unstruct_event.schema if decoded.unstruct_event else None
    return _UNTYPED_SCHEMAS.get(payload.get("e", ""))


def event_type(payload: Payload) -> str:
    """The canonical `event` of a payload (`page_view` for `pv`), or an empty string."""
    return EVENTS.get(payload.get("e", ""), "")


def _unstruct_event(payload: Payload, problems: list[FieldError]) -> Entity | None:
    expected = "a self-describing JSON"
    try:
        outer = self_describing(payload, plain="ue_pr", base64="ue_px")
        if outer is None:
            raise PayloadError("nothing")
        _check_envelope(outer, UNSTRUCT_EVENT_SCHEMA, "unstruct_event", problems)
        return _entity(outer["data"], "unstruct_event", problems)
    except PayloadError as error:
        problems.append(FieldError("unstruct_event", "", "", expected, error.reason))
        return None


def _contexts(payload: Payload, problems: list[FieldError]) -> list[Entity]:
    try:
        outer = self_describing(payload, plain="co", base64="cx")
    except PayloadError as error:
        problems.append(FieldError("contexts", "", "", "a self-describing JSON", error.reason))
        return []
    if outer is None:
        return []
    _check_envelope(outer, CONTEXTS_SCHEMA, "contexts", problems)
    if not isinstance(outer["data"], list):
        problems.append(FieldError("contexts", "", "/data", "an array", json_text.dumps(outer["data"])[:200]))
        return []
    entities = []
    for position, item in enumerate(outer["data"]):
        field = f"contexts[{position}]"
        try:
            entities.append(_entity(item, field, problems))
        except PayloadError as error:
            problems.append(FieldError(field, "", "", "a self-describing JSON", error.reason))
    return entities


def _check_envelope(outer: Any, wanted: str, field: str, problems: list[FieldError]) -> None:
    """Enrich takes any version of the envelope's model and revision, and no other schema for it."""
    beginning = wanted.rpartition("-")[0] + "-"
    if not outer["schema"].startswith(beginning):
        problems.append(FieldError(field, "", "/schema", f"{beginning}*", outer["schema"][:200]))


def _entity(value: Any, field: str, problems: list[FieldError]) -> Entity:
    described = checked_self_describing(value)
    if len(described) > 2:
        others = ", ".join(name for name in described if name not in ("schema", "data"))
        problems.append(FieldError(field, "", "", "a self-describing JSON of schema and data alone", others[:200]))
    return Entity(parse_iglu_uri(described["schema"]), described["data"], field)
