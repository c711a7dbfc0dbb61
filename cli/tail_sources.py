"""Where `snowbus tail` takes events from: the log or a gateway; each gives them as the gateway's messages, in parts."""

from collections.abc import AsyncGenerator
from dataclasses import asdict
from typing import NamedTuple

from snowbus.bus import json_text
from snowbus.bus.cursor import RunningCursor
from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.filters import Filter
from snowbus.bus.log import Log
from snowbus.bus.start import Gap, Start, find_start
from snowbus.bus.traceparent import request_headers
from snowbus.consumers import EventMessage, GapMessage
from snowbus.consumers.gateway.frames import gap_text, message_text
from snowbus.consumers.history import History
from snowbus.consumers.reading import Reading

from .gateway_stream import gateway_events, missed_words

_MEMBERS = ("cursor", "topic", "partition", "offset", "timestamp", "key", "event", "payload", "source")


class Told(NamedTuple):
    """A message as JSON; and when it says that records are missing, that in words."""

    text: str
    missing: str = ""


Source = AsyncGenerator[list[Told]]


async def from_log(log: Log, start: Start, *, wanted: Filter, follow: bool) -> Source:
    """What is on the log, for ever or (not to `follow`) to where it ends now; nothing at times when nothing comes.

    Raises LogError.
    """
    await log.create_topics([EVENTS_TOPIC])
    ends = await log.end_offsets(EVENTS_TOPIC)
    positions, gaps = await find_start(log, EVENTS_TOPIC, start)
    cursor = RunningCursor(positions)
    yield [_gap(gap, cursor) for gap in gaps]
    async with await History.open(log, EVENTS_TOPIC, positions) as history:
        while follow or not history.has_reached(ends):
            found = []
            for item in await history.next():
                if isinstance(item, Gap):
                    found.append(_gap(item, cursor))
                    continue
                reading, place = Reading(item), cursor.advance(item.topic_partition, item.offset + 1)
                if wanted.matches(reading.candidate):
                    found.append(Told(message_text(b"event", place, reading.body()).decode()))
            yield found


async def from_gateway(url: str, start: str | None, wanted: Filter) -> Source:
    """What a gateway sends, for ever; nothing at times when nothing comes. Raises StreamError, ConfigurationError."""
    gaps: list[Told] = []
    async with gateway_events(url, wanted, start=start, on_gap=lambda gap: gaps.append(_missed(gap))) as events:
        async for message in events:
            yield [*gaps, *([_event(message)] if message else [])]
            gaps.clear()


def _gap(gap: Gap, cursor: RunningCursor) -> Told:
    count = "an unknown number of" if gap.missing is None else gap.missing
    text = gap_text(cursor.advance(gap.partition, gap.end), gap).decode()
    return Told(text, f"{count} records are missing: {gap.reason}")


def _missed(message: GapMessage) -> Told:
    gap = Gap(message.topic_partition, message.start, message.end, message.count, message.reason)
    return Told(gap_text(message.cursor.encode(), gap).decode(), missed_words(message))


def _event(message: EventMessage) -> Told:
    members = {name: getattr(message, name) for name in _MEMBERS}
    validation = {"status": message.validation, "errors": [asdict(error) for error in message.errors]}
    trace = request_headers(message.traceparent)
    told = {"type": "event", **members, "validation": validation, "producer": message.producer, **trace}
    return Told(json_text.dumps(told))
