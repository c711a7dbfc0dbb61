"""An event in a terminal: on one line, or in full, with what is wrong at the field where it is. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from snowbus.bus.canonical import Entity, decode
from snowbus.bus.event import FieldError
from snowbus.bus.json_text import dumps, pointer
from snowbus.bus.tracker_protocol import BY_CODE, SELF_DESCRIBING

from .terminal import printable, problem

_COLOURS = {"valid": "green", "invalid": "red", "unchecked": None}
_MARKS = {"valid": "✓", "invalid": "✗", "unchecked": "·"}
_NAME_WIDTH = 24

_Errors = defaultdict[tuple[str, str], list[FieldError]]
"""What is wrong, by field and path, as far as it has not been said yet."""


class Line(NamedTuple):
    """A line without anything that a terminal would obey, and its colour."""

    text: str
    colour: str | None = None


def summary(message: Mapping[str, Any]) -> Line:
    """An event, as the gateway sends it, on one line: when, which app, what, who, and in words, what is wrong."""
    event, validation = message["event"], message["validation"]
    status = validation["status"]
    parts = [
        _time(message["timestamp"]),
        f"{_MARKS[status]} {event.get('app_id', ''):<12}",
        f"{_what(event):<40}",
        event.get("user_id") or event.get("domain_userid") or event.get("network_userid") or "",
        *(problem(error) for error in validation["errors"]),
    ]
    return Line(printable("  ".join(map(str, parts)).rstrip()), _COLOURS[status])


def details(message: Mapping[str, Any]) -> Iterator[Line]:
    """All there is to know of an event: its fields, its self-describing event and entities, who sent it, and where it
    stands.
    """
    errors: _Errors = defaultdict(list)
    for each in message["validation"]["errors"]:
        errors[each["field"], each["path"]].append(FieldError(**each))
    for name, value in message["event"].items():
        if not name.startswith(("unstruct_event_", "contexts_")):
            yield _line(name, _shown(value), errors.pop((name, ""), []))
    for entity in decode(message["payload"]).entities:
        yield from _of_entity(entity, errors)
    yield from _left_over(errors, list(errors))
    for code, text in message["payload"].items():
        if code not in BY_CODE and code not in SELF_DESCRIBING:
            yield _line(code, text)
    for name, text in message["source"].items():
        yield _line(f"source {name}", text)
    yield _line("record", f"{message['topic']}/{message['partition']}@{message['offset']}")
    if message["producer"]:
        yield _line("producer", message["producer"])


def _of_entity(entity: Entity, errors: _Errors) -> Iterator[Line]:
    field = entity.field
    yield _line(field, str(entity.schema), errors.pop((field, ""), []))
    left: list[tuple[tuple[str | int, ...], Any]] = [((), entity.data)]
    while left:  # not by recursion: data may be nested as deep as it likes
        path, value = left.pop()
        if value and isinstance(value, dict | list):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            left += [((*path, name), item) for name, item in reversed(list(items))]
            found = errors.pop((field, pointer(path)), [])
            if not found:
                continue
            value = "{…}" if isinstance(value, dict) else "[…]"
        else:
            found = errors.pop((field, pointer(path)), [])
            value = dumps(value)
        yield _line(f"  {pointer(path)}", value, found)
    yield from _left_over(errors, [place for place in errors if place[0] == field])  # of what is missing


def _left_over(errors: _Errors, places: Iterable[tuple[str, str]]) -> Iterator[Line]:
    """What is wrong where nothing stands."""
    for place in places:
        for error in errors.pop(place):
            yield _line(
                f"  {error.path}" if error.path else error.field,
                f"✗ expected {error.expected}, got {error.got}",
                is_wrong=True,
            )


def _line(name: str, value: str, errors: Sequence[FieldError] = (), *, is_wrong: bool = False) -> Line:
    words = "".join(f"  ✗ expected {error.expected}" for error in errors)
    return Line(printable(f"    {name:<{_NAME_WIDTH}}  {value}{words}"), "red" if errors or is_wrong else None)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else dumps(value)


def _time(timestamp: int) -> str:
    try:
        return datetime.fromtimestamp(timestamp / 1000).astimezone().strftime("%H:%M:%S.%f")[:-3]
    except (ValueError, OverflowError, OSError):  # whoever wrote the record has a clock of its own
        return f"{timestamp} ms"


def _what(event: Mapping[str, Any]) -> str:
    """What happened, in words: the name of the event, and where or on what."""
    name = event.get("event_name") or event.get("event") or "not an event"
    if event.get("event") == "struct":
        name = f"{event.get('se_category', '')} {event.get('se_action', '')}"
    detail = event.get("page_url", "") if event.get("event") in ("page_view", "page_ping") else ""
    return f"{name} {detail}".rstrip()
