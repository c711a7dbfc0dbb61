"""Exports: what the log holds from a place until now, as a file to download.

    /v1/events.har       for the Snowplow Inspector, and whatever else reads HAR files
    /v1/events.ndjson    the messages of the websocket, one a line
    /v1/events.csv       a table of the canonical fields and the validation

They take the parameters of a subscription, and `limit`. An export is bounded by count, by bytes and by time; where it
ends before now, the header `Snowbus-Next` has the cursor to go on from.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from websockets.http11 import Request, Response

from snowbus.bus.clock import now_ms
from snowbus.bus.cursor import RunningCursor, encode_cursor
from snowbus.bus.errors import FilterError, LogError, TopicNotFoundError
from snowbus.bus.event import EVENTS_TOPIC, Record
from snowbus.bus.log.interface import Log, Offsets
from snowbus.bus.start import find_start

from ..history import History, by_time
from ..masking import Mask
from ..reading import Reading
from .access import Refusal
from .door import Door, Pairs, RefusedErrors, refusal_of, refusal_response
from .frames import message_text
from .inspector_shapes import har_document, har_entry
from .pages import response
from .subscription import Subscription, parse_subscription, query_pairs
from .tables import csv_row, csv_table

_PATH = "/v1/events."
_DEFAULT_FROM = ("from", "-1000")
_DEFAULT_LIMIT = "1000"
_MOST_EVENTS = 5_000
_MOST_BYTES = 4_194_304  # of records
_READ_SECONDS = 2.0  # of the five that a request has until it is answered
_AT_ONCE = 2
_EVENTS_A_TURN = 10


class Found(NamedTuple):
    """The events of an export, by their times; where reading began; and the cursor to go on from, if not all are in."""

    readings: Sequence[Reading]
    start: Offsets
    cursor: str


@dataclass(frozen=True)
class Format:
    """One kind of file: what stands in it for an event, with this cursor, and the `document` around that.

    A document is told what to say in it about its being incomplete, or nothing.
    """

    content_type: str
    event: Callable[[Reading, Mask | None, bytes], Any]
    document: Callable[[list[Any], str], bytes]


def _message(reading: Reading, mask: Mask | None, cursor: bytes) -> bytes:
    return message_text(b"event", cursor, reading.body(mask))


def _row(reading: Reading, mask: Mask | None, _: bytes) -> dict[str, Any]:
    shown = reading.shown(mask)
    return csv_row(shown.view if shown else {}, *reading.validation(mask))


FORMATS = {
    "har": Format("application/json", lambda reading, mask, _: har_entry(reading, mask), har_document),
    "ndjson": Format("application/x-ndjson", _message, lambda lines, _: b"".join([line + b"\n" for line in lines])),
    "csv": Format("text/csv; charset=utf-8", _row, lambda rows, _: csv_table(rows)),
}


class Exports:
    """The exports of one gateway, not many at once."""

    def __init__(self, log: Log, door: Door) -> None:
        self._log = log
        self._door = door
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def answer(self, path: str, query: str, request: Request) -> Response | None:
        """The answer to a request for an export, or None when it is not for one."""
        kind = FORMATS.get(path.removeprefix(_PATH)) if path.startswith(_PATH) else None
        if kind is None:
            return None
        try:
            rights, pairs = await self._door.admit(request, query_pairs(query))
            limit = _take_limit(pairs)
            if "group" in dict(pairs):
                raise FilterError("group", "is for a websocket")
            pairs = pairs if dict(pairs).get("from") else [*pairs, _DEFAULT_FROM]
            asked = parse_subscription(pairs, now=now_ms(), rights=rights)
        except RefusedErrors as error:
            return refusal_response(refusal_of(error))
        if self._turns.locked():
            return refusal_response(Refusal(503, "as many exports as may be are under way"))
        async with self._turns:
            try:
                async with asyncio.timeout(2 * _READ_SECONDS):
                    found = await self._find(asked, limit)
            except TopicNotFoundError:
                found = Found((), {}, "")
            except (LogError, TimeoutError) as error:
                return refusal_response(Refusal(503, str(error) or "the log does not answer in time"))
            body = await _write(kind, found, asked.rights.mask)
        headers = {"Content-Disposition": f'attachment; filename="snowbus-{path.removeprefix("/v1/")}"'}
        if found.cursor:
            headers["Snowbus-Next"] = found.cursor
        return response(200, kind.content_type, body, headers)

    async def _find(self, asked: Subscription, limit: int) -> Found:
        """Read until now, as far as it may be. Raises LogError."""
        start, _ = await find_start(self._log, EVENTS_TOPIC, asked.start)
        ends = await self._log.end_offsets(EVENTS_TOPIC)
        reached = dict(start)
        found: list[Record] = []
        size = 0
        deadline = time.monotonic() + _READ_SECONDS
        async with await History.open(self._log, EVENTS_TOPIC, start) as history:
            while any(reached.get(partition, 0) < end for partition, end in ends.items()):
                if time.monotonic() > deadline:
                    return _found(found, start, reached)
                for record in await history.next():
                    if not isinstance(record, Record) or record.offset >= ends.get(record.topic_partition, 0):
                        continue
                    if len(found) == limit or size > _MOST_BYTES:
                        return _found(found, start, reached)
                    reached[record.topic_partition] = record.offset + 1
                    if asked.filter.matches(Reading(record).candidate):
                        found.append(record)
                        size += len(record.value)
                passed = history.positions().items()  # where there are offsets without a record
                reached |= {partition: min(offset, ends.get(partition, 0)) for partition, offset in passed}
        return _found(found, start, None)


def _found(records: Sequence[Record], start: Offsets, reached: Offsets | None) -> Found:
    return Found([Reading(record) for record in by_time(records)], start, encode_cursor(reached) if reached else "")


async def _write(kind: Format, found: Found, mask: Mask | None) -> bytes:
    """The file, made while others have their turns."""
    cursor = RunningCursor(found.start)
    written = []
    for place, reading in enumerate(found.readings):
        record = reading.record
        written.append(kind.event(reading, mask, cursor.advance(record.topic_partition, record.offset + 1)))
        if place % _EVENTS_A_TURN == 0:
            await asyncio.sleep(0)
    return kind.document(written, f"go on with from={found.cursor}" if found.cursor else "")


def _take_limit(pairs: Pairs) -> int:
    """Take the parameter `limit` out. Raises FilterError."""
    texts = [text for name, text in pairs if name == "limit"] or [_DEFAULT_LIMIT]
    pairs[:] = [pair for pair in pairs if pair[0] != "limit"]
    text = texts[0]
    if len(texts) > 1 or not (text.isascii() and text.isdigit() and len(text) < 8 and 1 <= int(text) <= _MOST_EVENTS):
        raise FilterError("limit", f"is one whole number from 1 to {_MOST_EVENTS}")
    return int(text)
