"""`snowbus publish`: put events on the log, one by flags or many from NDJSON on stdin."""

import asyncio
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import click

from snowbus.bus.acceptance import Draft, schemas_of
from snowbus.bus.errors import JsonError, RecordTooLargeError, SnowbusError
from snowbus.bus.event import BAD_TOPIC, EVENTS_TOPIC, ProducerRecord
from snowbus.bus.iglu.resolver import Resolver, resolver_of
from snowbus.bus.json_text import loads
from snowbus.bus.log import Log
from snowbus.bus.settings import Settings
from snowbus.bus.version import producer_name
from snowbus.producers.checking import Checker

from . import exit_codes
from .events_in import events_in
from .running import run, stop_on_signals, with_log
from .settings import VALIDATION, SettingsCommand, with_settings
from .stdin_lines import StdinError, StdinLines
from .terminal import printable

_SCHEMA_SECONDS = 5.0
"""How long events wait for their schemas at least: nobody waits for us, and we have looked up none yet."""


class _Outcome(NamedTuple):
    """How many events were published, put on `snowbus.bad` instead, and refused; the last line seen to, and whether a
    signal stopped it.
    """

    published: int = 0
    diverted: int = 0
    refused: int = 0
    last_line: int = 0
    stopped: bool = False


@click.command(name="publish", cls=SettingsCommand)
@click.option("--event", metavar="NAME", help="The type: page_view, page_ping, struct, transaction, transaction_item.")
@click.option("--schema", metavar="IGLU_URI", help="The schema of a self-describing event.")
@click.option("--data", metavar="JSON", help="The data of a self-describing event.")
@click.option(
    "--context", "contexts", multiple=True, metavar="JSON", help="An entity, {schema, data}; may be repeated."
)
@click.option("--set", "fields", multiple=True, metavar="NAME=VALUE", help="A canonical field, such as app_id=shop.")
@with_settings(also=VALIDATION)
def command(settings: Settings, *, fields: tuple[str, ...], **flags: Any) -> None:
    """Put one event on the log, or, without flags, every line of NDJSON on stdin.

    An event described by flags that is invalid is published, too, and stderr says what is wrong with it.

    A line is an event in tracker-protocol parameters, in canonical names, or self-describing; or a payload_data. Lines
    that are none are named on stderr, the others are published all the same, and the exit code is 1. SIGTERM or Ctrl-C
    ends it before the end of stdin: stderr says after which line, and the exit code is 130.
    """
    event = {name: value for name, value in flags.items() if value}
    if "data" in event and "schema" not in event:
        raise click.UsageError("--data needs --schema, which says what the data is")

    by_flags = _event_from_flags(event, fields) if event or fields else None
    if by_flags is None and sys.stdin is None:
        raise StdinError("stdin is closed; give it events, or say with flags what is to be published")

    resolver = resolver_of(settings.iglu_resolver, wait=max(settings.iglu_wait, _SCHEMA_SECONDS))

    async def main(log: Log) -> _Outcome:
        async with resolver:
            publisher = _Publisher(log, resolver, diverts=settings.on_invalid == "divert")
            await publisher.create_topics()
            if by_flags is not None:
                return await publisher.publish_one(by_flags)
            if sys.stdin.isatty():
                print("Reading events from the terminal, one a line; Ctrl-D ends it.", file=sys.stderr)
            return await _publish_stdin(publisher)

    outcome = run(with_log(settings, main, create=True), settings)
    counts = {"published": outcome.published, "diverted": outcome.diverted, "refused": outcome.refused}
    print(", ".join(f"{count} {word}" for word, count in counts.items() if count or word == "published"))
    if outcome.stopped:
        _say_where(outcome, "not published")
        sys.exit(exit_codes.INTERRUPTED)
    sys.exit(exit_codes.FAILED if outcome.refused else exit_codes.OK)


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


async def _publish_stdin(publisher: "_Publisher") -> _Outcome:
    """Publish stdin's lines as they come: what has arrived is published without waiting for more.

    A signal ends it once what is on its way to the log is there. Raises LogError, StdinError.
    """
    stop = stop_on_signals()
    lines = StdinLines(sys.stdin.fileno())
    waking = asyncio.create_task(_wake_on(stop, lines))
    outcome = _Outcome()
    try:
        while (batch := await lines.next()) is not None:
            if stop.is_set():
                return outcome._replace(stopped=True)
            more = await publisher.publish(batch)
            counts = (
                outcome.published + more.published,
                outcome.diverted + more.diverted,
                outcome.refused + more.refused,
            )
            outcome = _Outcome(*counts, last_line=batch[-1][0])
    except SnowbusError:
        _say_where(outcome, "may be published or not")
        raise
    finally:
        waking.cancel()
    return outcome


async def _wake_on(stop: asyncio.Event, lines: StdinLines) -> None:
    await stop.wait()
    lines.wake()


def _say_where(outcome: _Outcome, rest: str) -> None:
    where = f"after line {outcome.last_line:,}" if outcome.last_line else "before the first line"
    print(f"stopped {where}; what follows is {rest}", file=sys.stderr)


class _Publisher:
    """Checks events and puts them on the log."""

    def __init__(self, log: Log, resolver: Resolver, *, diverts: bool) -> None:
        self._log = log
        self._resolver = resolver
        self._checker = Checker(
            producer=producer_name("publish"), diverts=diverts, max_record_bytes=log.options.max_record_bytes
        )
        self._topics = [EVENTS_TOPIC, BAD_TOPIC] if diverts else [EVENTS_TOPIC]

    async def create_topics(self) -> None:
        """Make the topics that events go to. Raises LogError."""
        await self._log.create_topics(self._topics)

    async def publish_one(self, event: dict[str, Any]) -> _Outcome:
        """Publish an event that somebody typed, who is told when it is invalid. Raises LogError."""
        return await self.publish([(0, event)], tells=True)

    async def publish(self, lines: Sequence[tuple[int, Any]], *, tells: bool = False) -> _Outcome:
        """Publish numbered lines (bytes, or values already read); stderr names the events that are refused.

        Raises LogError.
        """
        drafts, refused = self._read(lines)
        lookups = await self._resolver.look_up(schemas_of(drafted for _, drafted in drafts))
        now = time.time_ns() // 1_000_000
        records: dict[str, list[ProducerRecord]] = {BAD_TOPIC: [], EVENTS_TOPIC: []}
        for number, drafted in drafts:
            try:
                placed = self._checker.place(drafted, lookups, now=now)
            except RecordTooLargeError as error:
                refused += 1
                _say_refused(number, error)
                continue
            records[placed.topic].append(placed.record)
            if tells:
                for problem in placed.accepted.errors:
                    print(f"the event is invalid: {printable(problem.sentence)}", file=sys.stderr)
        for topic, those in records.items():
            if those:
                await self._log.append(topic, those)
        return _Outcome(len(records[EVENTS_TOPIC]), len(records[BAD_TOPIC]), refused)

    def _read(self, lines: Sequence[tuple[int, Any]]) -> tuple[list[tuple[int, Draft]], int]:
        """The events of lines, and how many were refused."""
        drafts = []
        refused = 0
        for number, line in lines:
            for read in events_in(line):
                if isinstance(read.event, SnowbusError):
                    refused += 1
                    _say_refused(number, read.event, where=read.where)
                else:
                    drafts.append((number, read.event))
        return drafts, refused


def _say_refused(number: int, error: SnowbusError, *, where: str = "") -> None:
    places = [f"line {number}" if number else "not published", *([where] if where else [])]
    print(": ".join([*places, str(error)]), file=sys.stderr)
