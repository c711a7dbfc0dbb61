"""The fan-out: each record that the tail reads goes to every reader who stands at the end of the log.

A frame is made once an event, readers with equal filters share what matching costs, and what a reader is behind by goes
out in one write. Nobody waits for a slow reader: it is written to only while its socket takes it, catches up from the
ring when the socket takes more, and is sent back to the log when the ring has moved past it.
"""

import asyncio
from collections.abc import Sequence
from itertools import compress
from typing import NamedTuple

import structlog

from snowbus.bus.cursor import RunningCursor, decode_cursor
from snowbus.bus.event import Record, TopicPartition
from snowbus.bus.filters import Filter
from snowbus.bus.log.interface import Offsets
from snowbus.bus.metrics import Metrics
from snowbus.bus.start import Gap

from .frames import Reading, body_of, event_frame, gap_frame, message_frame
from .ring import Entry, Ring, Seat
from .wire import GatewayConnection

logger = structlog.get_logger(__name__)

MAX_WRITE_BYTES = 131_072
_MAX_SCAN = 1_000
_MAX_SHARED_CHUNKS = 64
_WANTED, _UNKNOWN = b"\1", 2  # verdicts are 0, 1 or not known


class LiveReader:
    """A reader who follows the ring; `cursor` is where it stands.

    While it has had more of some partitions than the ring had at its place (they are `ahead`), its cursors are its
    `own`; from then on they are the ring's, and with them the frames.
    """

    def __init__(self, connection: GatewayConnection, channel: "_Channel", seat: Seat) -> None:
        own = RunningCursor(seat.positions)
        self.connection = connection
        self.channel = channel
        self.sequence = seat.sequence
        self.cursor = own.text
        self.own = own if seat.ahead else None
        self.ahead = seat.ahead
        self.fell_behind: asyncio.Future[dict[TopicPartition, int]] = connection.loop.create_future()
        """Done when the ring has moved past it, with the positions where it stands."""


class _Chunk(NamedTuple):
    data: bytes
    events: int
    sequence: int
    cursor: bytes


class _Channel:
    """What one filter wants of the ring; shared by all readers with that filter."""

    def __init__(self, wanted: Filter, capacity: int) -> None:
        self.filter = wanted
        self.readers = 0
        self.reset(capacity)

    def reset(self, capacity: int) -> None:
        """Forget every verdict: the ring is another one."""
        self._capacity = capacity
        self.verdicts = bytearray([_UNKNOWN]) * capacity if self.filter else None
        """Of the entry with each sequence number, modulo the ring's capacity, when there is a filter."""

    def judge(self, sequence: int, entry: Entry) -> None:
        """Decide on one entry."""
        if self.verdicts is not None:
            self.verdicts[sequence % self._capacity] = self._verdict(entry)

    def wants(self, sequence: int, entry: Entry) -> bool:
        """Whether the filter lets an entry of the ring through."""
        return bool(self.wanted(sequence, [entry])[0])

    def wanted(self, sequence: int, entries: Sequence[Entry]) -> Sequence[int]:
        """For each of these entries, from a sequence number on, whether the filter lets it through."""
        if self.verdicts is None:
            return _WANTED * len(entries)
        start = sequence % self._capacity
        found = self.verdicts[start : start + len(entries)]
        found += self.verdicts[: len(entries) - len(found)]
        while (place := found.find(_UNKNOWN)) >= 0:
            found[place] = self._verdict(entries[place])
            self.verdicts[(start + place) % self._capacity] = found[place]
        return found

    def _verdict(self, entry: Entry) -> bool:
        if entry.record is None:
            return True
        reading = entry.reading or Reading(entry.record)
        return self.filter.check(reading.candidate)


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
        self._channels: dict[Filter, _Channel] = {}
        self._chunks: dict[tuple[_Channel, int], _Chunk] = {}
        self._flush_is_due = False

    # What the readers do

    def join(self, connection: GatewayConnection, wanted: Filter, positions: Offsets) -> LiveReader | None:
        """Follow the ring from `positions` on, without hole or repeat; None when the ring begins after them."""
        seat = self.ring.seat(positions) if self.ring else None
        if seat is None or self.ring is None:
            return None
        channel = self._channels.get(wanted)
        if channel is None:
            channel = self._channels[wanted] = _Channel(wanted, self.ring.capacity)
        channel.readers += 1
        reader = LiveReader(connection, channel, seat)
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
            self._channels.pop(reader.channel.filter, None)

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
        self._chunks.clear()
        for channel in self._channels.values():
            channel.reset(ring.capacity)
        for reader in readers:
            reader.sequence, reader.cursor, reader.own, reader.ahead = ring.end, ring.cursor.text, None, {}
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

    def _catch_up(self, reader: LiveReader) -> None:
        self._send([reader])

    def _send(self, readers: Sequence[LiveReader]) -> None:
        end, chunks = self._started().end, self._chunks
        sent = 0
        for reader in readers:
            if reader.sequence >= end or not reader.connection.is_writable:
                continue
            chunk = chunks.get((reader.channel, reader.sequence)) if reader.own is None else None
            if chunk is None and (chunk := self._next_chunk(reader)) is None:
                continue
            data, events, reader.sequence, reader.cursor = chunk
            if data:
                reader.connection.deliver(data)
                sent += events
            if reader.sequence < end and not self._flush_is_due:
                self._flush_is_due = True
                self._loop.call_soon(self._flush_again)
        if sent:
            self._sent_events.inc(sent)

    def _flush_again(self) -> None:
        if self._flush_is_due:
            self._flush()

    def _next_chunk(self, reader: LiveReader) -> _Chunk | None:
        """What comes next for this reader, and for every other with its filter at its place; None when it has left."""
        if reader.sequence < self._started().oldest:
            self.leave(reader)
            reader.fell_behind.set_result(decode_cursor(reader.cursor.decode()))
            return None
        try:
            if reader.own is not None:
                return self._own_chunk(reader, reader.own)
            chunk = self._make_chunk(reader.channel, reader.sequence)
        except Exception:
            logger.exception("a reader's messages could not be made")
            self.leave(reader)
            reader.connection.give_up("internal error")
            return None
        if len(self._chunks) >= _MAX_SHARED_CHUNKS:
            self._chunks.clear()
        self._chunks[reader.channel, reader.sequence] = chunk
        return chunk

    def _make_chunk(self, channel: _Channel, sequence: int) -> _Chunk:
        frames: list[bytes] = []
        size = 0
        entries = self._started().read(sequence, _MAX_SCAN)
        end, last = sequence + len(entries), entries[-1]
        wanted = channel.wanted(sequence, entries)
        for after, entry in compress(enumerate(entries, sequence + 1), wanted):
            frame = entry.frame or self._make_frame(entry)
            size += len(frame)
            frames.append(frame)
            if size >= MAX_WRITE_BYTES:
                end, last = after, entry
                break
        return _Chunk(b"".join(frames), len(frames), end, last.cursor)

    def _own_chunk(self, reader: LiveReader, own: RunningCursor) -> _Chunk:
        """What comes next for a reader who has had more of some partitions than the others at this place."""
        frames: list[bytes] = []
        size = 0
        sequence, cursor = reader.sequence, reader.cursor
        for entry in self._started().read(sequence, _MAX_SCAN):
            skipped_before = reader.ahead.get(entry.partition, 0)
            if entry.offset + 1 >= skipped_before:
                reader.ahead.pop(entry.partition, None)
            if entry.offset >= skipped_before:
                cursor = own.advance(entry.partition, entry.offset + 1)
                if reader.channel.wants(sequence, entry):
                    body = body_of(entry.frame or self._make_frame(entry), entry.kind, entry.cursor)
                    frames.append(message_frame(entry.kind, cursor, body))
                    size += len(body)
            sequence += 1
            if not reader.ahead:
                reader.own = None
                cursor = entry.cursor
                break
            if size >= MAX_WRITE_BYTES:
                break
        return _Chunk(b"".join(frames), len(frames), sequence, cursor)

    def _make_frame(self, entry: Entry) -> bytes:
        record = entry.record
        if record is None:  # a gap is made with its frame
            return entry.frame or b""
        reading = entry.reading or Reading(record)
        frame = event_frame(entry.cursor, reading.body())
        self._started().keep(entry, frame)
        return frame

    def _started(self) -> Ring:
        if self.ring is None:
            raise RuntimeError("the ring has not been started")
        return self.ring
