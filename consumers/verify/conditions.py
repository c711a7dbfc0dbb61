"""What a plan asks of a value, and why a value is not that.

A condition is a value that must be equal (`sku: A-113`), what is asked of it (`quantity: {min: 1}`), or conditions on
the fields of an object (`address: {city: Berlin}`).
"""

import difflib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from snowbus.bus.errors import PlanError

from .counts import parse_count
from .values import TYPES, is_number, is_type, same, shown, type_of

Kind = Literal["value", "type", "absent", "present", "schema", "invalid", "entity_missing", "entity_count"]

OPERATORS = ("is", "min", "max", "matches", "one_of", "type", "present", "absent", "length", "contains", "has")

ABSENT: Any = type("Absent", (), {"__repr__": lambda _: "absent"})()
"""Stands where a field is not there; null is there."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an event is not what a plan asks for: at which `field`, what was `expected` and what was `got` there, in
    words; the `kind` is for programs.
    """

    field: str
    kind: Kind
    expected: str
    got: str

    def __str__(self) -> str:
        return f"{self.field}: expected {self.expected}, got {self.got}"


@dataclass(frozen=True, slots=True)
class _Test:
    """One thing that is asked of a value that is there, which is of one of these `types` (or of any)."""

    expected: str
    types: tuple[str, ...]
    holds: Callable[[Any], bool] = lambda _: True

    def reason(self, value: Any, path: str) -> Reason | None:
        """Why the value is not that."""
        if self.types and not any(is_type(value, name) for name in self.types):
            return Reason(path, "type", self.expected, f"the {type_of(value)} {shown(value)}")
        return None if self.holds(value) else Reason(path, "value", self.expected, shown(value))


@dataclass(frozen=True)
class Condition:
    """What is asked of a value: that it is there at all or not, tests that all must hold, and its fields."""

    tests: tuple[_Test, ...] = ()
    fields: Mapping[str, "Condition"] | None = None
    contains: "Condition | None" = None
    is_present: bool = True

    def reasons(self, value: Any, path: str) -> list[Reason]:
        """Why the value at `path` (in words) is not what is asked for; nothing when it is."""
        if value is ABSENT:
            return [Reason(path, "absent", self.expected, "nothing there")] if self.is_present else []
        if not self.is_present:
            return [Reason(path, "present", "nothing there", shown(value))]
        for test in self.tests:
            if (reason := test.reason(value, path)) is not None:
                return [reason]
        found = self._reasons_of_elements(value, path)
        return found if self.fields is None else found + reasons_of_fields(self.fields, value, path)

    @property
    def expected(self) -> str:
        """What is asked for, in words."""
        if not self.is_present:
            return "nothing there"
        words = " and ".join(test.expected for test in self.tests)
        if self.contains is not None:
            words += f" with one that is {self.contains.expected}"
        if self.fields:
            words += " with " + ", ".join(f"{name}: {field.expected}" for name, field in self.fields.items())
        return words or "something"

    def _reasons_of_elements(self, value: Any, path: str) -> list[Reason]:
        if self.contains is None:
            return []
        misses = [self.contains.reasons(item, f"{path}[{number}]") for number, item in enumerate(value)]
        if misses and all(misses):
            return min(misses, key=len)
        return [] if misses else [Reason(path, "value", f"one that is {self.contains.expected}", "an empty array")]


def reasons_of_fields(conditions: Mapping[str, Condition], values: Any, path: str) -> list[Reason]:
    """Why the fields of an object are not what is asked for."""
    if not isinstance(values, Mapping):
        values = {}
    found: list[Reason] = []
    for name, condition in conditions.items():
        found += condition.reasons(values.get(name, ABSENT), f"{path}.{name}" if path else name)
    return found


def parse_fields(value: Any, place: str) -> dict[str, Condition]:
    """The conditions on the fields of an object. Raises PlanError."""
    if not isinstance(value, Mapping):
        raise PlanError(place, f"must say what each field is to be, and is {shown(value)}")
    return {str(name): parse_condition(item, f"{place}.{name}") for name, item in value.items()}


def parse_condition(value: Any, place: str) -> Condition:
    """The condition that a plan's value is. Raises PlanError."""
    if not isinstance(value, Mapping):
        return Condition((_equal(value),))
    operators = [name for name in value if name in OPERATORS]
    if not operators:
        _suggest(value, place)
        return Condition((_OBJECT,), fields=parse_fields(value, place))
    if others := [str(name) for name in value if name not in OPERATORS]:
        raise PlanError(
            f"{place}.{others[0]}",
            f"stands beside {operators[0]}; is it a field? then write has: {{…}} round the fields",
        )
    return _parse_operators(value, place)


def _suggest(value: Mapping[str, Any], place: str) -> None:
    """Refuse what is nearly an operator and has its kind of value: as a field it would only be missing, always."""
    for name, item in value.items():
        near = difflib.get_close_matches(str(name), OPERATORS, n=1, cutoff=0.66)
        if near and len(value) == 1 and not isinstance(item, Mapping):
            hint = f"did you mean {near[0]}? if it is a field, write has: {{{name}: …}}"
            raise PlanError(f"{place}.{name}", f"is none of {', '.join(OPERATORS)}; {hint}")


def _parse_operators(value: Mapping[str, Any], place: str) -> Condition:
    is_present = _presence(value, place)
    rest = {name: item for name, item in value.items() if name not in ("present", "absent")}
    if not is_present and rest:
        raise PlanError(f"{place}.{next(iter(rest))}", "cannot be asked of what is not to be there")
    tests: list[_Test] = []
    fields = contains = None
    for name, item in rest.items():
        where = f"{place}.{name}"
        if name == "has":
            fields = parse_fields(item, where)
            tests.append(_OBJECT)
        elif name == "contains":
            contains = parse_condition(item, where)
            tests.append(_ARRAY)
        else:
            tests.append(_PARSERS[name](item, where))
    return Condition(tuple(tests), fields, contains, is_present)


def _presence(value: Mapping[str, Any], place: str) -> bool:
    for name in ("present", "absent"):
        if name in value and not isinstance(value[name], bool):
            raise PlanError(f"{place}.{name}", f"must be true or false, not {shown(value[name])}")
    present, absent = value.get("present"), value.get("absent")
    if present is not None and present == absent:
        raise PlanError(f"{place}.absent", "contradicts present")
    return present if present is not None else not absent


def _equal(wanted: Any, _: str = "") -> _Test:
    name = type_of(wanted)
    return _Test(shown(wanted), ("number" if name == "integer" else name,), lambda value: same(value, wanted))


def _minimum(wanted: Any, place: str) -> _Test:
    number = _number(wanted, place)
    return _Test(f"{shown(number)} or more", ("number",), lambda value: bool(value >= number))


def _maximum(wanted: Any, place: str) -> _Test:
    number = _number(wanted, place)
    return _Test(f"{shown(number)} or less", ("number",), lambda value: bool(value <= number))


def _matches(wanted: Any, place: str) -> _Test:
    if not isinstance(wanted, str):
        raise PlanError(place, f"must be a regular expression, not {shown(wanted)}")
    try:
        pattern = re.compile(wanted)
    except re.error as error:
        raise PlanError(place, f"{shown(wanted)} is no regular expression: {error}") from None
    return _Test(f"text that matches {shown(wanted)}", ("string",), lambda value: bool(pattern.search(value)))


def _one_of(wanted: Any, place: str) -> _Test:
    if not isinstance(wanted, list) or not wanted:
        raise PlanError(place, f"must be a list of values, not {shown(wanted)}")
    choices = ", ".join(map(shown, wanted))
    return _Test(f"one of {choices}", (), lambda value: any(same(value, choice) for choice in wanted))


def _type(wanted: Any, place: str) -> _Test:
    names = wanted if isinstance(wanted, list) else [wanted]
    for name in names:
        if name not in TYPES:
            raise PlanError(place, f"{shown(name)} is no type; types are {', '.join(TYPES)}")
    if not names:
        raise PlanError(place, f"names no type; types are {', '.join(TYPES)}")
    return _Test(" or ".join(_ARTICLES[name] + name for name in names), tuple(names))


def _length(wanted: Any, place: str) -> _Test:
    count = parse_count(wanted, place)
    return _Test(f"a length of {count.words}", ("string", "array"), lambda value: len(value) in count)


_ARTICLES = {name: "an " if name[0] in "aio" else "a " for name in TYPES} | {"null": ""}
_OBJECT = _Test("an object", ("object",))
_ARRAY = _Test("an array", ("array",))
_PARSERS: dict[str, Callable[[Any, str], _Test]] = {
    "is": _equal,
    "min": _minimum,
    "max": _maximum,
    "matches": _matches,
    "one_of": _one_of,
    "type": _type,
    "length": _length,
}


def _number(value: Any, place: str) -> Any:
    if not is_number(value) or not math.isfinite(value):
        raise PlanError(place, f"must be a number, not {shown(value)}")
    return value
