"""`snowbus tail`: watch events in the terminal."""

import asyncio
import select
import sys
from collections import deque
from contextlib import aclosing
from typing import Any

import click

from snowbus.bus.json_text import loads
from snowbus.bus.settings import Settings

from .arguments import event_filter, filter_pairs, start_of
from .event_text import details, summary
from .gateway_stream import STREAM_HELP, check_stream
from .keys import pressed_keys
from .running import run, until_stopped, with_log
from .settings import SettingsCommand, with_settings
from .tail_sources import Source, Told, from_gateway, from_log
from .terminal import echo, printable, printable_json, until_nobody_reads

_REMEMBERED = 200
"""As many events can be shown in full afterwards."""
_KEYS = "-- Enter: the last event in full, again: the one before; space: pause; q: end"


@click.command(name="tail", cls=SettingsCommand)
@click.argument("filters", nargs=-1, metavar="[NAME=VALUE]...")
@click.option(
    "--from",
    "start",
    help="latest (the default), earliest, -N, a time (ISO, or 2h for two hours ago), or a cursor.",
)
@click.option("--stream", metavar="URL", help=STREAM_HELP)
@click.option("--count", type=click.IntRange(min=1), help="End after so many events.")
@click.option("--follow/--no-follow", default=True, help="Wait for more, or end once all that is there has come.")
@click.option("--details", "in_full", is_flag=True, help="Print each event in full, what is wrong at its field.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines, each a message as the gateway sends it.")
@with_settings()
def command(
    settings: Settings,
    *,
    filters: tuple[str, ...],
    start: str | None,
    stream: str | None,
    follow: bool,
    **options: Any,
) -> None:
    """Print events as they arrive on the log, those that match every filter: `app_id=shop event=add_to_cart`.

    \b
      snowbus tail --from -10
      snowbus tail app_id=shop event=add_to_cart --details

    Each is marked: ✓ is valid, ✗ invalid, · unchecked, which is neither, as a schema of it is not known.

    Filters are those of the gateway: app_id, platform, event, event_name, schema, user_id, domain_userid, event_id,
    valid, q. In a terminal, Enter shows the last event in full, again Enter the one before it; space pauses, and goes
    on; q or Ctrl-C ends it.
    """
    if options["in_full"] and options["as_json"]:
        raise click.UsageError("--details is for people; JSON lines have everything anyway")
    for name, value in filter_pairs(filters):
        if name == "from":
            raise click.UsageError(f"from is no filter but an option: --from {value or 'earliest'}")
    wanted = event_filter(filters)
    begin = start_of(start)
    printer = _Printer(**options)
    if stream is None:
        printing = with_log(
            settings, lambda log: until_stopped(printer.print(from_log(log, begin, wanted=wanted, follow=follow)))
        )
    elif not follow:
        raise click.UsageError(
            "--no-follow: a gateway does not say where its history ends; /v1/events.ndjson of it does"
        )
    else:
        check_stream(stream)
        printing = until_stopped(printer.print(from_gateway(stream, start, wanted)))
    with until_nobody_reads():
        run(printing, settings)


class _Printer:
    """Prints events as they come, until it has printed `count`; on a terminal, keys ask for more of those printed."""

    def __init__(self, *, count: int | None, as_json: bool, in_full: bool) -> None:
        self._left = count
        self._as_json = as_json
        self._in_full = in_full
        self._going = asyncio.Event()
        self._going.set()
        self._last: deque[str] = deque(maxlen=_REMEMBERED)
        self._shown = 0

    async def print(self, source: Source) -> None:
        """Print what comes. Raises what the source raises."""
        with pressed_keys(self._on_key) as any_keys:
            if any_keys and not self._as_json:
                print(_KEYS, file=sys.stderr)
            async with aclosing(source):
                async for part in source:
                    for told in part:
                        await self._going.wait()
                        self._print(told)
                    sys.stdout.flush()
                    if self._left == 0 or _reader_is_gone():
                        return

    def _print(self, told: Told) -> None:
        if not told.missing:
            if self._left == 0:
                return
            self._left = None if self._left is None else self._left - 1
        if self._as_json:
            echo(printable_json(told.text))
        elif told.missing:
            print(f"-- {printable(told.missing)}", file=sys.stderr)
        else:
            self._last.append(told.text)
            self._shown = 0
            _print_event(told.text, in_full=self._in_full)

    def _on_key(self, key: str) -> None:
        if key == " ":
            if self._going.is_set():
                self._going.clear()
                print("-- paused; nothing is lost, space goes on", file=sys.stderr)
            else:
                self._going.set()
        elif key in "\r\nd" and self._shown < len(self._last):
            self._shown += 1
            _print_event(self._last[-self._shown], in_full=True)
            sys.stdout.flush()
        elif key == "q":
            self._left = 0
            self._going.set()


def _print_event(text: str, *, in_full: bool) -> None:
    message = loads(text)
    for line in [summary(message), *(details(message) if in_full else ())]:
        echo(*line)


def _reader_is_gone() -> bool:
    """Whether whoever stdout is piped to has gone, as `head` does, before a write would tell."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return bool(poll.poll(0))
