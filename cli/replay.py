"""`snowbus replay`: let a group handle records once more."""

import sys
from collections.abc import Sequence

import click
from rich.table import Table
from rich.text import Text

from snowbus.bus.clock import now_ms
from snowbus.bus.cursor import encode_cursor
from snowbus.bus.errors import GroupHasMembersError, RecordTooLargeError, StartError
from snowbus.bus.event import RETRY_TOPIC, Record
from snowbus.bus.filters import Filter
from snowbus.bus.log import Log
from snowbus.bus.settings import Settings
from snowbus.bus.start import Positions
from snowbus.consumers.replay import FilteredReplay, ReplayError, move_back, plan_replay
from snowbus.consumers.replay_ranges import Bound, PartitionReplay, is_backwards, parse_bound

from . import exit_codes
from .arguments import event_filter
from .running import run, stop_on_signals, with_log
from .settings import SettingsCommand, with_settings
from .terminal import console, printable, progress


@click.command(name="replay", cls=SettingsCommand)
@click.argument("filters", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--group", required=True, metavar="GROUP", help="The group that is to handle them.")
@click.option(
    "--from",
    "start",
    required=True,
    metavar="WHERE",
    help="earliest; a time (ISO, or 90s, 15m, 2h, 7d ago); an OFFSET, or PARTITION:OFFSET,PARTITION:OFFSET, where "
    "partitions that are not named stay out; a cursor; or -N, the last N.",
)
@click.option(
    "--to", "stop", metavar="WHERE", help="The first that is not replayed, in the same ways; unless given, the end."
)
@click.option(
    "--topic", "topics", multiple=True, metavar="TOPIC", help="Only this topic of the group; may be repeated."
)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@with_settings()
def command(
    settings: Settings,
    *,
    filters: tuple[str, ...],
    group: str,
    start: str,
    stop: str | None,
    topics: tuple[str, ...],
    dry_run: bool,
) -> None:
    """Let a group handle records once more: a range, or those in it that NAME=VALUE filters let through.

    \b
      snowbus replay --group stock --from 2h --dry-run
      snowbus replay --group stock --from 2h --to 30m app_id=shop

    Without a filter the group must be stopped. Its offsets are moved back to the range, and what it has done after the
    range is written beside them: a Snowbus consumer does not handle that again, other readers of the group would. With
    a filter, copies go to the topic snowbus.retry, and the group may run. Either way only what the group has handled
    is handled again; the rest it has before it anyway. A consumer with `dedupe` skips what it remembers.
    """
    bounds = _bounds(start, stop)
    wanted = event_filter(filters)

    async def main(log: Log) -> int:
        replays = await plan_replay(log, group, topics=topics, start=bounds[0], stop=bounds[1])
        _say_expired(replays)
        if wanted:
            return await _copy(log, group, replays, wanted, dry_run=dry_run)
        return await _move(log, group, replays, dry_run=dry_run)

    sys.exit(run(with_log(settings, main), settings))


async def _move(log: Log, group: str, replays: Sequence[PartitionReplay], *, dry_run: bool) -> int:
    count = sum(replay.again for replay in replays)
    if count and not dry_run:
        try:
            await move_back(log, group, replays)
        except GroupHasMembersError as error:
            raise ReplayError(f"{error}; or give a filter, which works while they run") from None
    if not count:
        print(f"{printable(group)} has handled nothing in this range.")
        return exit_codes.OK
    _print_plan([replay for replay in replays if replay.again])
    print(f"{printable(group)} {'would handle' if dry_run else 'handles'} {count:,} records again.")
    if besides := sum(replay.besides for replay in replays):
        print(
            f"Besides, {besides:,} that it has handled after the range: there is no room to say that they are done.",
            file=sys.stderr,
        )
    return exit_codes.OK


async def _copy(log: Log, group: str, replays: Sequence[PartitionReplay], wanted: Filter, *, dry_run: bool) -> int:
    replay = FilteredReplay(log, group, replays, wanted)
    stop = stop_on_signals()
    is_whole = False
    try:
        with progress("reading") as told:
            is_whole = await replay.run(dry_run=dry_run, told=told, on_refused=_say_refused, is_over=stop.is_set)
    finally:
        copied = f"{replay.copied:,} {'to be copied' if dry_run else 'copied'} to {RETRY_TOPIC}"
        print(
            copied
            + (f", {replay.unhandled:,} still to be handled anyway" if replay.unhandled else "")
            + (f", {replay.refused:,} refused" if replay.refused else "")
        )
        if not is_whole and replay.positions and not dry_run:
            print(f"Not to the end; go on with --from {_bound_text(replay.positions)}", file=sys.stderr)
    return exit_codes.OK if is_whole and not replay.refused else exit_codes.FAILED


def _bounds(start: str, stop: str | None) -> tuple[Bound, Bound | None]:
    first, last = _bound("--from", start), None if stop is None else _bound("--to", stop)
    if last is not None and is_backwards(first, last):
        raise click.UsageError(f"the range ends, --to {stop}, before it begins, --from {start}")
    return first, last


def _bound(option: str, text: str) -> Bound:
    try:
        return parse_bound(text, now=now_ms())
    except StartError as error:
        raise click.UsageError(f"{option}: {error}") from None


def _bound_text(positions: Positions) -> str:
    """What `--from` reads as these positions, and none in other partitions."""
    if len({partition.topic for partition in positions}) > 1:
        return encode_cursor(positions)
    return ",".join(f"{partition.partition}:{offset}" for partition, offset in sorted(positions.items()))


def _print_plan(replays: Sequence[PartitionReplay]) -> None:
    table = Table("partition", box=None)
    for column in ("from", "to", "again", "reads on at"):
        table.add_column(column, justify="right")
    for replay in replays:
        topic, number = replay.partition
        figures = (replay.start, replay.stop, replay.again, replay.committed.offset)
        table.add_row(Text(printable(f"{topic}/{number}")), *(f"{figure:,}" for figure in figures))
    console().print(table)


def _say_expired(replays: Sequence[PartitionReplay]) -> None:
    if expired := sum(replay.expired for replay in replays):
        print(f"{expired:,} records of the range have expired.", file=sys.stderr)


def _say_refused(record: Record, error: RecordTooLargeError) -> None:
    place = f"{record.topic}/{record.partition}@{record.offset}"
    print(f"{place} is not copied: {error}; a replay without a filter needs no copy", file=sys.stderr)
