"""What is wrong with data, found by jsonschema: it tells more than the fast engine, and takes a hundred times as long.

Where jsonschema would have no bound it is given one: regular expressions, repeats and multiples are the fast engine's,
and an explanation ends after so many steps, as alternatives inside of alternatives may take for ever.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from jsonschema import Draft4Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from referencing import Registry

from ..json_text import pointer, pointer_parts, value_at
from .engine import has_unique_items, matcher, multiple_of
from .formats import FORMATS
from .lookups import Problem
from .words import expected_of, got_of

_MOST_PROBLEMS = 10
_MOST_STEPS = 3_000
_MOST_REFERENCES = 10
"""How many `$ref` that lead to one another are followed to say where a schema says something."""


class _TooLongError(Exception):
    """An explanation takes too many steps."""


class _Steps(FormatChecker):
    """How many steps an explanation may still take, as what jsonschema hands to wherever it goes."""

    def __init__(self) -> None:
        super().__init__(formats=())
        self._left = _MOST_STEPS

    def take(self) -> None:
        """Take one step. Raises _TooLongError when it is one too many."""
        self._left -= 1
        if self._left < 0:
            raise _TooLongError


def explain(schema: dict[str, Any], data: Any) -> list[Problem]:
    """What is wrong with data, the first of it in the order of the data's paths; one problem at least."""
    explainer = _EXPLAINER(schema, format_checker=_Steps(), registry=Registry())
    problems: list[Problem] = []
    try:
        for error in islice(explainer.iter_errors(data), _MOST_PROBLEMS):
            problems.append(_problem(error, schema))  # noqa: PERF401 - those before an exception count
    except (_TooLongError, RecursionError):
        pass
    if not problems:
        problems = [Problem("", "data as the schema describes it; it is too much to say what is wrong", got_of(data))]
    return sorted(problems)


def _problem(error: ValidationError, schema: dict[str, Any]) -> Problem:
    path = pointer(error.absolute_path)
    value: Any = error.validator_value
    instance: Any = error.instance
    schema_path = pointer(_place(error.absolute_schema_path, schema))
    if error.validator == "required":
        return Problem(path + pointer([value]), "a value, which is required", "nothing", schema_path)
    if error.validator == "additionalProperties":
        return Problem(path + pointer([value]), expected_of(error), got_of(instance[value]), schema_path)
    return Problem(path, expected_of(error), got_of(instance), schema_path)


def _place(parts: Iterable[str | int], schema: dict[str, Any]) -> tuple[str | int, ...]:
    """Where in the schema these parts lead, which leave out each `$ref` on the way; as far as they can be followed."""
    place: tuple[str | int, ...] = ()
    node: Any = schema
    for part in parts:
        for _ in range(_MOST_REFERENCES):
            if not isinstance(node, dict) or not isinstance(node.get("$ref"), str):
                break
            place = pointer_parts(node["$ref"])
            node = value_at(schema, place)
        node = value_at(node, (part,))
        if node is None:
            break
        place = (*place, part)
    return place


_Keyword = Callable[[Any, Any, Any, Any], Iterable[ValidationError] | None]


def _counted(keyword: _Keyword) -> _Keyword:
    """A keyword of which each use is a step."""

    def check(validator: Any, value: Any, instance: Any, schema: Any) -> Iterable[ValidationError] | None:
        validator.format_checker.take()
        return keyword(validator, value, instance, schema)

    return check


def _format(_: Any, name: str, instance: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and name in FORMATS and not FORMATS[name](instance):
        yield ValidationError("another format")


def _pattern(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not matcher(pattern)(instance):
        yield ValidationError("no match")


def _pattern_properties(validator: Any, patterns: Any, instance: Any, _: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    for pattern, schema in patterns.items():
        matches = matcher(pattern)
        for name, value in instance.items():
            if matches(name):
                yield from validator.descend(value, schema, path=name, schema_path=pattern)


def _required(_: Any, required: Any, instance: Any, __: Any) -> Iterator[ValidationError]:
    """As jsonschema's, with the name as the error's value."""
    if isinstance(instance, dict):
        for position, name in enumerate(required):
            if name not in instance:
                yield ValidationError(
                    "missing", validator="required", validator_value=name, instance=instance, schema_path=(position,)
                )


def _additional_properties(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """As jsonschema's, one error a property."""
    if not isinstance(instance, dict):
        return
    known = schema.get("properties", {})
    patterns = [matcher(pattern) for pattern in schema.get("patternProperties", {})]
    for name, value in instance.items():
        if name in known or any(matches(name) for matches in patterns):
            continue
        if isinstance(allowed, dict):
            yield from validator.descend(value, allowed, path=name)
        elif allowed is False:
            yield ValidationError(
                "additional", validator="additionalProperties", validator_value=name, instance=instance, schema=schema
            )


def _multiple_of(_: Any, number: Any, instance: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(instance, int | float) and not isinstance(instance, bool) and not multiple_of(number)(instance):
        yield ValidationError("no multiple")


def _unique_items(_: Any, wanted: Any, instance: Any, __: Any) -> Iterator[ValidationError]:
    if wanted and isinstance(instance, list) and not has_unique_items(instance):
        yield ValidationError("repeats")


_KEYWORDS: dict[str, _Keyword] = {
    **Draft4Validator.VALIDATORS,
    "additionalProperties": _additional_properties,
    "format": _format,
    "multipleOf": _multiple_of,
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "required": _required,
    "uniqueItems": _unique_items,
}
_EXPLAINER: Any = extend(  # type: ignore[no-untyped-call] # the library's stubs leave it out
    Draft4Validator, {name: _counted(keyword) for name, keyword in _KEYWORDS.items()}
)
