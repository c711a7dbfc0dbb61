"""`snowbus publish`: put events on the log, one by flags or many from NDJSON on stdin."""

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import click

from snowbus.bus.acceptance import accept
from snowbus.bus.envelope import decode_event
from snowbus.bus.errors import JsonError, PayloadError, RecordTooLargeError, SnowbusError
from snowbus.bus.event import EVENTS_TOPIC, ProducerRecord
from snowbus.bus.json_text import loads
from snowbus.bus.log import Log
from snowbus.bus.payload import (
    Payload,
    checked_payload,
    is_payload_data,
    items_of_payload_data,
    payload_from_plain_json,
)
from snowbus.bus.settings import Settings
from snowbus.bus.version import producer_name

from . import exit_codes
from .running import run, stop_on_signals, with_log
from .settings import SettingsCommand, with_settings
from .stdin_lines import Line, StdinError, StdinLines
from .terminal import problem


class _Outcome(NamedTuple):
    """How many events were published, and how many not; the last line seen to, and whether a signal stopped it."""

    published: int = 0
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
@with_settings()
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

    async def main(log: Log) -> _Outcome:
        await log.create_topics([EVENTS_TOPIC])
        if by_flags is not None:
            return await _publish_one(log, by_flags)
        if sys.stdin.isatty():
            print("Reading events from the terminal, one a line; Ctrl-D ends it.", file=sys.stderr)
        return await _publish_stdin(log)

    outcome = run(with_log(settings, main, create=True), settings)
    print(f"{outcome.published} published" + (f", {outcome.refused} refused" if outcome.refused else ""))
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


async def _publish_stdin(log: Log) -> _Outcome:
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
            published, refused = await _publish_lines(log, batch)
            outcome = _Outcome(outcome.published + published, outcome.refused + refused, last_line=batch[-1][0])
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


async def _publish_one(log: Log, event: dict[str, Any]) -> _Outcome:
    """Publish an event that somebody typed, who is told when it is invalid."""
    records, refused = _accept_lines(log, [(0, event)])
    await log.append(EVENTS_TOPIC, records)
    for record in records:
        for error in decode_event(record.value).errors:
            print(f"the event is invalid: {problem(asdict(error))}", file=sys.stderr)
    return _Outcome(len(records), refused)


async def _publish_lines(log: Log, lines: list[Line]) -> tuple[int, int]:
    """Publish numbered lines; returns how many events went and how many did not."""
    records, refused = _accept_lines(log, lines)
    await log.append(EVENTS_TOPIC, records)
    return len(records), refused


def _accept_lines(log: Log, lines: Sequence[tuple[int, Any]]) -> tuple[list[ProducerRecord], int]:
    """The records of lines (bytes, or values already read), and how many events were refused, which stderr names."""
    records = []
    refused = 0
    now = time.time_ns() // 1_000_000
    for number, line in lines:
        for event in _events(line):
            try:
                if isinstance(event, SnowbusError):
                    raise event
                record = accept(event, now=now, producer=producer_name("publish"))
                if record.size > log.options.max_record_bytes:
                    raise RecordTooLargeError(EVENTS_TOPIC, size=record.size, limit=log.options.max_record_bytes)
                records.append(record)
            except (JsonError, PayloadError, RecordTooLargeError) as error:
                refused += 1
                print(f"line {number}: {error}" if number else f"not published: {error}", file=sys.stderr)
    return records, refused


def _events(line: Any) -> Iterator[Payload | SnowbusError]:
    """The payloads of a line, with an error in the place of each that is none."""
    try:
        value = loads(line.decode("utf-8-sig")) if isinstance(line, bytes) else line
        if not is_payload_data(value):
            yield payload_from_plain_json(value)
            return
        items = items_of_payload_data(value)
    except UnicodeDecodeError as error:
        yield PayloadError(f"not UTF-8, at byte {error.start}")
        return
    except (JsonError, PayloadError) as error:
        yield error
        return
    for position, item in enumerate(items):
        try:
            yield checked_payload(item)
        except PayloadError as error:
            yield PayloadError(f"data[{position}]: {error.reason}")
