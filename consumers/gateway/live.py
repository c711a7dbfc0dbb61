"""The fan-out: each record that the tail reads goes to every reader who stands at the end of the log.

A frame is made once an event, readers with equal filters share what matching costs, and what a reader is behind by goes
out in one write. Nobody waits for a slow reader: it is written to only while its socket takes it, catches up from the
ring when the socket takes more, and is sent back to the log when the ring has moved past it; unless it would rather
skip (`skipping.py`), or be closed.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence

import structlog
from websockets.frames import CloseCode

from snowbus.bus.cursor import RunningCursor, decode_cursor
from snowbus.bus.event import Record, TopicPartition
from snowbus.bus.filters import Filter
from snowbus.bus.log.interface import Offsets
from snowbus.bus.metrics import Metrics
from snowbus.bus.start import Gap

from .channel import Channel
from .chunks import Chunk, Chunks
from .deflate import Context
from .flow import Flow
from .frames import Reading, gap_frame
from .masking import Mask
from .ring import Ring, Seat
from .skipping import KEPT_EVENTS, SLOW_SECONDS
from .subscription import Policy
from .wire import GatewayConnection

logger = structlog.get_logger(__name__)


class LiveReader:
    """A reader who follows the ring; `cursor` is where it stands.

    While it has had more of some partitions than the ring had at its place (they are `ahead`), its cursors are its
    `own`; from then on they are the ring's, and with them the frames.
    """

    def __init__(
        self, connection: GatewayConnection, channel: Channel, seat: Seat, *, policy: Policy, flow: Flow
    ) -> None:
        own = RunningCursor(seat.positions)
        self.connection = connection
        self.channel = channel
        self.policy = policy
        self.flow = flow
        self.had: Counter[TopicPartition] | None = None
        """While it is behind and would rather skip: how many events it has had, as its channel counts."""
        self.behind_since = 0.0
        self.context: Context | None = None
        """What it was sent compressed last, when it takes that."""
        self.sequence = seat.sequence
        self.cursor = own.text
        self.own = own if seat.ahead else None
        self.ahead = seat.ahead
        self.is_special = True
        """Whether what it is sent next may be something else than what the others at its place are sent."""
        self.look()
        self.gone: asyncio.Future[dict[TopicPartition, int]] = connection.loop.create_future()
        """Done with the positions where it stands, when the ring has moved past it, or when it is sent away."""

    def look(self) -> None:
        """See anew whether it is special."""
        self.is_special = self.own is not None or self.flow.limit is not None or self.had is not None


class Live:
    """The ring, and everyone who follows it. It has no ring until `start`: until the tail knows where the log ends."""

    def __init__(self, *, max_entries: int, max_bytes: int, metrics: Metrics) -> None:
        self.ring: Ring | None = None
        self.restarts = 0
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._sent_events = metrics.gateway_messages.labels("event")
        self._sent_gaps = metrics.gateway_messages.labels("gap")
        self._loop = asyncio.get_running_loop()
        self._readers: dict[LiveReader, None] = {}
        self._channels: dict[tuple[Filter, Mask | None, bool], Channel] = {}
        self._chunks = Chunks(Ring({}, max_entries=1, max_bytes=1))
        self._flush_is_due = False

    # What the readers do

    def join(
        self,
        connection: GatewayConnection,
        wanted: Filter,
        positions: Offsets,
        *,
        mask: Mask | None = None,
        policy: Policy = "pause",
        flow: Flow | None = None,
    ) -> LiveReader | None:
        """Follow the ring from `positions` on, without hole or repeat; None when the ring begins after them."""
        seat = self.ring.seat(positions) if self.ring else None
        if seat is None or self.ring is None:
            return None
        key = (wanted, mask, connection.deflates)
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = Channel(wanted, mask, self.ring.capacity, deflates=connection.deflates)
        channel.readers += 1
        reader = LiveReader(connection, channel, seat, policy=policy, flow=flow or Flow())
        self._readers[reader] = None
        connection.on_writable = lambda: self._catch_up(reader)
        self._catch_up(reader)
        return reader

    def leave(self, reader: LiveReader) -> None:
        """Follow no more."""
        if reader not in self._readers:
            return
        del self._readers[reader]
        reader.connection.on_writable = None
        reader.channel.readers -= 1
        if not reader.channel.readers:
            self._channels.pop((reader.channel.filter, reader.channel.mask, reader.channel.deflates), None)

    def send_away(self, reader: LiveReader) -> None:
        """Let a reader follow no more, and tell it where it stands."""
        if reader in self._readers:
            self.leave(reader)
            reader.gone.set_result(decode_cursor(reader.cursor.decode()))

    def go_on(self, reader: LiveReader) -> None:
        """Send what there is for a reader who may be sent more than before."""
        if reader in self._readers:
            reader.look()
            self._catch_up(reader)

    # What the tail does

    def start(self, positions: Offsets) -> None:
        """Begin with an empty ring at these positions."""
        self.ring = Ring(positions, max_entries=self._max_entries, max_bytes=self._max_bytes)
        self._chunks = Chunks(self.ring)

    def add_partitions(self, positions: Offsets) -> None:
        """Take partitions that the topic has got, and where they are read from."""
        self._started().add_partitions(positions)

    def append(self, records: Sequence[Record]) -> None:
        """Take the next records from the log and send them."""
        ring = self._started()
        fresh = []
        counting = [channel for channel in self._channels.values() if channel.is_counting]
        judging = [
            (channel.verdicts, channel.filter.check)
            for channel in self._channels.values()
            if channel.verdicts is not None
        ]
        for record in records:
            place = ring.end % ring.capacity
            entry = ring.append(record)
            if self._channels:
                entry.reading = Reading(record)
                fresh.append(entry)
            if judging and entry.reading:
                candidate = entry.reading.candidate
                for verdicts, check in judging:
                    verdicts[place] = check(candidate)
            for channel in counting:
                channel.count(ring.end - 1, entry)
        self._flush()
        for entry in fresh:
            entry.reading = None

    def add_gap(self, gap: Gap) -> None:
        """Say, at this place in the stream, that records are missing."""
        ring = self._started()
        sequence = ring.end
        cursor = RunningCursor(ring.positions).advance(gap.partition, gap.end)
        entry = ring.append_gap(gap.partition, gap.end, gap_frame(cursor, gap))
        for channel in self._channels.values():
            channel.judge(sequence, entry)
        self._flush()

    def restart(self, positions: Offsets, gaps: Sequence[Gap]) -> None:
        """Begin anew, since the log did; every reader is told."""
        readers = list(self._readers)
        self.restarts += 1
        self.start(positions)
        ring = self._started()
        for channel in self._channels.values():
            channel.reset(ring.capacity)
        for reader in readers:
            reader.sequence, reader.cursor, reader.own, reader.ahead = ring.end, ring.cursor.text, None, {}
            reader.had = reader.context = None
            reader.look()
            if reader.connection.is_open:
                frames = [gap_frame(reader.cursor, gap) for gap in gaps]
                reader.connection.deliver(b"".join(frames))
        self._sent_gaps.inc(len(readers) * len(gaps))

    # Sending

    def _flush(self) -> None:
        """Send everyone whose socket takes it the next of what they are behind by."""
        self._flush_is_due = False
        self._chunks.clear()
        self._send(tuple(self._readers))

    def _flush_again(self) -> None:
        if self._flush_is_due:
            self._flush()

    def _catch_up(self, reader: LiveReader) -> None:
        self._send([reader])

    def _send(self, readers: Sequence[LiveReader]) -> None:
        end, shared = self._started().end, self._chunks.shared
        sent = 0
        for reader in readers:
            if reader.sequence >= end:
                continue
            if not reader.connection.is_writable:
                if reader.policy != "pause":
                    self._falls_behind(reader)
                continue
            special = reader.is_special
            chunk = None if special else shared.get((reader.channel, reader.sequence, reader.context))
            if chunk is None and (chunk := self._next_chunk(reader)) is None:
                continue
            _, data, events, reader.sequence, reader.cursor, reader.context = chunk
            if special:
                self._account(reader, chunk)
            if data:
                reader.connection.deliver(data)
                sent += len(events)
            if reader.sequence < end and not self._flush_is_due:
                self._flush_is_due = True
                self._loop.call_soon(self._flush_again)
        if sent:
            self._sent_events.inc(sent)

    def _next_chunk(self, reader: LiveReader) -> Chunk | None:
        """What comes next for this reader; None when there is nothing for now, or when it has left."""
        limit = reader.flow.limit
        if limit == 0:
            return None
        skipped = self._to_skip(reader)
        if not skipped and reader.sequence < self._started().oldest:
            self.send_away(reader)
            return None
        try:
            if not reader.is_special:
                return self._chunks.next(reader.channel, reader.sequence, reader.context)
            chunk = self._special_chunk(reader, skipped, limit)
            return chunk._replace(data=Context().deflate(chunk.frames)) if reader.channel.deflates else chunk
        except Exception:
            logger.exception("a reader's messages could not be made")
            self.leave(reader)
            reader.connection.give_up("internal error")
            return None

    def _special_chunk(self, reader: LiveReader, skipped: Counter[TopicPartition] | None, limit: int | None) -> Chunk:
        chunks, channel, sequence = self._chunks, reader.channel, reader.sequence
        if skipped:
            most = min(KEPT_EVENTS, limit or KEPT_EVENTS)
            if reader.policy == "sample":
                return chunks.sample(channel, sequence, reader.cursor, skipped, most)
            reader.had = None
            return chunks.newest(channel, reader.cursor, skipped, most)
        if reader.own is None:
            return chunks.some(channel, sequence, limit)
        chunk = chunks.own(channel, sequence, limit, reader.own, reader.ahead)
        if not reader.ahead:
            reader.own = None
        return chunk

    def _account(self, reader: LiveReader, chunk: Chunk) -> None:
        """Take down what a special reader is sent."""
        reader.flow.spend(len(chunk.events))
        if reader.had is not None:
            reader.had = None if chunk.sequence >= self._started().end else reader.had + Counter(chunk.events)
        reader.look()

    def _falls_behind(self, reader: LiveReader) -> None:
        """There is something for a reader whose socket takes nothing, and who would not wait for ever."""
        ring = self._started()
        if reader.flow.limit == 0:
            return
        if reader.policy == "disconnect":
            if reader.sequence < ring.oldest:
                self.leave(reader)
                reader.connection.give_up("too slow", code=CloseCode.POLICY_VIOLATION)
        elif reader.had is None and reader.own is None and reader.sequence >= ring.oldest:
            reader.had = reader.channel.count_before(ring, reader.sequence)
            reader.behind_since = self._loop.time()
            reader.look()

    def _to_skip(self, reader: LiveReader) -> Counter[TopicPartition] | None:
        """How many events a reader has not had who is slow and would rather skip, by partition; else None."""
        if reader.had is None:
            return None
        is_passed = reader.sequence < self._started().oldest
        if not is_passed and self._loop.time() - reader.behind_since <= SLOW_SECONDS:
            return None
        owed = reader.channel.owed(reader.had)
        return owed if owed.total() > KEPT_EVENTS else None

    def _started(self) -> Ring:
        if self.ring is None:
            raise RuntimeError("the ring has not been started")
        return self.ring
