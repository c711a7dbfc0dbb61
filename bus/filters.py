"""Filters: which events a reader wants. Repeats of one parameter are OR, different parameters are AND.

A filter looks at a record's headers first, so that most records that nobody wants are never decoded.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce
from typing import Any, Literal, TypedDict

from . import json_text
from .errors import ConfigurationError, FilterError
from .event import Record
from .tracker_protocol import EVENTS, PLATFORMS

_HEADERS = frozenset({"app_id", "event_id", "valid"})
_COSTS = {"event_id": 0, "app_id": 0, "valid": 0, "schema": 1, "event": 2, "event_name": 2}
_COSTS |= {"platform": 3, "user_id": 3, "domain_userid": 3, "q": 4}  # these are decoded for
PARAMETERS = tuple(sorted(_COSTS))

Values = str | Iterable[str]

_SCHEMA_PATTERN = re.compile(
    r"iglu:[a-zA-Z0-9_.-]+/[a-zA-Z0-9_-]+/[a-zA-Z0-9_-]+/([1-9][0-9]*|\*)(-(0|[1-9][0-9]*|\*)){2}"
)
_TEXT_LIMIT = 1000


class Filters(TypedDict, total=False):
    """Which events: one value or several, of which one must match."""

    app_id: Values
    platform: Values
    event: Values
    event_name: Values
    schema: Values
    user_id: Values
    domain_userid: Values
    event_id: Values
    valid: Literal["true", "false"] | bool
    q: Values


class Candidate:
    """A record as filters see it: its headers now, its canonical view (from `decode`) only when a filter asks."""

    def __init__(self, record: Record, decode: Callable[[], Mapping[str, Any]]) -> None:
        self.headers = {name: value.decode("utf-8", "replace") for name, value in record.headers}
        self._decode = decode

    @cached_property
    def view(self) -> Mapping[str, Any]:
        """The canonical view."""
        return self._decode()

    @cached_property
    def unversioned_schema(self) -> str:
        """The Iglu URI in the headers up to its version, without the slash; empty when there is none."""
        return self.headers.get("schema", "").rpartition("/")[0]

    @cached_property
    def event_name(self) -> str | None:
        """The canonical `event_name`: from the headers, where they are those of an event."""
        if "event" not in self.headers:
            return self.view.get("event_name")
        _, _, name_and_format = self.unversioned_schema.partition("/")
        return name_and_format.partition("/")[0] or None

    @cached_property
    def text(self) -> str:
        """Everything in the view, as lower-case JSON."""
        return json_text.dumps(dict(self.view)).lower()


Check = Callable[[Candidate], bool]


@dataclass(frozen=True)
class Filter:
    """The conditions of a filter, sorted: equal filters are equal, so that readers can share what they cost."""

    conditions: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @cached_property
    def check(self) -> Check:
        """As `matches`, for those who ask a thousand times a second: one call, the cheapest conditions first."""
        conditions = sorted(self.conditions, key=lambda condition: _COSTS[condition[0]])
        checks = [_check(name, values) for name, values in conditions]
        return reduce(_both, checks) if checks else lambda _: True

    def matches(self, candidate: Candidate) -> bool:
        """Whether a record is wanted."""
        return self.check(candidate)

    def __bool__(self) -> bool:
        return bool(self.conditions)


def parse_filter(pairs: Iterable[tuple[str, str]]) -> Filter:
    """The filter in name-value pairs, as a query string gives them. Raises FilterError."""
    conditions: dict[str, set[str]] = {}
    for name, value in pairs:
        if name not in PARAMETERS:
            raise FilterError(name, f"unknown; filters are {', '.join(PARAMETERS)}")
        _check_value(name, value)
        conditions.setdefault(name, set()).add(value)
    return Filter(tuple((name, tuple(sorted(values))) for name, values in sorted(conditions.items())))


def filter_of(filters: Mapping[str, Any]) -> Filter:
    """The filter in keyword arguments: each is a text, or several. Raises ConfigurationError."""
    pairs: list[tuple[str, str]] = []
    for name, value in filters.items():
        values = [str(value).lower() if isinstance(value, bool) else value] if isinstance(value, str | bool) else value
        try:
            named = [(name, each) for each in values]
        except TypeError:
            raise ConfigurationError(f"{name}={value!r}: a filter is a text, or several") from None
        if not named:
            raise ConfigurationError(f"{name}={value!r} lets nothing through; leave it out to let everything through")
        pairs += named
    try:
        for name, each in pairs:
            if not isinstance(each, str):
                raise ConfigurationError(f"{name}={each!r}: a filter is a text, or several")
        return parse_filter(pairs)
    except FilterError as error:
        raise ConfigurationError(f"filter {error}") from None


@lru_cache(maxsize=1000)
def schema_matcher(*patterns: str) -> Callable[[str], bool]:
    """Tells whether an Iglu URI is one of these, each with or without `*` in its version. Raises FilterError."""
    for pattern in patterns:
        _check_value("schema", pattern)
    wanted = re.compile("|".join(re.escape(pattern).replace(r"\*", r"\d+") for pattern in patterns))
    return lambda schema: wanted.fullmatch(schema) is not None


def _check_value(name: str, value: str) -> None:
    if not value:
        raise FilterError(name, "is empty; leave it out to get everything")
    if len(value) > _TEXT_LIMIT:
        raise FilterError(name, f"is longer than {_TEXT_LIMIT} characters")
    if name == "schema" and not _SCHEMA_PATTERN.fullmatch(value):
        raise FilterError(
            name,
            f"{value!r} is not an Iglu URI; write iglu:vendor/name/jsonschema/1-0-0, with * in the version",
        )
    if name == "valid" and value not in ("true", "false"):
        raise FilterError(name, f"{value!r} is neither true nor false")
    if name == "platform" and value not in PLATFORMS:
        raise FilterError(name, f"{value!r} is not one of {', '.join(PLATFORMS)}")
    if name == "event" and value in EVENTS:
        raise FilterError(name, f"{value!r} is the tracker protocol's code; the event is called {EVENTS[value]}")


def _both(one: Check, other: Check) -> Check:
    return lambda candidate: one(candidate) and other(candidate)


def _check(name: str, values: tuple[str, ...]) -> Check:
    wanted = frozenset(values)
    match name:
        case "schema":
            return _check_schema(values)
        case "event_name":
            return lambda candidate: candidate.event_name in wanted
        case "event":  # the type or the name: `unstruct` and `add_to_cart` are both what people call an event
            return lambda candidate: candidate.headers.get("event") in wanted or candidate.event_name in wanted
        case "q":
            return _check_text(tuple(value.lower() for value in values))
        case _ if name in _HEADERS:
            return lambda candidate: candidate.headers.get(name) in wanted
        case _:
            return lambda candidate: candidate.view.get(name) in wanted


def _check_schema(patterns: tuple[str, ...]) -> Check:
    is_wanted = schema_matcher(*patterns)
    unversioned = frozenset(pattern.rpartition("/")[0] for pattern in patterns)  # most events are of another one
    return lambda candidate: candidate.unversioned_schema in unversioned and is_wanted(candidate.headers["schema"])


def _check_text(texts: tuple[str, ...]) -> Check:
    if len(texts) == 1:
        (text,) = texts
        return lambda candidate: text in candidate.text
    return lambda candidate: any(text in candidate.text for text in texts)
