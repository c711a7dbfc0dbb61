"""`snowbus publish`: put events on the log, one by flags or many from NDJSON on stdin."""

import asyncio
import sys
import time
from typing import Any

import click

from snowbus.bus.acceptance import accept
from snowbus.bus.errors import JsonError, PayloadError
from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.json_text import loads
from snowbus.bus.log import Log
from snowbus.bus.payload import Payload, is_payload_data, payload_from_plain_json, payloads_of_payload_data
from snowbus.bus.settings import Settings
from snowbus.bus.version import producer_name

from . import exit_codes
from .running import run, with_log
from .settings import with_settings

_BATCH_LINES = 500


@click.command(name="publish")
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

    async def main(log: Log) -> tuple[int, int]:
        await log.create_topics([EVENTS_TOPIC])
        if event or fields:
            return await _publish_lines(log, [(0, _event_from_flags(event, fields))])
        return await _publish_stdin(log)

    published, refused = run(with_log(settings, main), settings)
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
    """Publish stdin's lines as they come: what has arrived is published without waiting for more."""
    lines: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue(maxsize=2 * _BATCH_LINES)
    reading = asyncio.create_task(_read_stdin(lines))
    published = refused = 0
    ended = False
    while not ended:
        batch: list[tuple[int, Any]] = []
        item = await lines.get()
        while item is not None and len(batch) < _BATCH_LINES:
            batch.append(item)
            if lines.empty():
                break
            item = await lines.get()
        ended = item is None
        counts = await _publish_lines(log, batch)
        published, refused = published + counts[0], refused + counts[1]
    await reading
    return published, refused


async def _read_stdin(lines: asyncio.Queue[tuple[int, bytes] | None]) -> None:
    number = 0
    while line := await asyncio.to_thread(sys.stdin.buffer.readline):
        number += 1
        if line.strip():
            await lines.put((number, line))
    await lines.put(None)


async def _publish_lines(log: Log, lines: list[tuple[int, Any]]) -> tuple[int, int]:
    """Publish numbered lines (bytes, or values already read); returns how many events went and how many did not."""
    records = []
    refused = 0
    now = time.time_ns() // 1_000_000
    for number, line in lines:
        try:
            records += [accept(payload, now=now, producer=producer_name("publish")) for payload in _payloads(line)]
        except (JsonError, PayloadError) as error:
            refused += 1
            print(f"line {number}: {error}" if number else f"not published: {error}", file=sys.stderr)
    await log.append(EVENTS_TOPIC, records)
    return len(records), refused


def _payloads(line: Any) -> list[Payload]:
    value = loads(line.decode("utf-8", "replace")) if isinstance(line, bytes) else line
    return payloads_of_payload_data(value) if is_payload_data(value) else [payload_from_plain_json(value)]
