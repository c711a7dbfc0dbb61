"""What the Snowplow Inspector can take of an event: one that it cannot take stops its panel, for all events.

Pure. The Inspector (0.4.5) trusts what it reads: it makes URLs of pages, dates of times and JSON of `ue_pr` without a
look, and draws every value. So each of these is made harmless here, and stays recognisable; a field of its own,
CHANGED, says what was changed and why. For its own HAR files the page does the same (page/inspector.js).
"""

import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

from snowbus.bus import json_text
from snowbus.bus.errors import JsonError, PayloadError
from snowbus.bus.event import Record
from snowbus.bus.payload import CONTEXTS_SCHEMA, UNSTRUCT_EVENT_SCHEMA, Payload, decode_base64
from snowbus.bus.tracker_protocol import SELF_DESCRIBING

from .absolute_urls import absolute_url

CHANGED = "snowbus_changed"
"""The parameter, or field, that says what was changed."""

NOT_SELF_DESCRIBING = "iglu:dev.snowbus/not_self_describing/jsonschema/1-0-0"
NO_EVENT = "iglu:dev.snowbus/no_event/jsonschema/1-0-0"
SKIPPED = "iglu:dev.snowbus/skipped_events/jsonschema/1-0-0"

_URLS = frozenset({"url", "dl"})  # it takes `dl`, of Google Analytics, where there is no `url`
_TIMES = frozenset({"dtm", "stm", "ttm"})
_TIME = re.compile(r"[0-9]{1,14}")
_ISO_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
_DANGEROUS = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff]"
)
_SHORT_ESCAPES = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
_DEEPEST = 40
_MOST_VALUES = 5_000
_MOST_BRACKETS = 900
_LONGEST_QUOTE = 1_000


def safe_text(text: str) -> str:
    """A text in which control characters, and those that turn what stands around them, are written out."""
    return _DANGEROUS.sub(_escape, text)


def safe_payload(payload: Payload) -> Payload:
    """The parameters of an event as the Inspector can take them."""
    changed: dict[str, str] = {}
    safe: Payload = {}
    for code, text in payload.items():
        name = safe_text(code)
        try:
            value = _parameter(code, text)
        except _Unsafe as reason:
            changed[name] = str(reason)
            value = reason.instead
        if value is not None:
            safe[name] = value
    if safe.get("e") == "ue" and not safe.get("ue_pr") and not safe.get("ue_px"):
        changed["ue_pr"] = "there was none"
        safe["ue_pr"] = _explanation("ue_pr", "there was none", "")
    return safe | _told(changed)


def safe_view(view: Mapping[str, Any]) -> dict[str, Any]:
    """The canonical view of an event as the Inspector can take it."""
    changed: dict[str, str] = {}
    safe: dict[str, Any] = {}
    for name, value in view.items():
        try:
            safe[name] = _field(name, value)
        except _Unsafe as reason:
            changed[name] = str(reason)
            if reason.instead is not None:
                safe[name] = reason.instead
    return safe | _told(changed)


def no_event(record: Record) -> Payload:
    """An event that stands for a record that holds none."""
    place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
    return own_event(NO_EVENT, place, f"{record.partition}-{record.offset}")


def own_event(schema: str, data: Mapping[str, Any], event_id: str) -> Payload:
    """An event of our own, that says something about the feed."""
    described = {"schema": UNSTRUCT_EVENT_SCHEMA, "data": {"schema": schema, "data": data}}
    return {
        "e": "ue",
        "p": "srv",
        "tv": "snowbus",
        "aid": "snowbus",
        "eid": event_id,
        "ue_pr": json_text.dumps(described),
    }


class _Unsafe(Exception):  # noqa: N818 - it is not an error, it carries what to show instead
    """Why a value cannot be shown as it is, and what can: None for nothing."""

    def __init__(self, reason: str, instead: Any) -> None:
        super().__init__(reason)
        self.instead = instead


def _told(changed: Mapping[str, str]) -> dict[str, str]:
    return {CHANGED: "; ".join(f"{name}: {reason}" for name, reason in changed.items())} if changed else {}


def _parameter(code: str, text: str) -> str | None:
    """A parameter that is safe. Raises _Unsafe."""
    if not text:
        return text
    if code in SELF_DESCRIBING:
        return _describing(code, text)
    if code in _TIMES and not _TIME.fullmatch(text):
        raise _Unsafe(f"not a time in ms: {_quote(text)}", None)
    if code == "_gid":  # of Google Analytics: its end is a time to the Inspector
        raise _Unsafe(f"left out: {_quote(text)}", None)
    return _checked_text(text, is_url=code in _URLS)


def _checked_text(text: str, *, is_url: bool) -> str:
    """A text that is safe. Raises _Unsafe for one that is not."""
    clean = safe_text(text)
    reason = "control characters are written out" if clean != text else ""
    if is_url and (url := absolute_url(clean)) != clean:
        raise _Unsafe("not an absolute URL", url)
    if not is_url and (drawn := _Drawing().text(clean)) != clean:
        raise _Unsafe("JSON that cannot be drawn", drawn)
    if reason:
        raise _Unsafe(reason, clean)
    return text


def _describing(code: str, text: str) -> str:
    """Self-describing JSON, written anew. Raises _Unsafe."""
    try:
        outer = json_text.loads(decode_base64(text) if SELF_DESCRIBING[code] else text)
    except (PayloadError, JsonError) as error:
        raise _Unsafe(str(error), _explanation(code, str(error), text)) from None
    if not _is_self_describing(outer):
        reason = "not a self-describing JSON, which has a schema (a string) and data"
        raise _Unsafe(reason, _explanation(code, reason, text))
    items = outer["data"] if code in ("co", "cx") else [outer["data"]]
    if not isinstance(items, list) or not all(_is_self_describing(item) for item in items):
        reason = "what it holds is not self-describing JSON"
        raise _Unsafe(reason, _explanation(code, reason, text))
    drawing = _Drawing()
    try:
        safe = drawing.value(outer)
    except _TooMuch as error:
        raise _Unsafe(str(error), _explanation(code, str(error), text)) from None
    if drawing.changed:
        raise _Unsafe("what it holds was written out", _write(code, safe))
    return _write(code, safe)


def _field(name: str, value: Any) -> Any:
    """A field of the view that is safe. Raises _Unsafe."""
    if "tstamp" in name:
        if isinstance(value, str) and (_ISO_TIME.fullmatch(value) or name == "collector_tstamp"):
            return value
        raise _Unsafe(f"not a time: {_quote(str(value))}", None)
    if isinstance(value, str):
        return _checked_text(value, is_url=name == "page_url")
    if name.startswith("contexts_") and not isinstance(value, list):
        raise _Unsafe("not an array", [])
    drawing = _Drawing()
    try:
        safe = drawing.value(value)
    except _TooMuch as error:
        raise _Unsafe(str(error), [] if isinstance(value, list) else None) from None
    if drawing.changed:
        raise _Unsafe("what it holds was written out", safe)
    return safe


class _TooMuch(Exception):  # noqa: N818 - as above
    """JSON that is too deep, or too large, to be drawn."""


class _Drawing:
    """Goes through JSON as the Inspector draws it, which takes a text that is JSON for more of the same.

    `left` is how many values it may still draw.
    """

    def __init__(self, left: int = _MOST_VALUES) -> None:
        self.changed = False
        self.left = left

    def value(self, value: Any, depth: int = 0) -> Any:
        """The value without what would harm. Raises _TooMuch."""
        self.left -= 1
        if self.left < 0:
            raise _TooMuch(f"more than {_MOST_VALUES} values")
        if depth > _DEEPEST:
            raise _TooMuch(f"nested more than {_DEEPEST} times")
        if isinstance(value, str):
            return self.text(value, depth)
        if isinstance(value, list):
            return [self.value(item, depth + 1) for item in value]
        if not isinstance(value, Mapping):
            return value
        found = {self._name(name): self.value(item, depth + 1) for name, item in value.items()}
        if "data" in found and not isinstance(found.get("schema", ""), str):
            self.changed = True  # it looks up every schema that it sees
            found["schema"] = json_text.dumps(found["schema"])
        return found

    def text(self, text: str, depth: int = 0) -> str:
        """The text without what would harm."""
        clean = safe_text(text)
        if clean.lstrip(" ")[:1] in ("{", "[") and self._is_harmful(clean, depth):
            clean = f"JSON: {clean}"
        self.changed = self.changed or clean != text
        return clean

    def _name(self, name: str) -> str:
        clean = safe_text(name)
        self.changed = self.changed or clean != name
        return clean

    def _is_harmful(self, text: str, depth: int) -> bool:
        """Whether a text is JSON that may not be drawn."""
        if text.count("{") + text.count("[") > _MOST_BRACKETS:  # parsers have limits of their own, and differ
            return True
        try:
            value = json_text.loads(text)
        except JsonError:
            return False
        inner = _Drawing(self.left)
        try:
            inner.value(value, depth + 1)
        except _TooMuch:
            return True
        self.left = inner.left
        return inner.changed


def _is_self_describing(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("schema"), str) and "data" in value


def _explanation(code: str, reason: str, sent: str) -> str:
    """What stands where no self-describing JSON was: one that says so."""
    data = {"parameter": code, "problem": safe_text(reason), "sent": f"text: {_quote(sent)}"}
    described = {"schema": NOT_SELF_DESCRIBING, "data": data}
    if code in ("co", "cx"):
        return _write(code, {"schema": CONTEXTS_SCHEMA, "data": [described]})
    return _write(code, {"schema": UNSTRUCT_EVENT_SCHEMA, "data": described})


def _write(code: str, value: Any) -> str:
    """JSON as a parameter holds it; in base64 it is pure ASCII, which every version of the Inspector reads alike."""
    if not SELF_DESCRIBING[code]:
        return json_text.dumps(value)
    written = json.dumps(value, separators=(",", ":"))
    return urlsafe_b64encode(written.encode()).decode().rstrip("=")


def _quote(text: str) -> str:
    return safe_text(text[:_LONGEST_QUOTE]) + ("…" if len(text) > _LONGEST_QUOTE else "")


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    return _SHORT_ESCAPES.get(character) or f"\\u{ord(character):04x}"
