"""`snowbus publish`: put events on the log, one by flags or many from NDJSON on stdin."""

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import click

from snowbus.bus.acceptance import accept
from snowbus.bus.errors import JsonError, PayloadError, RecordTooLargeError, SnowbusError
from snowbus.bus.event import EVENTS_TOPIC
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

_BATCH_LINES = 500


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

    A line is an event in tracker-protocol parameters, in canonical names, or self-describing; or a payload_data. Lines
    that are none are named on stderr, the others are published all the same, and the exit code is 1.
    """
    event = {name: value for name, value in flags.items() if value}
    if "data" in event and "schema" not in event:
        raise click.UsageError("--data needs --schema, which says what the data is")

    async def main(log: Log) -> tuple[int, int]:
        await log.create_topics([EVENTS_TOPIC])
        if not (event or fields) and sys.stdin.isatty():
            print("Reading events from the terminal, one a line; Ctrl-D ends it.", file=sys.stderr)
        if event or fields:
            return await _publish_lines(log, [(0, _event_from_flags(event, fields))])
        return await _publish_stdin(log)

    published, refused = run(with_log(settings, main, create=True), settings)
    print(f"{published} published" + (f", {refused} refused" if refused else ""))
    sys.exit(exit_codes.FAILED if refused else exit_codes.OK)


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


async def _publish_stdin(log: Log) -> tuple[int, int]:
    """Publish stdin's lines as they come: what has arrived is published without waiting for more.

    A signal ends it after the lines that have been read.
    """
    stop = stop_on_signals()
    lines: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue(maxsize=_BATCH_LINES)
    stopping = asyncio.create_task(_end_on(stop, lines))
    # A thread of its own, which nobody waits for: a terminal may never say another line.
    threading.Thread(target=_read_stdin, args=(lines, asyncio.get_running_loop()), daemon=True).start()
    published = refused = 0
    item = await lines.get()
    while item is not None:
        batch = [item]
        while len(batch) < _BATCH_LINES and not lines.empty() and (item := lines.get_nowait()) is not None:
            batch.append(item)
        counts = await _publish_lines(log, batch)
        published, refused = published + counts[0], refused + counts[1]
        if item is not None:
            item = await lines.get()
    stopping.cancel()
    return published, refused


async def _end_on(stop: asyncio.Event, lines: asyncio.Queue[tuple[int, bytes] | None]) -> None:
    await stop.wait()
    await lines.put(None)


def _read_stdin(lines: asyncio.Queue[tuple[int, bytes] | None], loop: asyncio.AbstractEventLoop) -> None:
    # Not sys.stdin itself, which the interpreter wants to lock when it ends.
    stream = open(sys.stdin.fileno(), "rb", closefd=False)  # noqa: SIM115 - the thread may never come to its end
    with contextlib.suppress(RuntimeError):  # the loop has ended, after a signal
        for number, line in enumerate(stream, 1):
            if line.strip():
                asyncio.run_coroutine_threadsafe(lines.put((number, line)), loop).result()
        asyncio.run_coroutine_threadsafe(lines.put(None), loop).result()


async def _publish_lines(log: Log, lines: list[tuple[int, Any]]) -> tuple[int, int]:
    """Publish numbered lines (bytes, or values already read); returns how many events went and how many did not."""
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
    await log.append(EVENTS_TOPIC, records)
    return len(records), refused


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
