"""Contexts: functions that make entities from a request, for a server's events and for the page's own tracker."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Unpack

from snowbus.bus import json_text
from snowbus.bus.canonical import decode, view_of
from snowbus.bus.envelope import event_headers
from snowbus.bus.errors import ConfigurationError, JsonError, PayloadError, SnowbusError
from snowbus.bus.event import Event, Record
from snowbus.bus.filters import Candidate, Filter, Filters, filter_of
from snowbus.bus.iglu.uri import parse_iglu_uri
from snowbus.bus.payload import CONTEXTS_SCHEMA, Payload, self_describing

Entity = dict[str, Any]
"""A self-describing JSON: `{"schema": …, "data": …}`."""

_MOST_CHARACTERS = 100_000


class ContextError(SnowbusError):
    """What a builder of `schema` made cannot be an entity, for a `reason`."""

    def __init__(self, schema: str, reason: str) -> None:
        super().__init__(f"{schema}: {reason}")
        self.schema = schema
        self.reason = reason


@dataclass(frozen=True, eq=False)
class Context:
    """A builder: a function that makes entities of one schema from a request, and which events they go on.

    It can be called as the function that it was.
    """

    schema: str
    function: Callable[[Any], Any]
    timeout: float | None
    path: str
    page: bool
    wanted: Filter

    def __call__(self, request: Any) -> Any:
        """What the function returns: for an async one a coroutine."""
        return self.function(request)

    @property
    def is_for_page(self) -> bool:
        """Whether its entities may stand in a page; there is no event there that a filter could look at."""
        return self.page and not self.wanted

    def is_for_path(self, path: str) -> bool:
        """Whether it is called for requests with this path."""
        return fnmatchcase(path, self.path)

    def entities(self, made: Any) -> list[Entity]:
        """The entities in what the function returned. Raises ContextError."""
        if made is None:
            return []
        if isinstance(made, Mapping):
            made = [made]
        if not isinstance(made, Sequence) or isinstance(made, str | bytes):
            name = type(made).__name__
            raise ContextError(self.schema, f"a builder returns data, a list of data, or None; not {name}")
        entities = []
        characters = 0
        for data in made:
            entity, length = self._entity(data)
            entities.append(entity)
            characters += length
            if characters > _MOST_CHARACTERS:  # no log would take the event
                raise ContextError(self.schema, f"the data has more than {_MOST_CHARACTERS} characters")
        return entities

    def _entity(self, data: Any) -> tuple[Entity, int]:
        """An entity with this data, and how many characters that has."""
        if not isinstance(data, Mapping):
            raise ContextError(self.schema, f"the data must be an object, not {type(data).__name__}")
        try:
            text = json_text.dumps(dict(data))
            copied = json_text.loads(text)
        except (TypeError, ValueError, RecursionError, JsonError) as error:
            raise ContextError(self.schema, f"the data is not JSON: {error}") from None
        return {"schema": self.schema, "data": copied}, len(text)


def context(
    uri: str, /, *, path: str = "*", page: bool = True, timeout: float | None = 1.0, **filters: Unpack[Filters]
) -> Callable[[Callable[[Any], Any]], Context]:
    """Make a builder of a plain or async function, which gets a request and returns data, a list of data, or None.

    It is called for requests whose path matches `path` (`/checkout/*`). Its entities go on the events that the filters
    want (`event_name="add_to_cart"`, as for consumers): on all, when there are none. Those without filters also go in
    the page, unless `page` is false.
    A call may take `timeout` seconds. A plain function is called in a thread of its own for that; with None it is
    called in the thread of the view, unless that is async, and must not hang.
    Raises ConfigurationError for what is no Iglu URI, and for filters that cannot be understood.
    """
    try:
        parsed = parse_iglu_uri(uri)
    except PayloadError as error:
        raise ConfigurationError(f"@context: {error}") from None
    if parsed.format != "jsonschema":
        raise ConfigurationError(f"@context({uri!r}): the format of an entity's schema is jsonschema")
    if timeout is not None and not timeout > 0:
        raise ConfigurationError(f"@context({uri!r}): timeout={timeout!r}: it is a number of seconds, or None")
    wanted = filter_of(filters)

    def declare(function: Callable[[Any], Any]) -> Context:
        _check_function(function, uri)
        return Context(uri, function, timeout, path, page, wanted)

    return declare


def is_async_function(function: Callable[[Any], Any]) -> bool:
    """Whether a call gives a coroutine."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def candidate_of(payload: Payload) -> Candidate:
    """What the filters of builders look at, of an event that is on no log yet."""
    event = Event(event_id=payload.get("eid", ""), ingest_tstamp=0, payload="")
    decoded = decode(payload)
    headers = event_headers(event, payload, decoded)
    return Candidate(Record("", 0, 0, 0, None, b"", headers), lambda: view_of(event, decoded))


def with_entities(payload: dict[str, Any], entities: Sequence[Entity]) -> dict[str, Any]:
    """The payload with these entities beside its own, but for those of a schema that it has already.

    One whose own entities cannot be understood stays as it is.
    """
    if not entities:
        return payload
    try:
        there = self_describing(payload, plain="co", base64="cx")
    except PayloadError:
        return payload
    own = there["data"] if there else []
    if not isinstance(own, list):
        return payload
    schemas = {each.get("schema") for each in own if isinstance(each, dict)}
    added = [each for each in entities if each["schema"] not in schemas]
    others = {code: value for code, value in payload.items() if code != "cx"}
    return {**others, "co": json_text.dumps({"schema": CONTEXTS_SCHEMA, "data": [*own, *added]})}


def _check_function(function: Any, schema: str) -> None:
    if not callable(function):
        raise ConfigurationError(f"@context({schema!r}) goes on a function, not on {function!r}")
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        name = getattr(function, "__name__", repr(function))
        raise ConfigurationError(f"@context({schema!r}): {name} is called with a request, its one argument") from None
    except ValueError:  # a built-in without a signature
        return
