"""The shape of a plan, by its JSON Schema, and what is wrong with a value that has another, in a plan's own words."""

import difflib
from collections.abc import Iterable
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from snowbus.bus.errors import PlanError
from snowbus.bus.json_text import loads
from snowbus.schemas import read_text

from .values import shown

SCHEMA_FILE = "plan.schema.json"

_TYPES = {
    "object": "names with values",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}


@cache
def _validator(part: str = "") -> Draft202012Validator:
    schema = loads(read_text(SCHEMA_FILE))
    if part:
        schema = {"$defs": schema["$defs"], "$ref": f"#/$defs/{part}"}
    return Draft202012Validator(schema)


def check_shape(value: Any, part: str = "") -> None:
    """Raise PlanError when a value has not the shape of a plan, or of a `part` of one in `plan.schema.json`."""
    errors = sorted(_validator(part).iter_errors(value), key=lambda error: [str(step) for step in error.absolute_path])
    if errors:
        error = _deepest(errors[0])
        steps = list(error.absolute_path)
        place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")
        raise _as_plan_error(error, place)


def _deepest(error: ValidationError) -> ValidationError:
    """Of the ways in which something could be right, what is wrong with the one that was meant."""
    while error.context:
        meant = [each for each in error.context if each.validator != "type" or each.relative_path]
        if not meant:
            return error
        error = max(meant, key=lambda each: len(each.relative_path))
    return error


def _as_plan_error(error: ValidationError, place: str) -> PlanError:
    instance: Any = error.instance
    wanted: Any = error.validator_value
    schema: Any = error.schema
    match error.validator:
        case "additionalProperties":
            known = list(schema["properties"])
            unknown = next(str(name) for name in instance if name not in known)
            hint = near(unknown, known).removeprefix("; ") or f"it is one of {', '.join(known)}"
            return PlanError(below(place, unknown), f"unknown; {hint}")
        case "required":
            reason = f"lacks {', '.join(name for name in wanted if name not in instance)}"
        case "enum":
            reason = f"must be {' or '.join(dict.fromkeys(map(text_of, wanted)))}, not {shown(instance)}"
        case "anyOf" | "type":
            reason = f"must be {' or '.join(_types(error))}, not {shown(instance)}"
        case "minLength" | "minItems" | "minProperties":
            reason = "is empty" if not instance else "has too few"
        case _:
            reason = error.message
    return PlanError(place, reason)


def _types(error: ValidationError) -> list[str]:
    """What types would do, in words."""
    found = [error] if error.validator == "type" else [each for each in error.context or () if each.validator == "type"]
    names: list[str] = []
    for each in found:
        wanted: Any = each.validator_value
        names += wanted if isinstance(wanted, list) else [wanted]
    return [_TYPES[name] for name in dict.fromkeys(names)]


def near(name: str, names: Iterable[str]) -> str:
    """The end of a sentence that asks whether a known name was meant, or nothing."""
    found = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {found[0]}?" if found else ""


def below(place: str, name: str) -> str:
    """The place of a part of what is at a place."""
    return f"{place}.{name}" if place else name


def text_of(value: Any) -> str:
    """A value of YAML as filters have it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
