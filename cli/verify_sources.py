"""Where `snowbus verify` takes events from: the log, a gateway, a file; each gives them in batches, as they come."""

import asyncio
from collections.abc import AsyncGenerator
from typing import NamedTuple

from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.filters import Filter
from snowbus.bus.log import Log
from snowbus.bus.start import Gap, Start, find_start
from snowbus.consumers import EventMessage
from snowbus.consumers.history import History
from snowbus.consumers.reading import Reading
from snowbus.consumers.streaming.address import read_address
from snowbus.consumers.verify.seen import Seen, seen_message, seen_record, seen_view

from .gateway_stream import gateway_events, missed_words

_CATCHING_UP_SECONDS = 2.0


class Batch(NamedTuple):
    """Events that came, none when nothing did for a while; whether all that was there at the beginning has come, and
    what is missing before them, in words.
    """

    events: list[Seen]
    is_live: bool
    notes: tuple[str, ...] = ()


Source = AsyncGenerator[Batch]


async def from_log(log: Log, start: Start, wanted: Filter) -> Source:
    """The events on the log that a filter wants, for ever. Raises LogError."""
    await log.create_topics([EVENTS_TOPIC])
    ends = await log.end_offsets(EVENTS_TOPIC)
    positions, gaps = await find_start(log, EVENTS_TOPIC, start)
    notes = tuple(map(_gap_words, gaps))
    async with await History.open(log, EVENTS_TOPIC, positions) as history:
        while True:
            yield Batch([], history.has_reached(ends), notes)
            items = await history.next()
            notes = tuple(_gap_words(item) for item in items if isinstance(item, Gap))
            records = [item for item in items if not isinstance(item, Gap)]
            if wanted:  # most of what nobody wants is told by its headers
                records = [record for record in records if wanted.matches(Reading(record).candidate)]
            yield Batch([seen_record(record) for record in records], is_live=False)


async def from_stream(url: str, wanted: Filter, *, start: str | None, now: int, give_up_after: float) -> Source:
    """The events of a gateway, for ever; `now` is in ms since 1970. Raises StreamError and ConfigurationError.

    A gateway does not say when a reader has caught up: an event from after `now` says so, or that nothing comes.
    """
    loop = asyncio.get_running_loop()
    notes: list[str] = []
    async with gateway_events(
        url, wanted, start=start, give_up_after=give_up_after, on_gap=lambda gap: notes.append(missed_words(gap))
    ) as events:
        is_live, quiet_since = (start or read_address(url, filters={}).start) in ("", "latest"), loop.time()
        async for message in events:
            if message is not None:
                quiet_since = loop.time()
                is_live = is_live or message.timestamp >= now
            is_live = is_live or loop.time() - quiet_since >= _CATCHING_UP_SECONDS
            yield Batch([_seen(message)] if message else [], is_live, tuple(notes))
            notes.clear()


def _seen(message: EventMessage) -> Seen:
    place = f"{message.topic}/{message.partition}@{message.offset}"
    if message.event and not message.payload:
        return seen_view(message.event, place=place)
    return seen_message(
        message.event,
        dict(message.payload),
        validation=message.validation,
        errors=message.errors,
        place=place,
        timestamp=message.timestamp,
    )


def _gap_words(gap: Gap) -> str:
    count = "an unknown number of records" if gap.missing is None else f"{gap.missing} records"
    return f"{count} of {gap.partition.topic}/{gap.partition.partition} could not be read: {gap.reason}"
