"""Tables for people: text that no terminal obeys, times and sizes in few characters, as wide as there is room."""

from typing import Any

from rich.table import Table
from rich.text import Text

from .terminal import printable


def table(*names: str, numbers: tuple[str, ...] = ()) -> Table:
    """A table with a column for each of the names, and then one for each kind of numbers. Where it is too wide, a
    column called `state` has its words wrapped.
    """
    made = Table(box=None, pad_edge=False)
    for name in names:
        made.add_column(name, no_wrap=name != "state")
    for name in numbers:
        made.add_column(name, justify="right", no_wrap=False)
    return made


def cell(value: Any, style: str = "") -> Text:
    """A value in a table: numbers with commas, nothing for None."""
    if isinstance(value, int):
        return Text(f"{value:,}", style)
    return Text("" if value is None else printable(str(value)), style)


def line(text: str, style: str = "") -> Text:
    """A line that ends with the terminal's width."""
    return Text(printable(text), style, no_wrap=True, overflow="ellipsis")


def duration(seconds: float | None) -> str:
    """A time in the unit that says it best; nothing for None."""
    if seconds is None:
        return ""
    number, unit = next(
        ((seconds / size, unit) for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")) if seconds >= 2 * size),
        (seconds, "s"),
    )
    return f"{_short(number)} {unit}"


def size(count: int | None) -> str:
    """A number of bytes in the unit that says it best; nothing for None."""
    if count is None:
        return ""
    number = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{_short(number)} {unit}"
        number /= 1000
    return f"{number:,.1f} TB"


def counted(number: int, noun: str) -> str:
    """So many of something, in words."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _short(number: float) -> str:
    """A number with a decimal where that says something."""
    return f"{number:.0f}" if number >= 9.95 else f"{number:.1f}".removesuffix(".0")
