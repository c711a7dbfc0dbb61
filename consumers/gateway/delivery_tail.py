"""Follows the topic of deliveries for all readers, and what the groups that report there commit."""

import asyncio
from collections.abc import Sequence

from snowbus.bus.backoff import Backoff
from snowbus.bus.diagnostics import Diagnostics
from snowbus.bus.errors import LogError, LogUnavailableError, TopicNotFoundError
from snowbus.bus.event import DELIVERIES_TOPIC, Record, TopicPartition
from snowbus.bus.log.interface import Log, Reader
from snowbus.bus.start import Positions, check_positions, is_another, last_positions
from snowbus.bus.tasks import to_its_end

from ..receipts import Report, read_report
from .deliveries import Deliveries
from .live import Live

logger = Diagnostics(__name__)

_WARM_REPORTS = 2_000
_MAX_REPORTS = 50  # of up to a megabyte each
_POLL_SECONDS = 0.02  # on an embedded log every append wakes whoever polls
_PACE_SECONDS = 0.2
_ABSENT_SECONDS = 1.0
_ANSWER_SECONDS = 10.0
_RECEIPTS_SECONDS = 1.0


class DeliveryTail:
    """Reads reports, from the latest 2,000 on, into the deliveries, whether anybody listens or not.

    The topic need not be there. `look_every` is in seconds: how often it is asked what the groups have committed, and
    whether the topic is another one or has got partitions. That the log is away is said by the tail of the events.
    """

    def __init__(self, log: Log, deliveries: Deliveries, live: Live, *, look_every: float) -> None:
        self._log = log
        self._deliveries = deliveries
        self._live = live
        self._restarts = live.restarts
        self._look_every = look_every
        self._positions: Positions | None = None
        self._reopen = False
        self._begun = asyncio.Event()

    async def run(self) -> None:
        """Follow the log until cancelled; while it is away, try on."""
        looking = asyncio.create_task(self._look(), name="snowbus-gateway-commits")
        backoff = Backoff(0.2, maximum=5.0)
        try:
            while True:
                try:
                    reader, ends = await self._open()
                    try:
                        backoff.reset()
                        await self._follow(reader, ends)
                    finally:
                        await to_its_end(reader.close())
                except TopicNotFoundError:
                    self._positions = None
                    self._begin()
                    await asyncio.sleep(min(_ABSENT_SECONDS, self._look_every))
                except LogError as error:
                    logger.debug("the deliveries cannot be read", reason=str(error))
                    await asyncio.sleep(backoff.next_wait())
        finally:
            looking.cancel()
            await asyncio.wait({looking})

    async def _open(self) -> tuple[Reader, Positions]:
        """Read on from where we are, or from the latest reports; also returns where the topic ends now."""
        log = self._log
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                beginnings = await log.beginning_offsets(DELIVERIES_TOPIC)
                ends = await log.end_offsets(DELIVERIES_TOPIC)
                if self._positions is None:
                    self._positions = await last_positions(log, DELIVERIES_TOPIC, _WARM_REPORTS)
                self._positions, gaps = check_positions(self._positions, beginnings, ends)
                if any(gap.missing is None for gap in gaps):
                    self._deliveries.restart()
                self._reopen = False
                return await log.read(self._positions), ends
        except TimeoutError:
            raise LogUnavailableError(f"the log does not answer within {_ANSWER_SECONDS:g} s") from None

    async def _follow(self, reader: Reader, ends: Positions) -> None:
        while not self._reopen:
            records = await reader.poll(max_records=_MAX_REPORTS, timeout=_POLL_SECONDS)
            self._follow_restarts()
            self._take(records)
            if all(reader.position(partition) >= end for partition, end in ends.items()):
                self._begin()
            self._deliveries.flush()
            # What comes within a moment goes out in one write.
            await asyncio.sleep(0 if len(records) == _MAX_REPORTS else _PACE_SECONDS)

    def _take(self, records: Sequence[Record]) -> None:
        reports: list[Report] = []
        held: dict[TopicPartition, int] = self._positions or {}
        for record in records:
            partition = record.topic_partition
            if record.offset < held.get(partition, 0):
                self._deliveries.restart()
                reports.clear()
            held[partition] = record.offset + 1
            if report := read_report(record):
                reports.append(report)
        self._deliveries.take(reports)

    def _follow_restarts(self) -> None:
        """When the events began anew, what was told is about others."""
        if self._restarts != self._live.restarts:
            self._restarts = self._live.restarts
            self._deliveries.restart()

    async def _look(self) -> None:
        """Ask now and then what is committed: receipts get lost when a consumer is killed, commits do not."""
        await self._begun.wait()
        wait = 0.0
        while True:
            try:
                async with asyncio.timeout(_ANSWER_SECONDS + wait):
                    await self._look_once(wait)
            except (LogError, TimeoutError) as error:
                logger.debug("it cannot be told what is committed", reason=str(error) or "no answer in time")
            await asyncio.sleep(self._look_every)
            wait = min(_RECEIPTS_SECONDS, self._look_every)

    async def _look_once(self, wait: float) -> None:
        groups = list(self._deliveries.store.groups)
        committed = [await self._log.group_offsets(group) for group in groups]
        if groups:
            ends = await self._log.end_offsets(DELIVERIES_TOPIC)
            self._reopen = is_another(self._positions or {}, ends)
        await asyncio.sleep(wait)  # the receipts of what is committed come first
        reached = self._live.ring.positions if self._live.ring else {}
        for group, offsets in zip(groups, committed, strict=True):
            # What lies beyond the end was committed on an earlier log.
            done = {place: each.offset for place, each in offsets.items() if each.offset <= reached.get(place, 0)}
            self._deliveries.commit(group, done)

    def _begin(self) -> None:
        self._deliveries.begin()
        self._begun.set()
