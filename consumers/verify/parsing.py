"""Reads a plan from data, as YAML or JSON hold it; what cannot work is told with its place and the reason."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from snowbus.bus.errors import FilterError, PlanError
from snowbus.bus.filters import PARAMETERS, Filter, parse_filter
from snowbus.bus.tracker_protocol import BY_CODE

from .conditions import parse_fields
from .counts import AT_LEAST_ONE, parse_count
from .plan import EntityWanted, Expectation, Order, Plan, Validity, Wanted
from .shape import below, check_shape, near, text_of
from .values import shown

_KINDS = {"event", "event_name", "schema"}
_NOT_ASKED = ("count", "others")
_VALIDITIES: dict[str, Validity] = {"true": "valid", "false": "invalid", "any": "any"}
_CANONICAL = frozenset(name for parameter in BY_CODE.values() for name in parameter.names) | {
    "collector_tstamp",
    *(f"event_{part}" for part in ("vendor", "name", "format", "version")),
}
_SELF_DESCRIBING = ("unstruct_event_", "contexts_")


def parse_plan(value: Any) -> Plan:
    """The plan that a value is. Raises PlanError."""
    check_shape(value)
    expectations = tuple(
        parse_expectation(item, f"events[{number}]") for number, item in enumerate(value.get("events", []))
    )
    names = [expectation.name for expectation in expectations]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise PlanError(f"events[{number}]", f"is the second one called {name!r}; give each a name of its own")
    never = tuple(parse_never(item, f"never[{number}]") for number, item in enumerate(value.get("never", [])))
    if not expectations and not never:
        raise PlanError("", "it expects nothing: write events, never, or both")
    return Plan(
        name=value.get("name", "plan"),
        only=_filter(value.get("only", {}), "only"),
        expectations=expectations,
        never=never,
        orders=tuple(_orders(value["order"], names)) if value.get("order") else (),
        forbids_others=value.get("others") == "never",
    )


def parse_expectation(value: Any, place: str = "") -> Expectation:
    """One expected event, of the shape of an item of `events`. Raises PlanError."""
    value = _as_mapping(value)
    return Expectation(
        wanted=_wanted(value, place, validity="not_invalid"),
        count=parse_count(value["count"], below(place, "count")) if "count" in value else AT_LEAST_ONE,
        ignores_others=value.get("others") == "ignored",
    )


def parse_never(value: Any, place: str = "") -> Wanted:
    """One event that must not come, of the shape of an item of `never`. Raises PlanError."""
    value = _as_mapping(value)
    if not value:
        raise PlanError(place, "does not say what must never come")
    return replace(_wanted(value, place, validity="any"), name=_rule_name(value))


def _as_mapping(value: Any) -> Mapping[str, Any]:
    return {"name": value} if isinstance(value, str) else value


def _wanted(value: Mapping[str, Any], place: str, *, validity: Validity) -> Wanted:
    words = {name: item for name, item in value.items() if name in PARAMETERS and name != "valid"}
    if "name" in value and not words.keys() & _KINDS:
        words["event"] = value["name"]  # the type or the name: what people call an event
    which = _filter(words, place, any_version=True)
    where = parse_fields(value.get("where", {}), below(place, "where"))
    _check_canonical(where, below(place, "where"))
    entities = enumerate(value.get("entities", []))
    return Wanted(
        name=value.get("name") or _name(words) or _described(value),
        which=which,
        schemas=tuple(dict(_pairs(words, place)).get("schema", ())),
        where=where,
        data=parse_fields(value.get("data", {}), below(place, "data")),
        entities=tuple(_entity(item, below(place, f"entities[{number}]")) for number, item in entities),
        validity=_VALIDITIES[text_of(value["valid"])] if "valid" in value else validity,
    )


def _entity(value: Any, place: str) -> EntityWanted:
    value = {"schema": value} if isinstance(value, str) else value
    _filter({"schema": value["schema"]}, place)
    return EntityWanted(
        schema=value["schema"],
        data=parse_fields(value.get("data", {}), below(place, "data")),
        count=parse_count(value["count"], below(place, "count")) if "count" in value else AT_LEAST_ONE,
    )


def _orders(value: Any, names: list[str]) -> Iterator[Order]:
    """A list of names is one order; a list of lists, or of what has `events` and `by`, is several."""
    several = value if isinstance(value, list) and not any(isinstance(item, str) for item in value) else [value]
    for number, item in enumerate(several):
        place = "order" if several is not value else f"order[{number}]"
        order = (
            Order(names=tuple(item["events"]), by=item.get("by", ""))
            if isinstance(item, dict)
            else Order(names=tuple(item))
        )
        for name in order.names:
            if name not in names:
                raise PlanError(place, f"{name!r} is not the name of one of the events{near(name, names)}")
        if twice := [name for name, count in Counter(order.names).items() if count > 1]:
            raise PlanError(place, f"{twice[0]!r} stands there twice; what counts is when it is seen first")
        if len(order.names) < 2:
            raise PlanError(place, "needs two names at least")
        if order.by:
            _check_canonical([order.by], f"{place}.by")
        yield order


# Words


def _filter(words: Mapping[str, Any], place: str, *, any_version: bool = False) -> Filter:
    """The filter that words are; with `any_version` the versions of schemas are for others to look at."""
    pairs = []
    for name, values in _pairs(words, place):
        for value in values:
            try:
                parse_filter([(name, value)])
            except FilterError as error:
                raise PlanError(below(place, name), error.reason) from None
            pairs.append((name, f"{value.rpartition('/')[0]}/*-*-*" if any_version and name == "schema" else value))
    return parse_filter(pairs)


def _pairs(words: Mapping[str, Any], place: str) -> Iterator[tuple[str, list[str]]]:
    for name, value in words.items():
        if value == []:
            raise PlanError(below(place, name), "is empty; leave it out to get everything")
        yield name, [text_of(item) for item in (value if isinstance(value, list) else [value])]


def _name(words: Mapping[str, Any]) -> str:
    """What an event without a name is called: by what it is, if the plan says so."""
    for kind in ("event_name", "event", "schema"):
        if kind in words:
            text = text_of(words[kind][0] if isinstance(words[kind], list) else words[kind])
            return text.split("/")[1] if kind == "schema" else text
    return ""


def _rule_name(value: Mapping[str, Any]) -> str:
    """What a rule of `never` is called: by all that it asks, as several may be about one event."""
    return str(value["name"]) if "name" in value and value.keys() & _KINDS else _described(value)


def _described(value: Mapping[str, Any]) -> str:
    said = {name: item if isinstance(item, str) else shown(item) for name, item in value.items()}
    parts = [item if name == "name" else f"{name}: {item}" for name, item in said.items() if name not in _NOT_ASKED]
    return ", ".join(parts) or "any event"


def _check_canonical(names: Iterable[str], place: str) -> None:
    for name in names:
        if name not in _CANONICAL and not name.startswith(_SELF_DESCRIBING):
            hint = near(name, _CANONICAL)
            raise PlanError(
                below(place, name), f"is not a canonical field of an event, such as user_id or page_url{hint}"
            )
