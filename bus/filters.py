"""Filters: which events a reader wants. Repeats of one parameter are OR, different parameters are AND.

A filter looks at a record's headers first, so that most records that nobody wants are never decoded.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from . import json_text
from .errors import FilterError
from .event import Record
from .tracker_protocol import EVENTS, PLATFORMS

HEADER_PARAMETERS = frozenset({"app_id", "schema", "event_id", "valid"})
VIEW_PARAMETERS = frozenset({"platform", "event", "event_name", "user_id", "domain_userid", "q"})
PARAMETERS = tuple(sorted(HEADER_PARAMETERS | VIEW_PARAMETERS))

_SCHEMA_PATTERN = re.compile(
    r"iglu:[a-zA-Z0-9_.-]+/[a-zA-Z0-9_-]+/[a-zA-Z0-9_-]+/([1-9][0-9]*|\*)(-(0|[1-9][0-9]*|\*)){2}"
)
_TEXT_LIMIT = 1000


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
    def text(self) -> str:
        """Everything in the view, as lower-case JSON."""
        return json_text.dumps(dict(self.view)).lower()


@dataclass(frozen=True)
class Filter:
    """The conditions of a filter, sorted: equal filters are equal, so that readers can share what they cost."""

    conditions: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @cached_property
    def _checks(
        self,
    ) -> tuple[tuple[Callable[[Candidate], bool], ...], tuple[Callable[[Candidate], bool], ...]]:
        by_header = [_check(name, values) for name, values in self.conditions if name in HEADER_PARAMETERS]
        by_view = [_check(name, values) for name, values in self.conditions if name in VIEW_PARAMETERS]
        return tuple(by_header), tuple(by_view)

    def matches(self, candidate: Candidate) -> bool:
        """Whether a record is wanted."""
        by_header, by_view = self._checks
        return all(check(candidate) for check in by_header) and all(check(candidate) for check in by_view)

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


def _check(name: str, values: tuple[str, ...]) -> Callable[[Candidate], bool]:
    wanted = frozenset(values)
    match name:
        case "schema":
            is_wanted = schema_matcher(*values)
            return lambda candidate: is_wanted(candidate.headers.get("schema", ""))
        case "event":  # the type or the name: `unstruct` and `add_to_cart` are both what people call an event
            return lambda candidate: (
                candidate.headers.get("event") in wanted or candidate.view.get("event_name") in wanted
            )
        case "q":
            texts = tuple(value.lower() for value in values)
            return lambda candidate: any(text in candidate.text for text in texts)
        case _ if name in HEADER_PARAMETERS:
            return lambda candidate: candidate.headers.get(name) in wanted
        case _:
            return lambda candidate: candidate.view.get(name) in wanted
