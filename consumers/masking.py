"""What a reader without the right to personal data gets in its place: names and types stay, values go.

Pure. The masked view is made from a payload without what is personal, so nothing has to be found in it afterwards; and
what cannot be read is masked whole, as nobody knows what it holds.
"""

import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from snowbus.bus import json_text
from snowbus.bus.canonical import decode, view_of
from snowbus.bus.errors import ConfigurationError, FilterError, PayloadError
from snowbus.bus.event import Event, FieldError
from snowbus.bus.filters import schema_matcher
from snowbus.bus.iglu.uri import parse_iglu_uri
from snowbus.bus.payload import Payload, checked_self_describing, self_describing, utf8
from snowbus.bus.tracker_protocol import BY_CODE, SELF_DESCRIBING

MASKED = "***"
"""Stands where a text was; null stands where a number or a boolean was, and {} where an entity's data was."""

PERSONAL_FIELDS = (
    "domain_sessionid",
    "domain_userid",
    "network_userid",
    "user_fingerprint",
    "user_id",
    "user_ipaddress",
    "useragent",
)
PERSONAL_ENTITIES = (
    "iglu:com.snowplowanalytics.snowplow/client_session/jsonschema/*-*-*",
    "iglu:com.snowplowanalytics.snowplow/geolocation_context/jsonschema/*-*-*",
    "iglu:com.snowplowanalytics.snowplow/mobile_context/jsonschema/*-*-*",
)

_FIELDS = frozenset(name for parameter in BY_CODE.values() for name in parameter.names)
_FIELD_OF_SOURCE = {
    "ip": "user_ipaddress",
    "user_agent": "useragent",
    "network_userid": "network_userid",
    "referer": "page_url",
    "accept_language": "br_lang",
}
_PLAIN_SOURCE = frozenset({"method", "path", "content_type", "host"})
_ENTITY_FIELD = re.compile(r"unstruct_event|contexts(\[[0-9]+\])?")


@dataclass(frozen=True)
class Mask:
    """Which canonical fields, and the data of which entities and self-describing events (Iglu URIs), are masked."""

    fields: frozenset[str]
    entities: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """The fields, then the entities."""
        return [*sorted(self.fields), *self.entities]

    def key(self, key: str | None) -> str | None:
        """A record's key: it is the user's id, wherever there is one."""
        return None if key is None else MASKED

    def payload(self, payload: Payload) -> Payload:
        """The parameters as they were sent, masked. One that the tracker protocol does not know is masked, too."""
        return {code: self._parameter(code, text) for code, text in payload.items()}

    def source(self, source: Mapping[str, str]) -> dict[str, str]:
        """Who sent an event, masked."""
        return {name: text if self._shows_source(name) else MASKED for name, text in source.items()}

    def view(self, event: Event, masked: Payload, view: Mapping[str, Any]) -> dict[str, Any]:
        """The canonical view of an event, masked, from its `masked` payload and its `view`."""
        shown = {
            code: text
            for code, text in masked.items()
            if code in self._codes or (code in SELF_DESCRIBING and text != MASKED)
        }
        source = {name: text for name, text in event.source.items() if self._shows_source(name)}
        found = view_of(replace(event, source=source), decode(shown))
        for name in self.fields & view.keys():
            found[name] = MASKED if isinstance(view[name], str) else None
        return found

    def errors(self, errors: Iterable[FieldError]) -> tuple[FieldError, ...]:
        """Why an event is invalid, without the values that were."""
        return tuple(self._error(error) for error in errors)

    def hides_filter(self, name: str) -> bool:
        """Whether a filter would tell what is masked: by whether an event comes, its value could be guessed."""
        return name == "q" or name in self.fields

    @cached_property
    def _codes(self) -> frozenset[str]:
        return frozenset(code for code, parameter in BY_CODE.items() if self.fields.isdisjoint(parameter.names))

    def _shows_source(self, name: str) -> bool:
        field = _FIELD_OF_SOURCE.get(name)
        return name in _PLAIN_SOURCE if field is None else field not in self.fields

    def _hides_entity(self, schema: str) -> bool:
        return bool(self.entities) and schema_matcher(*self.entities)(schema)

    def _parameter(self, code: str, text: str) -> str:
        if code in self._codes or not text:
            return text
        if code not in SELF_DESCRIBING:
            return MASKED
        try:
            return self._describing(code, text)
        except (PayloadError, RecursionError):
            return MASKED

    def _describing(self, code: str, text: str) -> str:
        """A parameter that holds self-describing JSON, written anew: what is not read is not shown."""
        is_base64 = SELF_DESCRIBING[code]
        outer = self_describing({code: text}, plain="" if is_base64 else code, base64=code if is_base64 else "")
        schema = str(parse_iglu_uri(outer["schema"]))
        data: Any
        if code in ("ue_pr", "ue_px"):
            data = self._entity(outer["data"])
        elif isinstance(outer["data"], list):
            data = [self._entity(item) for item in outer["data"]]
        else:
            return MASKED
        written = json_text.dumps({"schema": schema, "data": data})
        return urlsafe_b64encode(utf8(written)).decode().rstrip("=") if is_base64 else written

    def _entity(self, value: Any) -> dict[str, Any]:
        """One self-describing JSON; nothing of it when it is none, as it may be meant for one that is masked."""
        try:
            described = checked_self_describing(value)
            schema = str(parse_iglu_uri(described["schema"]))
        except PayloadError:
            return {}
        return {"schema": schema, "data": {} if self._hides_entity(schema) else self._data(described["data"])}

    def _data(self, value: Any) -> Any:
        """Data that is shown, in which masked entities may stand."""
        if isinstance(value, list):
            return [self._data(item) for item in value]
        if not isinstance(value, dict):
            return value
        schema = value.get("schema")
        if isinstance(schema, str) and self._hides_entity(schema):
            return {"schema": schema, "data": {}}
        return {name: self._data(item) for name, item in value.items()}

    def _error(self, error: FieldError) -> FieldError:
        if error.field in _FIELDS and error.field not in self.fields:
            return error
        field = error.field if error.field in _FIELDS or _ENTITY_FIELD.fullmatch(error.field) else ""
        if field and error.schema and _is_iglu_uri(error.schema):
            if not self._hides_entity(error.schema):
                return error
            return FieldError(field, error.schema, MASKED, MASKED, MASKED)
        return FieldError(field, "", "", MASKED if error.schema else error.expected, MASKED)


def mask_of(fields: Sequence[str], entities: Sequence[str]) -> Mask:
    """The mask for what is personal everywhere, and for more fields and entities. Raises ConfigurationError."""
    for name in fields:
        if name not in _FIELDS:
            raise ConfigurationError(f"gateway_masked_fields: {name!r} is no canonical field, such as page_url")
    for uri in entities:
        try:
            schema_matcher(uri)
        except FilterError as error:
            raise ConfigurationError(f"gateway_masked_entities: {error.reason}") from None
    return Mask(frozenset((*PERSONAL_FIELDS, *fields)), tuple(sorted({*PERSONAL_ENTITIES, *entities})))


def _is_iglu_uri(text: str) -> bool:
    try:
        parse_iglu_uri(text)
    except PayloadError:
        return False
    return True
