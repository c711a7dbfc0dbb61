"""`snowbus publish`: put events on the log, one by flags, or many from files or stdin."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from snowbus.bus.errors import JsonError, LogError, SnowbusError
from snowbus.bus.iglu.resolver import resolver_of
from snowbus.bus.json_text import loads
from snowbus.bus.log import Log
from snowbus.bus.settings import Settings
from snowbus.bus.sparingly import Sparingly

from . import exit_codes
from .event_files import EventFile, FileError, Item
from .events_in import events_in
from .published import Published
from .publisher import Counts, Publisher
from .running import run, stop_on_signals, with_log
from .settings import VALIDATION, SettingsCommand, with_settings
from .stdin_lines import StdinError, StdinLines
from .terminal import progress

_SCHEMA_SECONDS = 5.0
"""How long events wait for their schemas at least: nobody waits for us, and we have looked up none yet."""
_TELL_SECONDS = 10.0


@dataclass
class _Outcome:
    """How much is done: how many events, up to which place; and whether a signal stopped it before the end."""

    counts: Counts
    place: str = ""
    stopped: bool = False


@click.command(name="publish", cls=SettingsCommand)
@click.option("--event", metavar="NAME", help="The type: page_view, page_ping, struct, transaction, transaction_item.")
@click.option("--schema", metavar="IGLU_URI", help="The schema of a self-describing event.")
@click.option("--data", metavar="JSON", help="The data of a self-describing event.")
@click.option(
    "--context", "contexts", multiple=True, metavar="JSON", help="An entity, {schema, data}; may be repeated."
)
@click.option("--set", "fields", multiple=True, metavar="NAME=VALUE", help="A canonical field, such as app_id=shop.")
@click.option(
    "--file",
    "files",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file of events, NDJSON, a HAR file or an array, gzip or not; may be repeated.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="File that keeps how far the others have been published, so that a second run goes on from there.",
)
@with_settings(also=VALIDATION)
def command(
    settings: Settings, *, fields: tuple[str, ...], files: tuple[Path, ...], resume: Path | None, **flags: Any
) -> None:
    """Put one event on the log, or those in files, or, without flags, every line of NDJSON on stdin.

    \b
      snowbus publish --event page_view --set app_id=shop --set user_id=ann
      snowbus publish --file events.ndjson --resume published.json

    An event described by flags that is invalid is published, too, and stderr says what is wrong with it.

    A line is an event in tracker-protocol parameters (as the logfile emitter writes them), in canonical names, or
    self-describing; or a payload_data. Lines that are none are named on stderr, the others are published all the same,
    and the exit code is 1. SIGTERM or Ctrl-C ends it before the end: stderr says after which line, and the exit code is
    130.
    """
    event = {name: value for name, value in flags.items() if value}
    if "data" in event and "schema" not in event:
        raise click.UsageError("--data needs --schema, which says what the data is")
    by_flags = _event_from_flags(event, fields) if event or fields else None
    if files and by_flags is not None:
        raise click.UsageError("--file is for events in files; an event described by flags is another command")
    if resume is not None and not files:
        raise click.UsageError("--resume keeps how far files have been published; name them with --file")
    if by_flags is None and not files and sys.stdin is None:
        raise StdinError("stdin is closed; give it events, or say with flags what is to be published")
    resolver = resolver_of(settings.iglu_resolver, wait=max(settings.iglu_wait, _SCHEMA_SECONDS))

    async def main(log: Log) -> _Outcome:
        async with resolver:
            publisher = Publisher(log, resolver, diverts=settings.on_invalid == "divert")
            await publisher.create_topics()
            if by_flags is not None:
                item = Item("not published", list(events_in(by_flags)))
                return _Outcome(await publisher.publish([item], tells=True))
            if files:
                return await _publish_files(publisher, files, None if resume is None else Published(resume))
            if sys.stdin.isatty():
                print("Reading events from the terminal, one a line; Ctrl-D ends it.", file=sys.stderr)
            return await _publish_stdin(publisher)

    outcome = run(with_log(settings, main, create=True), settings)
    print(outcome.counts)
    if outcome.stopped:
        _say_where(outcome, "is not published")
        sys.exit(exit_codes.INTERRUPTED)
    sys.exit(exit_codes.FAILED if outcome.counts.refused else exit_codes.OK)


def _event_from_flags(flags: dict[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    """The plain JSON event that the flags describe. Raises click.UsageError."""
    event: dict[str, Any] = {}
    for field in fields:
        name, equals, value = field.partition("=")
        if not equals:
            raise click.UsageError(f"--set {field!r} is not NAME=VALUE")
        event[name] = value
    try:
        if "schema" in flags:
            event["unstruct_event"] = {"schema": flags["schema"], "data": loads(flags.get("data", "{}"))}
        if "contexts" in flags:
            event["contexts"] = [loads(context) for context in flags["contexts"]]
    except JsonError as error:
        raise click.UsageError(f"--data and --context take JSON: {error}") from None
    if "event" in flags:
        event["event"] = flags["event"]
    return event


async def _publish_stdin(publisher: Publisher) -> _Outcome:
    """Publish stdin's lines as they come: what has arrived is published without waiting for more.

    A signal ends it once what is on its way to the log is there. Raises LogError, StdinError.
    """
    stop = stop_on_signals()
    lines = StdinLines(sys.stdin.fileno())
    waking = asyncio.create_task(_wake_on(stop, lines))
    outcome = _Outcome(Counts())
    telling = Sparingly(_TELL_SECONDS)
    telling.due()
    try:
        while (batch := await lines.next()) is not None:
            if stop.is_set():
                outcome.stopped = True
                break
            items = [Item(f"line {number}", list(events_in(line))) for number, line in batch]
            await _publish(publisher, items, outcome)
            if batch:
                outcome.place = f"line {batch[-1][0]:,}"
            _tell(telling, outcome)
    except SnowbusError:
        _say_where(outcome, "may be published or not")
        raise
    finally:
        waking.cancel()
    return outcome


async def _publish_files(publisher: Publisher, files: Sequence[Path], published: Published | None) -> _Outcome:
    """Publish files one after the other, those that `published` knows from where it says.

    A signal ends it once what is on its way to the log is there. Raises LogError, FileError.
    """
    stop = stop_on_signals()
    outcome = _Outcome(Counts())
    telling = Sparingly(_TELL_SECONDS)
    telling.due()
    try:
        for path in files:
            with EventFile(path, published.marks if published else ()) as file, progress(f"{path} (kB)") as shown:
                before = None
                for batch in file.batches():
                    if stop.is_set():
                        outcome.stopped = True
                        return outcome
                    items = [item._replace(place=f"{path}, {item.place}") for item in batch.items]
                    await _publish(publisher, items, outcome)
                    if published is not None:
                        published.move(before or file.begun_at, batch.mark)
                    before = batch.mark
                    outcome.place = items[-1].place if items else outcome.place
                    shown(file.position // 1_000, file.size // 1_000)
                    _tell(telling, outcome)
    except LogError:
        _say_where(outcome, "may be published or not")
        raise
    except FileError:
        _say_where(outcome, "is not published")
        raise
    return outcome


async def _publish(publisher: Publisher, items: Sequence[Item], outcome: _Outcome) -> None:
    outcome.counts = outcome.counts.plus(await publisher.publish(items))


async def _wake_on(stop: asyncio.Event, lines: StdinLines) -> None:
    await stop.wait()
    lines.wake()


def _tell(telling: Sparingly, outcome: _Outcome) -> None:
    """Say now and then how far it is, where no bar shows it."""
    if not sys.stderr.isatty() and telling.due():
        print(f"{outcome.counts} so far, after {outcome.place}", file=sys.stderr)


def _say_where(outcome: _Outcome, rest: str) -> None:
    where = f"after {outcome.place}" if outcome.place else "before the first event"
    print(f"stopped {where}; what follows {rest}", file=sys.stderr)
