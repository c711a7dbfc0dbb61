"""Events as a table: CSV text whose columns are the canonical fields, those first that tell an event from the others.

Pure.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from snowbus.bus import json_text

from .inspector import safe_text

_FIRST = ("collector_tstamp", "app_id", "platform", "event", "event_name", "event_id", "user_id")
_FORMULA = ("=", "+", "-", "@")


def csv_table(views: Sequence[Mapping[str, Any]]) -> bytes:
    """Canonical views as CSV (RFC 4180, UTF-8), with a header. What is an object or an array stands there as JSON."""
    found = {name for view in views for name in view}
    names = [name for name in _FIRST if name in found] + sorted(found.difference(_FIRST))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(names)
    for view in views:
        writer.writerow([_cell(view.get(name)) for name in names])
    return text.getvalue().encode()


def _cell(value: Any) -> str:
    """A value as a cell; a text that a spreadsheet would take for a formula has an apostrophe before it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return safe_text(json_text.dumps(value))
    text = safe_text(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
