"""`snowbus tail`: watch events in the terminal."""

import select
import sys
from datetime import datetime
from typing import Any

import click

from snowbus.bus.errors import FilterError
from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.filters import Filter
from snowbus.bus.json_text import loads
from snowbus.bus.log import Log
from snowbus.bus.settings import Settings
from snowbus.bus.start import Gap, Start, find_start
from snowbus.consumers.gateway.frames import Reading
from snowbus.consumers.gateway.history import History
from snowbus.consumers.gateway.subscription import parse_subscription

from .arguments import event_filter, filter_pairs, now_ms
from .running import run, until_stopped, with_log
from .settings import SettingsCommand, with_settings
from .terminal import printable, problem, until_nobody_reads

_COLOURS = {"valid": "green", "invalid": "red", "unchecked": None}
_MARKS = {"valid": "✓", "invalid": "✗", "unchecked": "·"}


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
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON lines, each as the gateway's message less type and cursor."
)
@with_settings()
def command(settings: Settings, *, filters: tuple[str, ...], start: str, count: int | None, as_json: bool) -> None:
    """Print events as they arrive on the log, those that match every filter: `app_id=shop event=add_to_cart`.

    Filters are those of the gateway: app_id, platform, event, event_name, schema, user_id, domain_userid, event_id,
    valid, q. Ctrl-C ends it.
    """
    for name, value in filter_pairs(filters):
        if name == "from":
            raise click.UsageError(f"from is no filter but an option: --from {value or 'earliest'}")
    wanted = event_filter(filters)
    try:
        begin = parse_subscription([("from", start)], now=now_ms()).start
    except FilterError as error:
        raise click.UsageError(f"--{error}") from None

    async def main(log: Log) -> None:
        await until_stopped(_print_events(log, begin, wanted, count=count, as_json=as_json))

    with until_nobody_reads():
        run(with_log(settings, main), settings)


async def _print_events(log: Log, begin: Start, wanted: Filter, *, count: int | None, as_json: bool) -> None:
    await log.create_topics([EVENTS_TOPIC])
    positions, gaps = await find_start(log, EVENTS_TOPIC, begin)
    for gap in gaps:
        _print_gap(gap)
    printed = 0
    async with await History.open(log, EVENTS_TOPIC, positions) as history:
        while count is None or printed < count:
            for item in await history.next():
                if isinstance(item, Gap):
                    _print_gap(item)
                    continue
                reading = Reading(item)
                if wanted.matches(reading.candidate) and (count is None or printed < count):
                    printed += 1
                    click.echo("{" + reading.body().decode() if as_json else _line(reading))
            sys.stdout.flush()
            if _reader_is_gone():
                return


def _reader_is_gone() -> bool:
    """Whether whoever stdout is piped to has gone, as `head` does, before a write would tell."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return bool(poll.poll(0))


def _line(reading: Reading) -> str:
    """One event on one line: when, which app, what, who, and whether it is right, in words if it is not."""
    message = loads("{" + reading.body().decode())
    event, validation = message["event"], message["validation"]
    when = datetime.fromtimestamp(message["timestamp"] / 1000).astimezone().strftime("%H:%M:%S.%f")[:-3]
    status = validation["status"]
    parts = [
        when,
        f"{_MARKS[status]} {event.get('app_id', ''):<12}",
        f"{_what(event):<40}",
        event.get("user_id") or event.get("domain_userid") or event.get("network_userid") or "",
        *(problem(error) for error in validation["errors"]),
    ]
    return click.style(printable("  ".join(map(str, parts)).rstrip()), fg=_COLOURS[status])


def _what(event: dict[str, Any]) -> str:
    """What happened, in words: the name of the event, and where or on what."""
    name = event.get("event_name") or event.get("event") or "not an event"
    if event.get("event") == "struct":
        name = f"{event.get('se_category', '')} {event.get('se_action', '')}"
    detail = event.get("page_url", "") if event.get("event") in ("page_view", "page_ping") else ""
    return f"{name} {detail}".rstrip()


def _print_gap(gap: Gap) -> None:
    count = "an unknown number of" if gap.missing is None else gap.missing
    print(f"-- {count} records are missing: {gap.reason}", file=sys.stderr)
