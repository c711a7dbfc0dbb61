"""Events as a table: CSV text whose columns are the canonical fields, those first that tell an event from the others.

Pure. The page writes the same table (page/exports.js).
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from snowbus.bus import json_text
from snowbus.bus.event import FieldError

from .inspector import safe_text

_FIRST = (
    "collector_tstamp",
    "app_id",
    "platform",
    "event",
    "event_name",
    "validation",
    "errors",
    "user_id",
    "domain_userid",
    "event_id",
)
_FORMULA = ("=", "+", "-", "@")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


def csv_row(view: Mapping[str, Any], status: str, errors: Sequence[FieldError]) -> dict[str, Any]:
    """What stands in a table for an event: its canonical view, and whether it is valid, or why not."""
    words = [f"{error.field}{error.path}: expected {error.expected}, got {error.got}" for error in errors]
    return {**view, "validation": status, "errors": "; ".join(words)}


def csv_table(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows as CSV (RFC 4180, UTF-8), with a header. What is an object or an array stands there as JSON."""
    names = [*_FIRST, *sorted({name for row in rows for name in row}.difference(_FIRST))]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in names])
    return text.getvalue().encode()


def _cell(value: Any) -> str:
    """A value as a cell; a text that a spreadsheet would take for a formula has an apostrophe before it."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return safe_text(json_text.dumps(value))
    text = safe_text(value)
    return f"'{text}" if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text
