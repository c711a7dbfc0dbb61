"""Says in words what a schema wanted of a value, and what the value was."""

from collections.abc import Iterable
from typing import Any

from jsonschema.exceptions import ValidationError

from .. import json_text
from .formats import EXPECTED

_MOST_CHARACTERS = 200
_TYPES = {
    "array": "an array",
    "boolean": "true or false",
    "integer": "an integer",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "a string",
}


def got_of(value: Any) -> str:
    """What came, as JSON; of what holds other values, only what it is."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"an array of {_count(len(value), 'item')}"
    return _short(json_text.dumps(value))


def expected_of(error: ValidationError) -> str:
    """What the keyword of an error expects, as the rest of a sentence that begins with `expected`."""
    return _short(_expected(error))


def _expected(error: ValidationError) -> str:  # noqa: C901, PLR0911, PLR0912 - one line a keyword
    limit: Any = error.validator_value
    schema = error.schema if isinstance(error.schema, dict) else {}
    match error.validator:
        case "type":
            return " or ".join(_TYPES[name] for name in ([limit] if isinstance(limit, str) else limit))
        case "enum":
            return _one_of(limit)
        case "minimum":
            return f"a number {'above' if schema.get('exclusiveMinimum') else 'of at least'} {limit}"
        case "maximum":
            return f"a number {'below' if schema.get('exclusiveMaximum') else 'of at most'} {limit}"
        case "multipleOf":
            return f"a multiple of {limit}"
        case "minLength":
            return f"a string of at least {_count(limit, 'character')}"
        case "maxLength":
            return f"a string of at most {_count(limit, 'character')}"
        case "pattern":
            return f"a string that matches {limit}"
        case "format":
            return EXPECTED.get(limit, str(limit))
        case "minItems":
            return f"an array of at least {_count(limit, 'item')}"
        case "maxItems":
            return f"an array of at most {_count(limit, 'item')}"
        case "additionalItems":
            return f"an array of at most {_count(len(schema.get('items', [])), 'item')}"
        case "uniqueItems":
            return "an array without repeats"
        case "minProperties":
            return f"an object of at least {_count(limit, 'property')}"
        case "maxProperties":
            return f"an object of at most {_count(limit, 'property')}"
        case "required":
            return f"an object with {limit}"
        case "additionalProperties":
            known = ", ".join(schema.get("properties", {}))
            return f"no property {limit} (there are {known})" if known else f"no property {limit}"
        case "dependencies":
            return f"complete: {error.message}"
        case "anyOf":
            return _alternatives(error)
        case "oneOf":
            return _alternatives(error) if error.context else "like one of the alternatives alone, but like several"
        case "not":
            return f"anything but {json_text.dumps(limit)}"
    return f"as {error.validator} wants it"


def _alternatives(error: ValidationError) -> str:
    """What each of the alternatives expects first."""
    first: dict[Any, str] = {}
    for each in error.context or ():
        where = "".join(f"/{part}" for part in each.relative_path)
        first.setdefault(each.relative_schema_path[0], expected_of(each) + (f" at {where}" if where else ""))
    return ", or ".join(dict.fromkeys(first.values()))


def _one_of(values: Iterable[Any]) -> str:
    told = [json_text.dumps(value) for value in values]
    return told[0] if len(told) == 1 else "one of " + ", ".join(told)


def _count(number: int, noun: str) -> str:
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def _short(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 1] + "…"
