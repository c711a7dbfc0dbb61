"""The fan-out: each record that the tail reads goes to every reader who stands at the end of the log.

A frame is made once an event, readers with equal filters share what matching costs, and what a reader is behind by goes
out in one write. Nobody waits for a slow reader: it is written to only while its socket takes it, catches up from the
ring when the socket takes more, and is sent back to the log when the ring has moved past it; unless it would rather
skip (`skipping.py`), or be closed.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import structlog
from websockets.frames import CloseCode

from snowbus.bus.cursor import RunningCursor, decode_cursor
from snowbus.bus.event import Record, TopicPartition
from snowbus.bus.filters import Filter
from snowbus.bus.log.interface import Offsets
from snowbus.bus.metrics import Metrics
from snowbus.bus.start import Gap

from .channel import Channel
from .deflate import Context
from .flow import Flow
from .frames import Reading, body_of, event_frame, gap_frame, message_frame
from .masking import Mask
from .ring import Entry, Ring, Seat
from .skipping import KEPT_EVENTS, SLOW_SECONDS, newest, sample, skipped_frames
from .subscription import Policy
from .wire import GatewayConnection

logger = structlog.get_logger(__name__)

MAX_WRITE_BYTES = 131_072
_MAX_SCAN = 1_000
_MAX_SHARED_CHUNKS = 64


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
        self.deflates = connection.deflates
        self.context: Context | None = None
        """What it was sent compressed last, when it takes that."""
        self.sequence = seat.sequence
        self.cursor = own.text
        self.own = own if seat.ahead else None
        self.ahead = seat.ahead
        self.gone: asyncio.Future[dict[TopicPartition, int]] = connection.loop.create_future()
        """Done with the positions where it stands, when the ring has moved past it, or when it is sent away."""


class _Chunk(NamedTuple):
    frames: list[bytes]
    data: bytes
    events: list[TopicPartition]  # the partition of each
    sequence: int
    cursor: bytes
    context: Context | None = None


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
        self._channels: dict[tuple[Filter, Mask | None], Channel] = {}
        self._chunks: dict[tuple[Channel, int], _Chunk] = {}
        self._deflated: dict[tuple[Channel, int, Context | None], _Chunk] = {}
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
        channel = self._channels.get((wanted, mask))
        if channel is None:
            channel = self._channels[wanted, mask] = Channel(wanted, mask, self.ring.capacity)
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
            self._channels.pop((reader.channel.filter, reader.channel.mask), None)

    def send_away(self, reader: LiveReader) -> None:
        """Let a reader follow no more, and tell it where it stands."""
        if reader in self._readers:
            self.leave(reader)
            reader.gone.set_result(decode_cursor(reader.cursor.decode()))

    def go_on(self, reader: LiveReader) -> None:
        """Send what there is for a reader who may be sent more than before."""
        if reader in self._readers:
            self._catch_up(reader)

    # What the tail does

    def start(self, positions: Offsets) -> None:
        """Begin with an empty ring at these positions."""
        self.ring = Ring(positions, max_entries=self._max_entries, max_bytes=self._max_bytes)

    def add_partitions(self, positions: Offsets) -> None:
        """Take partitions that the topic has got, and where they are read from."""
        self._started().add_partitions(positions)

    def append(self, records: Sequence[Record]) -> None:
        """Take the next records from the log and send them."""
        ring = self._started()
        fresh = []
        for record in records:
            sequence = ring.end
            entry = ring.append(record)
            if self._channels:
                entry.reading = Reading(record)
                fresh.append(entry)
                for channel in self._channels.values():
                    channel.judge(sequence, entry)
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
        self._clear_chunks()
        for channel in self._channels.values():
            channel.reset(ring.capacity)
        for reader in readers:
            reader.sequence, reader.cursor, reader.own, reader.ahead = ring.end, ring.cursor.text, None, {}
            reader.had = reader.context = None
            if reader.connection.is_open:
                frames = [gap_frame(reader.cursor, gap) for gap in gaps]
                reader.connection.deliver(b"".join(frames))
        self._sent_gaps.inc(len(readers) * len(gaps))

    # Sending

    def _flush(self) -> None:
        """Send everyone whose socket takes it the next of what they are behind by."""
        self._flush_is_due = False
        self._clear_chunks()
        events = 0
        for reader in tuple(self._readers):
            events += self._send_next(reader)
        if events:
            self._sent_events.inc(events)

    def _catch_up(self, reader: LiveReader) -> None:
        if events := self._send_next(reader):
            self._sent_events.inc(events)

    def _send_next(self, reader: LiveReader) -> int:
        ring = self._started()
        limit = reader.flow.limit
        if reader.sequence >= ring.end or limit == 0:
            return 0
        if not reader.connection.is_writable:
            self._is_behind(reader)
            return 0
        skipped = self._to_skip(reader)
        if not skipped and reader.sequence < ring.oldest:
            self.send_away(reader)
            return 0
        try:
            chunk = self._skipping_chunk(reader, skipped, limit) if skipped else self._next_chunk(reader, limit)
        except Exception:
            logger.exception("a reader's messages could not be made")
            self.leave(reader)
            reader.connection.give_up("internal error")
            return 0
        reader.sequence, reader.cursor, reader.context = chunk.sequence, chunk.cursor, chunk.context
        reader.flow.spend(len(chunk.events))
        if reader.had is not None:
            reader.had = None if chunk.sequence >= ring.end else reader.had + Counter(chunk.events)
        if chunk.data:
            reader.connection.deliver(chunk.data)
        if chunk.sequence < ring.end and not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self._flush_again)
        return len(chunk.events)

    def _is_behind(self, reader: LiveReader) -> None:
        """There is something for a reader whose socket takes nothing."""
        ring = self._started()
        if reader.policy in ("sample", "latest") and reader.had is None and reader.own is None:
            if reader.sequence >= ring.oldest:
                reader.had = reader.channel.count(ring, reader.sequence)
                reader.behind_since = self._loop.time()
        elif reader.policy == "disconnect" and reader.sequence < ring.oldest:
            self.leave(reader)
            reader.connection.give_up("too slow", code=CloseCode.POLICY_VIOLATION)

    def _to_skip(self, reader: LiveReader) -> Counter[TopicPartition] | None:
        """How many events a reader has not had who is slow and would rather skip, by partition; else None."""
        is_passed = reader.sequence < self._started().oldest
        if reader.had is None or not (is_passed or self._loop.time() - reader.behind_since > SLOW_SECONDS):
            return None
        owed = reader.channel.owed(reader.had)
        return owed if owed.total() > KEPT_EVENTS else None

    def _next_chunk(self, reader: LiveReader, limit: int | None) -> _Chunk:
        if reader.own is None and limit is None:
            return self._deflated_chunk(reader) if reader.deflates else self._shared_chunk(reader)
        if reader.own is not None:
            chunk = self._own_chunk(reader, reader.own, limit)
        else:
            chunk = self._make_chunk(reader.channel, reader.sequence, limit)
        return chunk._replace(data=Context().deflate(chunk.frames)) if reader.deflates else chunk

    def _skipping_chunk(self, reader: LiveReader, owed: Counter[TopicPartition], limit: int | None) -> _Chunk:
        """What comes next for a reader who skips: `owed` is what it has not had."""
        most = min(KEPT_EVENTS, limit or KEPT_EVENTS)
        ring, channel = self._started(), reader.channel
        if reader.policy == "latest":
            sequence = newest(ring, channel, most)
            cursor = ring.cursor_at(sequence)
            gaps = skipped_frames(reader.cursor, cursor, owed - channel.wanted(ring, sequence))
            reader.had = None
            return _Chunk(gaps, b"".join(gaps), [], sequence, cursor)
        frames: list[bytes] = []
        sampled: list[TopicPartition] = []
        size = 0
        for entry in sample(ring, channel, reader.sequence, most):
            frames.append(self._frame(entry, channel.mask))
            sampled.append(entry.partition)
            size += len(frames[-1])
            if size >= MAX_WRITE_BYTES:
                break
        cursor = ring.cursor.text
        frames += skipped_frames(reader.cursor, cursor, owed - Counter(sampled))
        return _Chunk(frames, b"".join(frames), sampled, ring.end, cursor)

    def _flush_again(self) -> None:
        if self._flush_is_due:
            self._flush()

    def _shared_chunk(self, reader: LiveReader) -> _Chunk:
        """What comes next for every reader with this filter at this place."""
        key = (reader.channel, reader.sequence)
        chunk = self._chunks.get(key)
        if chunk is None:
            if len(self._chunks) >= _MAX_SHARED_CHUNKS:
                self._clear_chunks()
            chunk = self._chunks[key] = self._make_chunk(reader.channel, reader.sequence)
        return chunk

    def _deflated_chunk(self, reader: LiveReader) -> _Chunk:
        """What comes next, compressed, for every reader with this filter at this place: those who were sent the same
        before go on with their compressor.
        """
        channel, sequence, context = reader.channel, reader.sequence, reader.context
        chunk = self._deflated.get((channel, sequence, context))
        if chunk is None and (context is not channel.context or context is None or context.sequence != sequence):
            context = None
            chunk = self._deflated.get((channel, sequence, None))
        if chunk is None:
            chunk = self._deflated[channel, sequence, context] = self._deflate(
                self._shared_chunk(reader), channel, context
            )
        return chunk

    def _deflate(self, chunk: _Chunk, channel: Channel, context: Context | None) -> _Chunk:
        used = context or Context()
        data = used.deflate(chunk.frames)
        used.sequence = chunk.sequence
        if context is None and chunk.sequence == self._started().end:
            # Others are at the end with another one: from there on, all begin anew, together.
            channel.context = used if channel.context is None else None
        return chunk._replace(data=data, context=used)

    def _clear_chunks(self) -> None:
        self._chunks.clear()
        self._deflated.clear()

    def _make_chunk(self, channel: Channel, sequence: int, limit: int | None = None) -> _Chunk:
        frames: list[bytes] = []
        events: list[TopicPartition] = []
        size = 0
        cursor = b""
        for entry in self._started().read(sequence, _MAX_SCAN):
            if channel.wants(sequence, entry):
                frame = self._frame(entry, channel.mask)
                size += len(frame)
                frames.append(frame)
                if entry.record is not None:
                    events.append(entry.partition)
            sequence += 1
            cursor = entry.cursor
            if size >= MAX_WRITE_BYTES or len(events) == limit:
                break
        return _Chunk(frames, b"".join(frames), events, sequence, cursor)

    def _own_chunk(self, reader: LiveReader, own: RunningCursor, limit: int | None) -> _Chunk:
        """What comes next for a reader who has had more of some partitions than the others at this place."""
        frames: list[bytes] = []
        events: list[TopicPartition] = []
        size = 0
        sequence, cursor = reader.sequence, reader.cursor
        for entry in self._started().read(sequence, _MAX_SCAN):
            skipped_before = reader.ahead.get(entry.partition, 0)
            if entry.offset + 1 >= skipped_before:
                reader.ahead.pop(entry.partition, None)
            if entry.offset >= skipped_before:
                cursor = own.advance(entry.partition, entry.offset + 1)
                if reader.channel.wants(sequence, entry):
                    body = body_of(self._frame(entry, reader.channel.mask), entry.kind, entry.cursor)
                    frames.append(message_frame(entry.kind, cursor, body))
                    size += len(body)
                    if entry.record is not None:
                        events.append(entry.partition)
            sequence += 1
            if not reader.ahead:
                reader.own = None
                cursor = entry.cursor
                break
            if size >= MAX_WRITE_BYTES or len(events) == limit:
                break
        return _Chunk(frames, b"".join(frames), events, sequence, cursor)

    def _frame(self, entry: Entry, mask: Mask | None) -> bytes:
        """The frame of an entry, made once for all readers, and once for all who share the mask."""
        record = entry.record
        if record is None:  # a gap is made with its frame
            return entry.frame or b""
        made = entry.frame if mask is None else entry.masked_frame
        if made is not None:
            return made
        reading = entry.reading or Reading(record)
        frame = event_frame(entry.cursor, reading.body(mask))
        self._started().keep(entry, frame, masked=mask is not None)
        return frame

    def _started(self) -> Ring:
        if self.ring is None:
            raise RuntimeError("the ring has not been started")
        return self.ring
