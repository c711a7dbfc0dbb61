"""Dead letters for people: a table of several, or one with everything that is known."""

import json
import sys
from base64 import b64decode
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from snowbus.bus.event import DEAD_TOPIC, EVENTS_TOPIC
from snowbus.consumers.letters import Letter, State

from .tables import duration
from .terminal import console, printable, printable_json

_BYTES_SHOWN = 1_024
_BYTES_A_LINE = 16
_FACTS = ("state", "reason", "attempts", "status", "response", "exception")
_PARTS = ("headers", "event", "payload", "source", "validation")


def print_letters(letters: Sequence[tuple[Letter, State]], *, of: int, topic: str, now: int) -> None:
    """Print a table of the newest letters of so many; `now` is in ms since 1970."""
    if not letters:
        print(f"No dead letters{'' if topic == DEAD_TOPIC else f' on {topic}'}.")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("id", "died", "group", "state", "app", "event", "from", "tries", "http"):
        table.add_column(column, no_wrap=True, justify="right" if column in ("died", "tries", "http") else "left")
    table.add_column("reason")  # the only one that gets narrower than what is in it
    for letter, state in letters:
        death = letter.death
        cells = (
            letter.id,
            duration(max(0, now - letter.time) // 1000),
            death.group,
            state,
            letter.app_id,
            letter.event_name,
            _place(letter),
            "" if death.attempts < 0 else str(death.attempts),
            "" if death.status is None else str(death.status),
        )
        reason = Text(printable(death.reason), no_wrap=True, overflow="ellipsis")
        table.add_row(*(Text(printable(cell)) for cell in cells), reason)
    console().print(table)
    if of > len(letters):
        print(f"The newest {len(letters):,} of {of:,}; --limit shows more.", file=sys.stderr)


def print_letter(letter: Letter, full: dict[str, Any]) -> None:
    """Print a letter; `full` is everything about it. What is no event is shown as bytes."""
    facts: dict[str, Any] = {
        "letter": f"{letter.id} on {letter.record.topic}",
        "died": _moment(letter.time),
        "group": letter.death.group,
        "from": "{} partition {} offset {}".format(*letter.origin),
        **{name: full[name] for name in _FACTS},
        "missing": full["missing"],
        "event": " ".join(filter(None, (letter.app_id, letter.event_name))),
        "key": full.get("key"),
        "timestamp": full.get("timestamp") and _moment(full["timestamp"]),
    }
    for name, value in facts.items():
        if value not in (None, ""):
            print(f"{name:<11}{printable(str(value))}")
    _print_part("traceback", (printable(line) for line in letter.death.traceback.splitlines()))
    for name in _PARTS:
        if full.get(name):
            _print_part(name, _indented(full[name]))
    if value := full.get("value"):
        _print_part("value, which is no event", _hex_dump(b64decode(value)))


def _print_part(name: str, lines: Iterable[str]) -> None:
    printed = False
    for line in lines:
        if not printed:
            print(f"\n{name}")
            printed = True
        print(f"  {line}")


def _indented(value: Any) -> list[str]:
    return [printable_json(line) for line in json.dumps(value, ensure_ascii=False, indent=2).split("\n")]


def _hex_dump(value: bytes) -> Iterator[str]:
    shown = value[:_BYTES_SHOWN]
    for start in range(0, len(shown), _BYTES_A_LINE):
        line = shown[start : start + _BYTES_A_LINE]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in line)
        yield f"{start:04x}  {line.hex(' '):<{3 * _BYTES_A_LINE}} {text}"
    if len(value) > len(shown):
        yield f"and {len(value) - len(shown):,} bytes more; `snowbus dead show --json` has all"


def _place(letter: Letter) -> str:
    """Where a record stood, without the topic that most are of."""
    topic, partition, offset = letter.origin
    return f"{partition}@{offset}" if topic == EVENTS_TOPIC else f"{topic}/{partition}@{offset}"


def _moment(ms: int) -> str:
    """A time in the zone of whoever reads it."""
    try:
        moment = datetime.fromtimestamp(ms / 1000).astimezone()
    except (ValueError, OverflowError, OSError):
        return str(ms)
    return moment.isoformat(sep=" ", timespec="milliseconds")
