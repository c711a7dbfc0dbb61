"""The fan-out: each record that the tail reads goes to every reader who stands at the end of the log.

A frame is made once an event, readers with equal filters share what matching costs, and what a reader is behind by goes
out in one write. Nobody waits for a slow reader: it is written to only while its socket takes it, catches up from the
ring when the socket takes more, and is sent back to the log when the ring has moved past it; unless it would rather
skip (`skipping.py`), or be closed.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence

from websockets.frames import CloseCode

from snowbus.bus.cursor import decode_cursor
from snowbus.bus.diagnostics import Diagnostics
from snowbus.bus.event import Record
from snowbus.bus.filter_index import FilterIndex
from snowbus.bus.filters import Filter
from snowbus.bus.log.interface import Offsets
from snowbus.bus.metrics import Metrics
from snowbus.bus.sparingly import SparingDiagnostics
from snowbus.bus.start import Gap

from ..masking import Mask
from ..reading import Reading
from ..websocket_protocol import Policy
from .channel import Channel
from .chunks import Chunk, Chunks
from .flow import Flow
from .frames import gap_frame
from .reader import LiveReader
from .ring import Ring
from .wire import GatewayConnection


class Live:
    """The ring, and everyone who follows it. It has no ring until `start`: until the tail knows where the log ends."""

    def __init__(self, *, max_entries: int, max_bytes: int, metrics: Metrics) -> None:
        self.ring: Ring | None = None
        self._diagnostics = SparingDiagnostics(Diagnostics(__name__))
        self.restarts = 0
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._sent_events = metrics.gateway_messages.labels("event")
        self._sent_gaps = metrics.gateway_messages.labels("gap")
        self._skipped = metrics.gateway_skipped
        self._observe = metrics.gateway_delivery_seconds.observe
        self._loop = asyncio.get_running_loop()
        self._channels: dict[tuple[Filter, Mask | None, bool], Channel] = {}
        self._unfiltered: dict[Channel, None] = {}
        self._index: FilterIndex[Channel] = FilterIndex()
        self._due: dict[Channel, tuple[int, bytes]] = {}
        """Where followers stand who have not been sent everything: sequence number and cursor."""
        self._behind: dict[LiveReader, None] = {}
        """The readers who do not follow their channels."""
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
        channel = self._channel(wanted, mask, connection.deflates)
        channel.readers += 1
        reader = LiveReader(connection, channel, seat, policy=policy, flow=flow or Flow())
        self._behind[reader] = None
        connection.on_writable = lambda: self._catch_up(reader)
        self._catch_up(reader)
        return reader

    def leave(self, reader: LiveReader) -> None:
        """Read the ring no more."""
        channel = reader.channel
        if not self._has(reader):
            return
        reader.cursor = self.cursor(reader)
        self._behind.pop(reader, None)
        channel.followers.pop(reader, None)
        reader.connection.on_writable = None
        channel.readers -= 1
        if not channel.readers:
            del self._channels[channel.filter, channel.mask, channel.deflates]
            self._unfiltered.pop(channel, None)
            self._index.remove(channel)
            self._due.pop(channel, None)
            self._chunks.forget(channel)

    def send_away(self, reader: LiveReader) -> None:
        """Let a reader read the ring no more, and tell it where it stands."""
        if self._has(reader):
            self.leave(reader)
            reader.gone.set_result(decode_cursor(reader.cursor.decode()))

    def go_on(self, reader: LiveReader) -> None:
        """Send what there is for a reader who may be sent more, or less, than before."""
        if self._has(reader):
            self._part(reader)
            self._catch_up(reader)

    def cursor(self, reader: LiveReader) -> bytes:
        """Where a reader stands."""
        return self._place(reader.channel)[1] if reader in reader.channel.followers else reader.cursor

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
        self._wanted_by(self._unfiltered)
        for record in records:
            sequence = ring.end
            entry = ring.append(record)
            if self._channels:
                entry.reading = Reading(record)
                fresh.append(entry)
            if self._index and entry.reading:
                for channel in self._index.matching(entry.reading.candidate):
                    channel.want(sequence)
                    self._due.setdefault(channel, (sequence, ring.cursor_at(sequence)))
            for channel in counting:
                channel.count(sequence, entry)
        self._flush()
        for entry in fresh:
            entry.reading = None
        if self._channels and records:
            self._observe(max(0.0, time.time() - min(record.timestamp for record in records) / 1000))

    async def sent(self) -> None:
        """Wait until everyone whose socket takes it has been sent what there is, and had a turn to say that it does.

        Who reads a backlog into the ring without it would push out of the ring what readers have not been offered yet,
        and each of them would read the log by itself, which costs far more.
        """
        await asyncio.sleep(0)
        while self._flush_is_due:  # noqa: ASYNC110 - it is over a turn or two of the loop later
            await asyncio.sleep(0)

    def add_gap(self, gap: Gap) -> None:
        """Say, at this place in the stream, that records are missing."""
        ring = self._started()
        self._wanted_by(self._channels.values())
        ring.append_gap(gap)
        for channel in self._channels.values():
            channel.want(ring.end - 1)
        self._flush()

    def restart(self, positions: Offsets, gaps: Sequence[Gap]) -> None:
        """Begin anew, since the log did; every reader is told."""
        self.restarts += 1
        self.start(positions)
        ring = self._started()
        self._due.clear()
        for reader in self._behind:
            reader.sequence, reader.cursor, reader.own, reader.ahead = ring.end, ring.cursor.text, None, {}
            reader.had = reader.context = None
        told = list(self._behind)
        for channel in self._channels.values():
            channel.reset(ring)
            told += channel.followers
        frames = b"".join([gap_frame(ring.cursor.text, gap) for gap in gaps])
        for reader in told:
            if reader.connection.is_open:
                reader.connection.deliver(frames)
        self._sent_gaps.inc(len(told) * len(gaps))

    def _wanted_by(self, channels: Iterable[Channel]) -> None:
        """These want the next entry of the ring."""
        ring = self._started()
        place = ring.end, ring.cursor.text
        for channel in channels:
            self._due.setdefault(channel, place)

    # Sending

    def _flush(self) -> None:
        """Send everyone whose socket takes it the next of what they are behind by."""
        self._flush_is_due = False
        self._chunks.grew()
        due, self._due = self._due, {}
        for channel, place in due.items():
            if channel.followers:
                self._send_followers(channel, *place)
        if self._behind:
            self._send(tuple(self._behind))

    def _flush_soon(self) -> None:
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self._flush_again)

    def _flush_again(self) -> None:
        if self._flush_is_due:
            self._flush()

    def _send_followers(self, channel: Channel, sequence: int, cursor: bytes) -> None:
        ring = self._started()
        self._due[channel] = sequence, cursor
        blocked = [reader for reader in channel.followers if not reader.connection.is_writable]
        for reader in blocked:
            self._part(reader)
        if sequence < ring.oldest:
            for reader in tuple(channel.followers):
                self.send_away(reader)
            return
        try:
            chunk = self._chunks.for_followers(channel, sequence)
        except Exception:  # noqa: BLE001 - it is told, with its traceback
            self._diagnostics.exception("a reader's messages could not be made")
            for reader in tuple(channel.followers):
                self._fail(reader)
            return
        if chunk.data:
            for reader in channel.followers:
                reader.connection.deliver(chunk.data)
            self._sent_events.inc(len(chunk.events) * len(channel.followers))
        if chunk.sequence < ring.end:
            self._due[channel] = chunk.sequence, chunk.cursor
            self._flush_soon()
        else:
            del self._due[channel]

    def _catch_up(self, reader: LiveReader) -> None:
        if reader in self._behind:
            self._send([reader])

    def _send(self, readers: Sequence[LiveReader]) -> None:
        end = self._started().end
        for reader in readers:
            if not reader.connection.is_writable:
                if reader.policy != "pause" and reader.sequence < end:
                    self._falls_behind(reader)
                continue
            if reader.sequence < end:
                chunk = self._next_chunk(reader)
                if chunk is None:
                    continue
                reader.take(chunk, end)
                if chunk.data:
                    reader.connection.deliver(chunk.data)
                    self._sent_events.inc(len(chunk.events))
                if chunk.skipped:
                    self._skipped.labels(reader.policy).inc(chunk.skipped)
            if reader.sequence < end:
                self._flush_soon()
            elif not reader.is_special:
                self._follow(reader)

    def _follow(self, reader: LiveReader) -> None:
        """From here on, a reader who has had everything is sent what the others are."""
        channel = reader.channel
        if channel in self._due:  # it will be sent what the others have not been sent yet
            return
        if not channel.followers:
            channel.context = reader.context
        elif channel.context is not reader.context:
            channel.context = None
        del self._behind[reader]
        channel.followers[reader] = None

    def _part(self, reader: LiveReader) -> None:
        """A reader follows no more, if it did."""
        if reader in reader.channel.followers:
            reader.sequence, reader.cursor = self._place(reader.channel)
            reader.context = None
            del reader.channel.followers[reader]
            self._behind[reader] = None

    def _place(self, channel: Channel) -> tuple[int, bytes]:
        """Where a channel's followers stand."""
        ring = self._started()
        return self._due.get(channel) or (ring.end, ring.cursor.text)

    def _has(self, reader: LiveReader) -> bool:
        return reader in self._behind or reader in reader.channel.followers

    def _channel(self, wanted: Filter, mask: Mask | None, deflates: bool) -> Channel:
        key = wanted, mask, deflates
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = Channel(wanted, mask, self._started(), deflates=deflates)
            if wanted:
                self._index.add(channel, wanted)
            else:
                self._unfiltered[channel] = None
        return channel

    def _fail(self, reader: LiveReader) -> None:
        self.leave(reader)
        reader.connection.give_up("internal error")

    def _next_chunk(self, reader: LiveReader) -> Chunk | None:
        """What comes next for this reader; None when there is nothing for now, or when it has left."""
        ring, now = self._started(), self._loop.time()
        if reader.is_passed_by(ring, now):
            self.send_away(reader)
            return None
        try:
            return reader.next_chunk(self._chunks, ring, now)
        except Exception:  # noqa: BLE001 - it is told, with its traceback
            self._diagnostics.exception("a reader's messages could not be made")
            self._fail(reader)
            return None

    def _falls_behind(self, reader: LiveReader) -> None:
        """There is something for a reader whose socket takes nothing, and who would not wait for ever."""
        ring = self._started()
        if reader.policy != "disconnect":
            reader.falls_behind(ring, self._loop.time())
        elif reader.flow.limit != 0 and reader.sequence < ring.oldest:
            self.leave(reader)
            reader.connection.give_up("too slow", code=CloseCode.POLICY_VIOLATION)

    def _started(self) -> Ring:
        if self.ring is None:
            raise RuntimeError("the ring has not been started")
        return self.ring
