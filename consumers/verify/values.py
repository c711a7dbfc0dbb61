"""JSON values: when they are equal, what type they have, and how they are shown to people."""

from collections.abc import Callable, Mapping
from typing import Any

from snowbus.bus import json_text

TYPES = ("string", "integer", "number", "boolean", "object", "array", "null")

_SHOWN = 120


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal: 1 is 1.0, and not true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def shown(value: Any) -> str:
    """A value as JSON, cut where it is long."""
    try:
        text = json_text.dumps(value)
    except (TypeError, ValueError, RecursionError):
        text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def type_of(value: Any) -> str:
    """The JSON type of a value."""
    return next((name for name in TYPES if is_type(value, name)), "value")


def is_number(value: Any) -> bool:
    """Whether a value is a number; true is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_type(value: Any, name: str) -> bool:
    """Whether a value is of a JSON type; an integer is a number, and 1.0 an integer."""
    return _IS_TYPE[name](value)


_IS_TYPE: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "number": is_number,
    "integer": lambda value: is_number(value) and (isinstance(value, int) or value.is_integer()),
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, Mapping),
    "array": lambda value: isinstance(value, list),
    "null": lambda value: value is None,
}
