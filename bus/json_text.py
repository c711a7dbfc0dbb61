"""JSON text in and out, without loss: orjson where it can, the standard library where it can't.

orjson is what makes us fast, but it turns integers beyond 64 bits into floats and refuses lone surrogates. Trackers
send both. So text that may hold either is read by the standard library, and every value read here can be written
here.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn
from urllib.parse import unquote

import orjson

from .errors import JsonError

# A number inside an object or an array that is long, or has an exponent; written so that it is found fast.
_LONG_NUMBER = re.compile(r"[:,\[\s]-?[0-9](?:[0-9]{16}|[0-9.]*[eE])")
_MAX_INT_DIGITS = 4000  # CPython refuses to convert more than 4300


def loads(text: str) -> Any:
    """The value of a JSON text. Numbers that no Python number can hold come out as the string of their digits.

    Raises JsonError for anything that is not JSON.
    """
    if text[:1] in ("{", "[") and not _LONG_NUMBER.search(text):
        try:
            return orjson.loads(text)
        except ValueError:  # perhaps only a lone surrogate
            pass
    try:
        return json.loads(text, parse_int=_parse_int, parse_float=_parse_float, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}" if "\n" in text else f"character {error.pos + 1}"
        raise JsonError(f"not JSON: {error.msg}, at {where}") from None
    except (ValueError, RecursionError) as error:
        raise JsonError(f"not JSON: {error}") from None


def loads_strings(text: str | bytes) -> Any:
    """As `loads`, ten times as fast, for text in which numbers are wrong anyway: long ones come out as floats."""
    try:
        return orjson.loads(text)
    except ValueError:
        pass
    try:
        return loads(text if isinstance(text, str) else text.decode())
    except UnicodeDecodeError as error:
        raise JsonError(f"not UTF-8, at byte {error.start}") from None


def dumps(value: Any) -> str:
    """Compact JSON text of a value, pure ASCII only where a lone surrogate leaves no other way."""
    return dump_bytes(value).decode()


def dump_bytes(value: Any) -> bytes:
    """As `dumps`, in UTF-8."""
    try:
        return orjson.dumps(value)
    except TypeError:  # a lone surrogate, or an integer beyond 64 bits
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def map_strings(value: Any, change: Callable[[str], str]) -> Any:
    """A JSON value with every string in it, keys included, changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change(name): map_strings(item, change) for name, item in value.items()}
    if isinstance(value, list):
        return [map_strings(item, change) for item in value]
    return value


def without_surrogates(text: str) -> str:
    """A text that UTF-8 can write: a question mark stands in for a lone surrogate."""
    return text.encode("utf-8", "replace").decode()


def pointer(parts: Iterable[str | int]) -> str:
    """The JSON pointer (RFC 6901) of these parts."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def pointer_parts(text: str) -> tuple[str, ...]:
    """The parts of a JSON pointer, also of one that is the fragment of a URI (`#/a%20b`)."""
    return tuple(unquote(part).replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:])


def value_at(value: Any, parts: Iterable[str | int]) -> Any:
    """What stands in a value where these parts lead, or None."""
    for part in parts:
        try:
            value = value[int(part) if isinstance(value, list) else part]
        except (LookupError, TypeError, ValueError):
            return None
    return value


def _parse_int(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MAX_INT_DIGITS else digits


def _parse_float(digits: str) -> float | str:
    number = float(digits)
    return number if math.isfinite(number) else digits


def _refuse_constant(name: str) -> NoReturn:
    raise JsonError(f"{name} is not a JSON number")
