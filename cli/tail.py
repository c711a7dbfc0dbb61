"""`snowbus tail`: watch events in the terminal."""

import asyncio
import select
import sys
from collections import deque
from typing import Any

import click

from snowbus.bus.cursor import RunningCursor
from snowbus.bus.errors import FilterError
from snowbus.bus.event import EVENTS_TOPIC, Record
from snowbus.bus.filters import Filter
from snowbus.bus.json_text import loads
from snowbus.bus.log import Log
from snowbus.bus.settings import Settings
from snowbus.bus.start import Gap, Start, find_start
from snowbus.consumers.gateway.frames import Reading, gap_text, message_text
from snowbus.consumers.gateway.history import History
from snowbus.consumers.gateway.subscription import parse_subscription

from .arguments import event_filter, filter_pairs, now_ms
from .event_text import details, summary
from .keys import pressed_keys
from .running import run, until_stopped, with_log
from .settings import SettingsCommand, with_settings
from .terminal import echo, printable_json, until_nobody_reads

_REMEMBERED = 200
"""As many events can be shown in full afterwards."""
_KEYS = "-- Enter: the last event in full, again: the one before; space: pause; q: end"


@click.command(name="tail", cls=SettingsCommand)
@click.argument("filters", nargs=-1, metavar="[NAME=VALUE]...")
@click.option(
    "--from",
    "start",
    default="latest",
    show_default=True,
    help="latest, earliest, -N, a time (ISO, or 2h for two hours ago), or a cursor.",
)
@click.option("--count", type=click.IntRange(min=1), help="End after so many events.")
@click.option("--details", "in_full", is_flag=True, help="Print each event in full, what is wrong at its field.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines, each a message as the gateway sends it.")
@with_settings()
def command(settings: Settings, *, filters: tuple[str, ...], start: str, **options: Any) -> None:
    """Print events as they arrive on the log, those that match every filter: `app_id=shop event=add_to_cart`.

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
    try:
        begin = parse_subscription([("from", start)], now=now_ms()).start
    except FilterError as error:
        raise click.UsageError(f"--{error}") from None

    async def main(log: Log) -> None:
        await until_stopped(_Printer(wanted, **options).print(log, begin))

    with until_nobody_reads():
        run(with_log(settings, main), settings)


class _Printer:
    """Prints events as they come, until it has printed `count`; on a terminal, keys ask for more of those printed."""

    def __init__(self, wanted: Filter, *, count: int | None, as_json: bool, in_full: bool) -> None:
        self._wanted = wanted
        self._left = count
        self._as_json = as_json
        self._in_full = in_full
        self._going = asyncio.Event()
        self._going.set()
        self._last: deque[Reading] = deque(maxlen=_REMEMBERED)
        self._shown = 0

    async def print(self, log: Log, begin: Start) -> None:
        """Print what there is from `begin` on. Raises LogError."""
        await log.create_topics([EVENTS_TOPIC])
        positions, gaps = await find_start(log, EVENTS_TOPIC, begin)
        cursor = RunningCursor(positions)
        for gap in gaps:
            self._print_gap(gap, cursor)
        with pressed_keys(self._on_key) as any_keys:
            if any_keys and not self._as_json:
                print(_KEYS, file=sys.stderr)
            async with await History.open(log, EVENTS_TOPIC, positions) as history:
                while self._left != 0 and not _reader_is_gone():
                    for item in await history.next():
                        await self._going.wait()
                        self._print_item(item, cursor)
                    sys.stdout.flush()

    def _print_item(self, item: Record | Gap, cursor: RunningCursor) -> None:
        if isinstance(item, Gap):
            self._print_gap(item, cursor)
            return
        reading = Reading(item)
        place = cursor.advance(item.topic_partition, item.offset + 1)
        if self._left == 0 or not self._wanted.matches(reading.candidate):
            return
        self._left = None if self._left is None else self._left - 1
        if self._as_json:
            echo(printable_json(message_text(b"event", place, reading.body()).decode()))
            return
        self._last.append(reading)
        self._shown = 0
        _print_event(reading, in_full=self._in_full)

    def _print_gap(self, gap: Gap, cursor: RunningCursor) -> None:
        if self._as_json:
            echo(printable_json(gap_text(cursor.advance(gap.partition, gap.end), gap).decode()))
            return
        count = "an unknown number of" if gap.missing is None else gap.missing
        print(f"-- {count} records are missing: {gap.reason}", file=sys.stderr)

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


def _print_event(reading: Reading, *, in_full: bool) -> None:
    message = loads("{" + reading.body().decode())
    for line in [summary(message), *(details(message) if in_full else ())]:
        echo(*line)


def _reader_is_gone() -> bool:
    """Whether whoever stdout is piped to has gone, as `head` does, before a write would tell."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return bool(poll.poll(0))
