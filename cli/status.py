"""`snowbus status`: what each group does, how far it is behind, what it waits for, and what went wrong; and how the
collectors stand.
"""

import asyncio
import contextlib
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict
from typing import NamedTuple

import click
from rich.console import Group
from rich.live import Live

from snowbus.bus.errors import LogUnavailableError
from snowbus.bus.json_text import dumps
from snowbus.bus.log import Log
from snowbus.bus.settings import Settings
from snowbus.consumers.collector_status import CollectorStatus, collector_statuses
from snowbus.consumers.look import look
from snowbus.consumers.status import Look, Status, left_groups, partition_statuses, topic_statuses, with_rates

from . import exit_codes
from .running import run, until_stopped, with_log
from .settings import SettingsCommand, with_settings
from .status_view import status_view
from .tables import size
from .terminal import console, until_nobody_reads

_WATCH_SECONDS = 2.0
_RATE_SECONDS = 1.0
_WINDOW_MS = 30_000


class _Wanted(NamedTuple):
    """What is to be shown: these groups, or all; by partition; as JSON lines."""

    groups: tuple[str, ...]
    by_partition: bool
    as_json: bool


class _Seen(NamedTuple):
    """What a look has shown at one time (ms), and what there is to say of it; `missing` are groups asked for."""

    statuses: Sequence[Status]
    collectors: Sequence[CollectorStatus]
    notes: Sequence[str]
    at: int
    missing: bool


@click.command(name="status", cls=SettingsCommand)
@click.option("--group", "groups", multiple=True, metavar="NAME", help="Show only this group; may be repeated.")
@click.option("--partitions", "by_partition", is_flag=True, help="Show every partition.")
@click.option(
    "--rate",
    type=click.FloatRange(min=0.0),
    default=_RATE_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="Where a group works on a backlog look twice, so many seconds apart, and tell how fast it works and when that "
    "is done with; 0 looks once.",
)
@click.option(
    "--watch",
    type=click.FloatRange(min=0.1),
    is_flag=False,
    flag_value=_WATCH_SECONDS,
    metavar="[SECONDS]",
    help="Look again every so many seconds (2), until Ctrl-C; rates are those of the last 30 seconds.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines, one a group and topic (or partition).")
@with_settings(creates_topics=False)
def command(
    settings: Settings,
    *,
    groups: tuple[str, ...],
    by_partition: bool,
    rate: float,
    watch: float | None,
    as_json: bool,
) -> None:
    """Show what every group does: its lag, the age of the oldest record that is not done, how many are in flight or
    wait for a retry, when that comes, and the last error.

    \b
      snowbus status --watch
      snowbus status --json

    A group is running, idle, waiting for a retry, stopped, stuck in a call that should have ended long ago, or has not
    been heard of for ten seconds or more: then its process was killed, hangs, or cannot reach the log.

    A collector is untried until it answers an event; then it is up, down, or refusing: then only another
    configuration, here or there, will help.
    """
    wanted = _Wanted(groups, by_partition, as_json)
    if watch is not None:
        with until_nobody_reads():
            run(with_log(settings, lambda log: until_stopped(_watch(log, wanted, every=watch))), settings)
        return
    seen = run(with_log(settings, lambda log: _look(log, wanted, rate=rate)), settings)
    with until_nobody_reads():
        _print(seen, wanted)
    sys.exit(exit_codes.FAILED if seen.missing else exit_codes.OK)


async def _look(log: Log, wanted: _Wanted, *, rate: float) -> _Seen:
    looks = [await _look_once(log, wanted)]
    works = any(status.state == "running" and status.lag for status in partition_statuses(looks[0]))
    if rate and works:
        await asyncio.sleep(rate)
        looks.append(await _look_once(log, wanted))
    return _see(looks, wanted, log)


async def _watch(log: Log, wanted: _Wanted, *, every: float) -> None:
    """Look and show until cancelled. While the log is away, what was seen last stays, with a note."""
    looks: deque[Look] = deque()
    seen = _Seen([], [], [], at=0, missing=False)
    screen = console()
    in_place = screen.is_terminal and not wanted.as_json
    with Live(console=screen, auto_refresh=False) if in_place else contextlib.nullcontext() as live:
        while True:
            try:
                looks.append(await _look_once(log, wanted))
                while looks[0].at < looks[-1].at - _WINDOW_MS:
                    looks.popleft()
                seen = _see(looks, wanted, log)
                shown = seen
            except LogUnavailableError as error:
                shown = seen._replace(notes=[f"The log is away: {error}"])
            if live is None:
                _print(shown, wanted)
            else:
                live.update(_view(shown), refresh=True)
            await asyncio.sleep(every)


async def _look_once(log: Log, wanted: _Wanted) -> Look:
    there = await log.groups()
    return await look(log, [group for group in there if not wanted.groups or group in wanted.groups])


def _see(looks: Sequence[Look], wanted: _Wanted, log: Log) -> _Seen:
    """What the last look shows, with rates since the first."""
    before, now = looks[0], looks[-1]
    statuses = partition_statuses(now)
    if before is not now:
        statuses = with_rates(statuses, partition_statuses(before), seconds=(now.at - before.at) / 1000)
    missing = [group for group in wanted.groups if group not in now.committed]
    notes = [f"topic {topic}: the log does not tell where it ends: {why}" for topic, why in now.silent_topics.items()]
    notes += [f"There is no group {group!r} on {log.url}." for group in missing]
    if (disk := log.disk()) is not None and disk.free < log.options.disk_reserve:
        notes.append(f"The disk of {log.url} is full ({size(disk.free)} left): appends are refused until it has room.")
    if not wanted.groups and not now.committed:
        notes.append(f"No group has read from {log.url} yet.")
    return _Seen(
        statuses if wanted.by_partition else topic_statuses(statuses),
        collector_statuses(now.reports, now=now.at, left=left_groups(statuses)),
        notes,
        at=now.at,
        missing=bool(missing),
    )


def _view(seen: _Seen) -> Group:
    return status_view(seen.statuses, seen.collectors, notes=seen.notes)


def _print(seen: _Seen, wanted: _Wanted) -> None:
    if not wanted.as_json:
        console().print(_view(seen))
        return
    for status in seen.statuses:
        collectors = [asdict(each) for each in seen.collectors if each.group == status.group]
        print(dumps({"time": seen.at, **asdict(status), "collectors": collectors}))
    sys.stdout.flush()
    for note in seen.notes:
        print(note, file=sys.stderr)
