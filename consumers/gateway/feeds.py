"""The feeds that the Snowplow Inspector polls: which one a path names, whose it is, and what has come since.

    {base}api/requests/http                      as ngrok does; base is http://HOST:8081/, or http://HOST:8081/feeds/FILTERS/
    {endpoint}/{index}/_search?size=50&q=*       as ElasticSearch does; an index such as app_id=shop is a filter

FILTERS are parameters as in the query of a subscription, the token among them, since an Inspector that appends a path
takes no query. A poll is answered from the ring, and from the log where the ring has moved on; whatever happens to the
log meanwhile, there is an answer, as the Inspector polls no more after the first failure.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote

from websockets.http11 import Request, Response

from snowbus.bus.clock import now_ms
from snowbus.bus.cursor import decode_cursor
from snowbus.bus.diagnostics import Diagnostics
from snowbus.bus.errors import LogError
from snowbus.bus.event import EVENTS_TOPIC, Record, TopicPartition
from snowbus.bus.filters import parse_filter
from snowbus.bus.log.interface import Log, Offsets
from snowbus.bus.sparingly import SparingDiagnostics

from ..history import History
from ..reading import Reading
from .door import Door, Pairs, RefusedErrors, refusal_of, refusal_response
from .feed import MOST_EVENTS, NGROK, SEARCH, Feed, Shape
from .live import Live
from .pages import response
from .ring import Ring
from .subscription import query_pairs

logger = Diagnostics(__name__)

_NGROK_PATH = "/api/requests/http"
_SEARCH_PATH = "/_search"
_FILTERS_PATH = "/feeds/"
_MOST_FEEDS = 16
_FIRST_RECORDS = 2_000
_RECORDS_AT_ONCE = 100
_WRITTEN_AT_ONCE = 10
_LOG_SECONDS = 1.5
_LOOK_SECONDS = 0.01


class Asked(NamedTuple):
    """Which feed a path names: how it is written, and the parameters in the path and the query."""

    shape: Shape
    pairs: Pairs


def parse_feed(path: str, query: str) -> Asked | None:
    """The feed at a path, or None when there is none. Raises FilterError."""
    if path.endswith(_NGROK_PATH):
        filters = path.removesuffix(_NGROK_PATH)
        if not filters:
            return Asked(NGROK, query_pairs(query))
        if filters.startswith(_FILTERS_PATH):
            return Asked(NGROK, query_pairs(filters.removeprefix(_FILTERS_PATH)) + query_pairs(query))
    elif path.endswith(_SEARCH_PATH):
        filters, _, index = path.removesuffix(_SEARCH_PATH).rpartition("/")
        if index and (not filters or filters.startswith(_FILTERS_PATH)):
            pairs = query_pairs(filters.removeprefix(_FILTERS_PATH))
            named = query_pairs(index if "=" in index else unquote(index)) if "=" in unquote(index) else []
            asked = [(name, text) for name, text in query_pairs(query) if name != "size" and (name, text) != ("q", "*")]
            return Asked(SEARCH, pairs + named + asked)
    return None


class Feeds:
    """The feeds of one gateway, made when somebody polls one, and kept while it is among the last that were polled."""

    def __init__(self, log: Log, live: Live, door: Door) -> None:
        self._log = log
        self._live = live
        self._door = door
        self._followers: OrderedDict[tuple[object, ...], _Follower] = OrderedDict()

    async def answer(self, path: str, query: str, request: Request) -> Response | None:
        """The answer to a poll, or None when no feed is at this path."""
        try:
            asked = parse_feed(path, query)
            if asked is None:
                return None
            rights, pairs = await self._door.admit(request, asked.pairs)
            wanted = rights.narrow(parse_filter(pairs))
        except RefusedErrors as error:
            return refusal_response(refusal_of(error))
        key = asked.shape, wanted, rights.mask
        if key not in self._followers:
            self._followers[key] = _Follower(Feed(asked.shape, wanted, rights.mask), self._log, self._live)
        self._followers.move_to_end(key)
        if len(self._followers) > _MOST_FEEDS:
            self._followers.popitem(last=False)
        return response(200, "application/json", await self._followers[key].poll())


class _Follower:
    """Keeps one feed up to date, whenever it is polled: from the ring, and where that has moved on, from the log."""

    def __init__(self, feed: Feed, log: Log, live: Live) -> None:
        self._diagnostics = SparingDiagnostics(logger)
        self._feed = feed
        self._log = log
        self._live = live
        self._restarts = -1
        self._sequence = 0
        self._positions: dict[TopicPartition, int] = {}
        self._found: deque[Reading] = deque(maxlen=MOST_EVENTS)
        self._count = 0
        self._turn = asyncio.Lock()
        self._has_begun = False

    async def poll(self) -> bytes:
        """The feed as it is now; as it was, while another poll brings it up to date. Whatever happens, there is one."""
        if self._turn.locked() and self._has_begun:
            return self._feed.document()
        async with self._turn:
            try:
                if not self._has_begun:
                    await self._wait_for_ring()
                try:
                    await self._catch_up()
                finally:
                    await self._take_found()
            except (LogError, TimeoutError) as error:
                logger.debug("a feed has to wait for the log", reason=str(error) or "no answer in time")
            except Exception:  # noqa: BLE001 - it is told, with its traceback
                self._diagnostics.exception("a feed failed")
            self._has_begun = True
        return self._feed.document()

    async def _wait_for_ring(self) -> None:
        """Wait until the ring has what is on the log. Raises LogError, TimeoutError.

        Some versions of the Inspector take an answer without requests for a tunnel that begins anew, and would show
        everything again when a gateway has.
        """
        async with asyncio.timeout(_LOG_SECONDS):
            ends = await self._log.end_offsets(EVENTS_TOPIC)
            while not self._has_all(ends):  # noqa: ASYNC110 - only when a gateway begins; nobody else has to know
                await asyncio.sleep(_LOOK_SECONDS)

    def _has_all(self, ends: Offsets) -> bool:
        ring = self._live.ring
        return ring is not None and all(ring.positions.get(partition, 0) >= end for partition, end in ends.items())

    async def _catch_up(self) -> None:
        """Find what has come since the last poll. Raises LogError, TimeoutError."""
        ring = self._live.ring
        if ring is None:
            return
        if self._restarts != self._live.restarts:
            self._begin(ring)
        if self._sequence < ring.oldest:
            await self._read_log(ring)
        while ring.oldest <= self._sequence < ring.end:
            entries = ring.read(self._sequence, _RECORDS_AT_ONCE)
            self._sequence += len(entries)
            self._look_at([entry.record for entry in entries if entry.record is not None])
            await asyncio.sleep(0)

    async def _take_found(self) -> None:
        written = []
        for place, reading in enumerate(self._found, 1):
            try:
                written.append(self._feed.write(reading))
            except Exception:  # noqa: BLE001 - it is told, with its traceback
                self._diagnostics.exception("an event could not be written for a feed")
                written.append(self._feed.write_unreadable(reading.record))
            if place % _WRITTEN_AT_ONCE == 0:
                await asyncio.sleep(0)  # live readers do not wait for feeds
        self._feed.take(written, now=now_ms(), skipped=self._count - len(written))
        self._found.clear()
        self._count = 0

    def _begin(self, ring: Ring) -> None:
        """Stand among the newest records of a ring."""
        self._restarts = self._live.restarts
        self._sequence = max(ring.oldest, ring.end - _FIRST_RECORDS)
        self._positions = decode_cursor(ring.cursor_at(self._sequence).decode())

    async def _read_log(self, ring: Ring) -> None:
        """Look at what the ring has no more, until it goes on from there. Raises LogError, TimeoutError."""
        start = dict.fromkeys(ring.positions, 0) | self._positions
        async with asyncio.timeout(_LOG_SECONDS), await History.open(self._log, EVENTS_TOPIC, start) as history:
            while (seat := ring.seat(self._positions)) is None:
                self._look_at([item for item in await history.next() if isinstance(item, Record)])
                self._positions.update(history.positions())
        self._sequence, self._positions = seat.sequence, seat.positions

    def _look_at(self, records: Sequence[Record]) -> None:
        """Find what the feed is about among the next records; those from before its place it has had."""
        fresh = []
        for record in records:
            if record.offset >= self._positions.get(record.topic_partition, 0):
                self._positions[record.topic_partition] = record.offset + 1
                fresh.append(record)
        found = self._feed.select(fresh)
        self._found += found
        self._count += len(found)
