"""The fast engine, jsonschema-rs, as we use it: draft-04, our formats, nothing fetched, regular expressions bounded."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jsonschema_rs

from .formats import FORMATS

_BACKTRACKS = 100_000
_REGEX_BYTES = 2_000_000
_PATTERNS = jsonschema_rs.FancyRegexOptions(
    backtrack_limit=_BACKTRACKS, size_limit=_REGEX_BYTES, dfa_size_limit=_REGEX_BYTES
)
_NOT_OURS = ("idn-email", "regex", "time")
"""Formats that the engine knows and draft-04 does not."""


def _any_string(_: str) -> bool:
    return True


_FORMATS: dict[str, Callable[..., bool]] = {**FORMATS, **dict.fromkeys(_NOT_OURS, _any_string)}


def engine_for(schema: dict[str, Any]) -> Callable[[Any], bool]:
    """What says whether data is as a schema wants it. Raises ValueError when it cannot be used as a schema.

    The engine raises ValueError for data that it cannot read: lone surrogates, and nesting beyond its limit.
    """
    return jsonschema_rs.Draft4Validator(
        schema, formats=_FORMATS, validate_formats=True, pattern_options=_PATTERNS, offline=True
    ).is_valid


@lru_cache(maxsize=1024)
def matcher(pattern: str) -> Callable[[str], bool]:
    """What says whether a string matches a pattern, by the engine's bounded regular expressions."""
    return engine_for({"pattern": pattern})


@lru_cache(maxsize=1024)
def multiple_of(number: float) -> Callable[[Any], bool]:
    """What says whether a number is a multiple of another, in decimals, as the engine does."""
    return engine_for({"multipleOf": number})


has_unique_items = engine_for({"uniqueItems": True})
