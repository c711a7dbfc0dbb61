"""The tail: the one task that follows the log for all live readers, and says whether the log can be read."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence

from snowbus.bus.backoff import Backoff
from snowbus.bus.diagnostics import Diagnostics
from snowbus.bus.errors import LogError, LogUnavailableError
from snowbus.bus.event import EVENTS_TOPIC, Record, TopicPartition
from snowbus.bus.log.interface import Log, Offsets, Reader
from snowbus.bus.sparingly import SparingDiagnostics
from snowbus.bus.start import Gap, Positions, check_positions, is_another, last_positions
from snowbus.bus.tasks import to_its_end

from ..history import by_time
from .live import Live

logger = Diagnostics(__name__)

_WARM_EVENTS = 1_000
_MAX_RECORDS = 500
_POLL_SECONDS = 1.0
_ANSWER_SECONDS = 10.0
_TURN_BYTES = 49_152
"""Of records: their messages are about as much as a reader is sent at once."""


class Tail:
    """Reads the end of the events' topic into the ring, whether anybody listens or not.

    `outage` says why the log cannot be read now, or is empty. `watch_every` is in seconds: how often the topic is
    looked at beside the reading, for partitions that it has got, or a log that is another one.
    """

    def __init__(self, log: Log, live: Live, *, ring_events: int, watch_every: float) -> None:
        self.outage = ""
        self._log = log
        self._live = live
        self._ring_events = ring_events
        self._watch_every = watch_every
        self._topic_id = ""
        self._reopen = False
        self._reads = False
        self._tried = asyncio.Event()
        self._diagnostics = SparingDiagnostics(logger)

    async def wait_first_try(self, seconds: float) -> None:
        """Wait until the log has been reached, or not, for the first time; not for longer than this."""
        if not self._tried.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._tried.wait()

    async def run(self) -> None:
        """Follow the log until cancelled; while it is away, try on."""
        watching = asyncio.create_task(self._watch(), name="snowbus-gateway-watch")
        backoff = Backoff(0.2, maximum=5.0)
        try:
            while True:
                try:
                    begins = self._live.ring is None
                    reader = await self._open()
                    try:
                        if begins:
                            await self._warm(reader)
                        await self._follow(reader, backoff)
                    finally:
                        self._reads = False
                        await to_its_end(reader.close())
                except LogError as error:
                    self._is_down(str(error))
                    await asyncio.sleep(backoff.next_wait())
        finally:
            watching.cancel()
            await asyncio.wait({watching})

    async def _open(self) -> Reader:
        """Read from where the ring ends; what is missing since then is told to everyone. Raises LogError."""
        log, live = self._log, self._live
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                (topic,) = await log.create_topics([EVENTS_TOPIC])
                if live.ring is None:
                    warm = min(_WARM_EVENTS, self._ring_events)
                    live.start(await last_positions(log, EVENTS_TOPIC, warm))
                beginnings, ends = await log.beginning_offsets(EVENTS_TOPIC), await log.end_offsets(EVENTS_TOPIC)
                if self._topic_id not in ("", topic.id):  # it was made anew: no position of ours means anything in it
                    ends = {}
                positions = self._settle(beginnings, ends)
                self._topic_id = topic.id
                self._reopen = False
                reader = await log.read(positions)
        except TimeoutError:
            raise LogUnavailableError(f"the log does not answer within {_ANSWER_SECONDS:g} s") from None
        self._tried.set()
        return reader

    def _settle(self, beginnings: Offsets, ends: Offsets) -> Positions:
        """Bring the ring in line with the log as it is; returns where to read on."""
        live, held = self._live, self._positions()
        positions, gaps = check_positions(held, beginnings, ends)
        if any(gap.missing is None for gap in gaps):
            live.restart(positions, gaps)
            return positions
        live.add_partitions({partition: offset for partition, offset in positions.items() if partition not in held})
        for gap in gaps:
            live.add_gap(gap)
        return positions

    async def _warm(self, reader: Reader) -> None:
        """Take what is there at the beginning all at once: a log gives it one partition after the other, and what is
        newest would not stand at the end. Raises LogError.
        """
        found: list[Record] = []
        reached = self._positions()
        ends = await self._log.end_offsets(EVENTS_TOPIC)
        while any(offset < ends.get(partition, 0) for partition, offset in reached.items()):
            records = await reader.poll(max_records=_MAX_RECORDS, timeout=_POLL_SECONDS)
            if not records:  # there are offsets without a record
                break
            found += records
            reached |= {record.topic_partition: record.offset + 1 for record in records}
        if found:
            await self._take(found)

    async def _follow(self, reader: Reader, backoff: Backoff) -> None:
        # A poll that fills half the ring could push out what the readers have not been offered yet.
        most = max(1, min(_MAX_RECORDS, self._ring_events // 2))
        while not self._reopen:
            records = await reader.poll(max_records=most, timeout=_POLL_SECONDS)
            if not self._reads:  # what answers otherwise may be unreadable: damaged, or forbidden
                self._reads = True
                backoff.reset()
                self._is_up()
            if records:
                self._is_up()
                await self._take(records)

    async def _take(self, records: Sequence[Record]) -> None:
        held = self._positions()
        firsts: dict[TopicPartition, int] = {}
        for record in records:
            firsts.setdefault(record.topic_partition, record.offset)
        earlier = {partition: offset for partition, offset in firsts.items() if offset < held[partition]}
        if earlier:
            gaps = [Gap(part, held[part], offset, None, "log restarted") for part, offset in earlier.items()]
            self._live.restart({**held, **earlier}, gaps)
        if any(offset > held[partition] for partition, offset in firsts.items()):
            beginnings = await self._log.beginning_offsets(EVENTS_TOPIC)
            for partition, offset in firsts.items():
                start, end = held[partition], min(offset, beginnings.get(partition, 0))
                if end > start:
                    self._live.add_gap(Gap(partition, start, end, end - start, "expired"))
        for some in _turns(by_time(records)):
            self._live.append(some)
            await self._live.sent()

    def _positions(self) -> Positions:
        ring = self._live.ring
        return dict(ring.positions) if ring is not None else {}

    async def _watch(self) -> None:
        """Look at the topic now and then: reading alone does not tell silence from an outage on every log."""
        while True:
            await asyncio.sleep(self._watch_every)
            held = self._positions()
            if not held:
                continue
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    ends = await self._log.end_offsets(EVENTS_TOPIC)
            except TimeoutError:
                self._is_down("the log does not answer")
            except LogError as error:
                self._is_down(str(error))
            else:
                if self._reads:
                    self._is_up()
                self._reopen = self._reopen or is_another(held, ends)

    def _is_down(self, reason: str) -> None:
        if not self.outage:
            self._diagnostics.warning("the log cannot be read", reason=reason)
        self.outage = reason or "the log cannot be read"
        self._tried.set()

    def _is_up(self) -> None:
        if self.outage:
            self._diagnostics.info("the log can be read again")
        self.outage = ""
        self._tried.set()


def _turns(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """The records in parts: between them everybody has a turn, or the ring would run away from whoever catches up."""
    start = size = 0
    for end, record in enumerate(records, 1):
        size += len(record.value)
        if size >= _TURN_BYTES or end == len(records):
            yield records[start:end]
            start, size = end, 0
