"""What several commands take on their command line: filters as NAME=VALUE, and times."""

from collections.abc import Iterable

import click

from snowbus.bus.clock import now_ms
from snowbus.bus.errors import FilterError, StartError
from snowbus.bus.filters import Filter, parse_filter
from snowbus.bus.start import Start, parse_time
from snowbus.consumers.gateway.subscription import parse_subscription


def filter_pairs(arguments: Iterable[str]) -> list[tuple[str, str]]:
    """The names and values of filters as they are written on a command line."""
    return [(name, value) for name, _, value in (text.partition("=") for text in arguments)]


def event_filter(arguments: Iterable[str]) -> Filter:
    """The filter in NAME=VALUE arguments. Raises click.UsageError."""
    try:
        return parse_filter(filter_pairs(arguments))
    except FilterError as error:
        raise click.UsageError(str(error)) from None


def start_of(text: str | None) -> Start:
    """Where to begin to read, the end of the log unless something is said. Raises click.UsageError."""
    try:
        return parse_subscription([("from", text or "latest")], now=now_ms()).start
    except FilterError as error:
        raise click.UsageError(f"--{error}") from None


def to_time(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """For the `callback` of an option: the time that it says, in ms since 1970. Raises click.BadParameter."""
    try:
        return None if value is None else parse_time(value, now=now_ms())
    except StartError as error:
        raise click.BadParameter(str(error)) from None
