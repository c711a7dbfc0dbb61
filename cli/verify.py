"""`snowbus verify`: hold the events that come against a plan, and say what fits, what is missing and what is wrong."""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import click

from snowbus.bus.clock import now_ms
from snowbus.bus.errors import ConfigurationError, PlanError, SnowbusError
from snowbus.bus.filters import Filter
from snowbus.bus.iglu.resolver import VERDICT_SECONDS, resolver_of
from snowbus.bus.settings import Settings
from snowbus.bus.start import Start
from snowbus.consumers.verify import Outcome, Verification, read_plan, report_json, report_lines
from snowbus.consumers.verify.checking import Unchecked, check_all
from snowbus.consumers.verify.junit import junit_xml
from snowbus.consumers.verify.patience import Patience
from snowbus.consumers.verify.shape import SCHEMA_FILE
from snowbus.schemas import read_text

from . import exit_codes
from .arguments import event_filter, filter_pairs, start_of
from .gateway_stream import STREAM_HELP, check_stream
from .running import run, stop_on_signals, with_log
from .settings import RESOLVER, SettingsCommand, with_settings
from .terminal import echo, printable, printable_json, until_nobody_reads
from .verify_files import FORMATS, Recorded, RecordedError, recorded_events
from .verify_sources import Source, from_log, from_stream
from .verify_view import LiveView

_INTERRUPTED = "stopped"
_END_OF_FILE = "the file was read"
_SHOWN_EVERY_SECONDS = 0.1
_CHECKED_AT_ONCE = 500
_OTHERS_SHOWN = 3


@dataclass(frozen=True)
class _Asked:
    """What the command line asks for, besides the plan and the settings."""

    stream: str | None
    start: str | None
    file: str | None
    timeout: float
    settle: float
    as_json: bool
    junit: Path | None
    filters: tuple[str, ...]

    @cached_property
    def wanted(self) -> Filter:
        """Which events. Raises click.UsageError."""
        return event_filter(self.filters)

    @cached_property
    def begin(self) -> Start:
        """Where to begin on the log. Raises click.UsageError."""
        return start_of(self.start)

    def check(self) -> None:
        """Raise click.UsageError for what cannot be asked for, or not together."""
        if any(name == "from" for name, _ in filter_pairs(self.filters)):
            raise click.UsageError("from is no filter but an option: --from earliest")
        if self.file is not None and (self.stream is not None or self.start is not None):
            raise click.UsageError("--file is read from its beginning to its end; leave out --stream and --from")
        if self.stream is not None:
            check_stream(self.stream)
        if self.junit is not None and not self.junit.absolute().parent.is_dir():
            raise click.UsageError(f"--junit: there is no folder {self.junit.parent}")
        _ = self.wanted, self.begin


@dataclass
class _Found:
    """What came of it, why it ended, by which error if by one, and what is to be said beside it."""

    verification: Verification
    ended: str = ""
    error: SnowbusError | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def error_words(self) -> str:
        """The error in words; nothing when there is none."""
        return str(self.error or "")


def _print_schema(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        click.echo(read_text(SCHEMA_FILE), nl=False)
        ctx.exit()


@click.command(name="verify", cls=SettingsCommand, epilog=f"A FILE holds {FORMATS}.".replace("`", ""))
@click.argument("plan", type=click.Path(path_type=Path))
@click.argument("filters", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--stream", metavar="URL", help=STREAM_HELP)
@click.option(
    "--from", "start", help="On the log or a gateway: latest (the default), earliest, -N, a time, or a cursor."
)
@click.option("--file", metavar="FILE", help="Take events from recorded traffic; - is stdin.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    help="Seconds to wait for what is missing, once all that was there has been read; 0 does not wait.",
)
@click.option(
    "--settle",
    type=click.FloatRange(min=0),
    default=2.0,
    show_default=True,
    help="Seconds to wait, once all that is expected was seen, for what must not come.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="Write the report as JUnit XML, too.")
@click.option(
    "--schema",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_schema,
    help="Print the JSON Schema of plans, for editors, and exit.",
)
@with_settings(also=RESOLVER)
def command(settings: Settings, *, plan: Path, **options: Any) -> None:
    """Hold events against the PLAN, a YAML file: those that come on the log, unless told to take others.

    \b
      snowbus verify checkout.yaml user_id=ann
      snowbus verify checkout.yaml --from earliest --timeout 10 --junit verify.xml

    Filters are those of the gateway, as of `snowbus tail`: user_id=u-481 looks at one user's events only. Ctrl-C ends
    it with what was seen so far. The exit code is 0 when the events fit, and 5 when they do not.
    """
    asked = _Asked(**options)
    asked.check()
    try:
        found = _Found(Verification(read_plan(plan)))
    except PlanError as error:
        raise click.UsageError(str(error)) from None
    began = time.monotonic()
    try:
        _hold(settings, asked, found)
    except SnowbusError as error:
        found.error = error
    outcome = found.verification.outcome()
    with until_nobody_reads():
        _print(outcome, found, as_json=asked.as_json)
    if asked.junit is not None:
        _write(asked.junit, junit_xml(outcome, seconds=time.monotonic() - began, error=found.error_words))
    if found.error is not None:
        raise found.error
    sys.exit(exit_codes.OK if outcome.fits else exit_codes.DOES_NOT_FIT)


def _hold(settings: Settings, asked: _Asked, found: _Found) -> None:
    """See all events there are to see. Raises click.UsageError, and SnowbusError when it cannot go on."""
    if asked.file is not None:
        _read_file(asked.file, settings, found, asked.wanted)
        return
    with LiveView() as view:
        run(_watch(settings, asked, found, view), settings)


def _read_file(name: str, settings: Settings, found: _Found, wanted: Filter) -> None:
    """See all events of a file. Raises click.UsageError, RecordedError."""
    try:
        text = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        recorded = recorded_events(text.decode())
    except OSError as error:
        raise click.UsageError(f"--file {name}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise RecordedError(f"{name}: not UTF-8, at byte {error.start}") from None
    try:
        run(_see_recorded(recorded, settings, found, wanted), settings)
    except RecordedError as error:
        raise RecordedError(f"{name}: {error}") from None
    found.ended = _END_OF_FILE


async def _see_recorded(recorded: Iterator[Recorded], settings: Settings, found: _Found, wanted: Filter) -> None:
    """See recorded events, those checked that have not been. Raises RecordedError."""
    unknown, others = 0, []
    async with resolver_of(settings.iglu_resolver, wait=VERDICT_SECONDS) as resolver:
        while part := list(islice(recorded, _CHECKED_AT_ONCE)):
            for each, seen in zip(part, await check_all(part, resolver), strict=True):
                if not seen.is_event:
                    others.append(f"{seen.place}: {seen.errors[0].got}")
                if wanted.matches(seen.candidate):
                    found.verification.see(seen)
                    unknown += isinstance(each, Unchecked) and seen.validation == "unchecked"
    if others:
        shown = [*others[:_OTHERS_SHOWN], "…"] if len(others) > _OTHERS_SHOWN else others
        found.notes.append(f"not understood, {len(others)} in all: {'; '.join(shown)}")
    if unknown and settings.iglu_resolver:
        found.notes.append(f"{unknown} events could not be checked: no answer from the registries of their schemas")


async def _watch(settings: Settings, asked: _Asked, found: _Found, view: LiveView) -> None:
    """See events as they come, until it is over or a signal says so."""
    if asked.stream is not None:
        source = from_stream(
            asked.stream, asked.wanted, start=asked.start, now=now_ms(), give_up_after=max(asked.timeout, 1.0)
        )
        await _see_until_over(source, asked, found, view)
        return
    await with_log(settings, lambda log: _see_until_over(from_log(log, asked.begin, asked.wanted), asked, found, view))


async def _see_until_over(source: Source, asked: _Asked, found: _Found, view: LiveView) -> None:
    stop = asyncio.create_task(stop_on_signals().wait())
    seeing = asyncio.create_task(_see(source, Patience(asked.timeout, asked.settle), found, view))
    await asyncio.wait({stop, seeing}, return_when=asyncio.FIRST_COMPLETED)
    if not seeing.done():
        found.ended = _INTERRUPTED
        seeing.cancel()
    stop.cancel()
    await asyncio.wait({seeing})
    if not seeing.cancelled():
        seeing.result()


async def _see(source: Source, patience: Patience, found: _Found, view: LiveView) -> None:
    verification, clock = found.verification, asyncio.get_running_loop().time
    shown = float("-inf")
    try:
        async for batch in source:
            found.notes += batch.notes
            for seen in batch.events:
                verification.see(seen)
            now = clock()
            if now - shown >= _SHOWN_EVERY_SECONDS:
                shown = now
                view.show(verification.outcome())
            found.ended = patience.is_over(now, is_live=batch.is_live, has_seen_all=verification.has_seen_all)
            if found.ended:
                return
    finally:
        await source.aclose()


def _print(outcome: Outcome, found: _Found, *, as_json: bool) -> None:
    if as_json:
        report = report_json(outcome, ended=found.ended, notes=found.notes, error=found.error_words)
        text = json.dumps(report, ensure_ascii=False, indent=2)
        click.echo("\n".join(map(printable_json, text.split("\n"))))
        return
    for note in found.notes:
        print(f"-- {printable(note)}", file=sys.stderr)
    for line in report_lines(outcome, ended=found.ended, error=found.error_words):
        echo(printable(line), _colour(line))


def _colour(line: str) -> str | None:
    return {"✓": "green", "✗": "red"}.get(line.strip()[:1])


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise ConfigurationError(f"--junit {path}: {error.strerror or error}") from None
