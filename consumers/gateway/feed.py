"""One feed: the newest events of one filter, ready as JSON, each made once however often it is polled.

Pure, and bounded by count and by bytes. Whoever polls every 1.5 s gets each event exactly once as long as no more than
MOST_EVENTS come in that time; of more it gets the newest, and one event in their place that says how many were skipped.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from snowbus.bus.event import Record
from snowbus.bus.filters import Filter
from snowbus.bus.payload import Payload

from ..masking import Mask
from ..reading import Reading
from .inspector import SKIPPED, no_event, own_event
from .inspector_shapes import hit_of, ngrok_document, ngrok_request, request_of, search_document, search_hit, started

MOST_EVENTS = 500
MOST_BYTES = 4_194_304


@dataclass(frozen=True)
class Shape:
    """How events are written: `event` one that was read, `own` one of our own at a time in ms; both with the time that
    the feed gives them `at`; and the `document` around them.
    """

    event: Callable[[Reading, Mask | None], bytes]
    own: Callable[[Payload, int], bytes]
    at: Callable[[bytes, int], bytes]
    document: Callable[[Iterable[bytes]], bytes]


NGROK = Shape(ngrok_request, lambda payload, _: request_of(payload), started, ngrok_document)
SEARCH = Shape(
    search_hit, lambda payload, time: hit_of(payload, payload["eid"], time), lambda hit, _: hit, search_document
)


class Written(NamedTuple):
    """An event as a feed writes it, but for the time that it gives it; and that of its record, in ms."""

    event: bytes
    timestamp: int


class Feed:
    """What one filter and mask let through, in the order in which it was read.

    Each event has a time of its own, in ms, later than that of any before it: that of its record, as far as it is not
    in the future. So a gateway that begins anew gives the same events about the same times: but for those of one ms,
    and after more events in a second than there are ms.
    """

    def __init__(self, shape: Shape, wanted: Filter, mask: Mask | None) -> None:
        self._shape = shape
        self._wanted = wanted
        self._mask = mask
        self._events: deque[tuple[int, bytes]] = deque()  # with the time of each
        self._bytes = 0
        self._time = 0
        self._document: bytes | None = None

    def select(self, records: Iterable[Record]) -> list[Reading]:
        """Those of the records that this feed is about."""
        readings = map(Reading, records)
        return [reading for reading in readings if self._wanted.matches(reading.candidate)]

    def write(self, reading: Reading) -> Written:
        """An event as it is written here: what takes time of what there is to do."""
        return Written(self._shape.event(reading, self._mask), reading.record.timestamp)

    def write_unreadable(self, record: Record) -> Written:
        """What stands for a record that could not be written."""
        return Written(self._shape.own(no_event(record), record.timestamp), record.timestamp)

    def take(self, written: Sequence[Written], *, now: int, skipped: int = 0) -> None:
        """Take the next events, up to MOST_EVENTS, after as many as were `skipped`. `now` is in ms since 1970."""
        older = len(self._events)
        place = self._next_time(written[0], now) if skipped else 0
        for each in written:
            time = self._next_time(each, now)
            self._put(len(self._events), time, self._shape.at(each.event, time))
            while len(self._events) > 1 and (len(self._events) > MOST_EVENTS or self._bytes > MOST_BYTES):
                dropped = self._drop_oldest()
                if older:
                    older -= 1
                else:
                    skipped, place = skipped + 1, dropped
        if skipped:
            told = self._shape.own(own_event(SKIPPED, {"count": skipped}, f"skipped-{place}"), place)
            self._put(older, place, self._shape.at(told, place))

    def document(self) -> bytes:
        """All there is, for a poll."""
        if self._document is None:
            self._document = self._shape.document(event for _, event in self._events)
        return self._document

    def _next_time(self, written: Written, now: int) -> int:
        self._time = max(min(written.timestamp, now), self._time + 1)
        return self._time

    def _put(self, place: int, time: int, event: bytes) -> None:
        self._document = None
        self._events.insert(place, (time, event))
        self._bytes += len(event)

    def _drop_oldest(self) -> int:
        time, event = self._events.popleft()
        self._bytes -= len(event)
        return time
