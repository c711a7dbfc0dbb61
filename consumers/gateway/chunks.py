"""What readers are sent next: the frames that are wanted from their place in the ring on, joined, once for all who are
at the same place.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import compress
from typing import NamedTuple

from snowbus.bus.cursor import RunningCursor
from snowbus.bus.event import TopicPartition

from ..masking import Mask
from ..reading import Reading
from .channel import Channel
from .deflate import Context
from .frames import body_of, event_frame, gap_frame, message_frame
from .ring import Entry, Ring
from .skipping import newest, sample, skipped_frames

MAX_WRITE_BYTES = 131_072
_MAX_SCAN = 1_000
_MAX_SHARED_BYTES = 16_777_216
_CHUNK_OVERHEAD = 600
"""Bytes that a chunk costs beside its data and 8 for each event: Python's objects, about."""


class Chunk(NamedTuple):
    """Frames, joined or compressed as `data`; the partition of each event in them; and where their reader stands then.

    `context` is the compressor that the next chunk may go on with; `skipped` counts the events that a slow reader is
    told of and not sent.
    """

    frames: Sequence[bytes]
    data: bytes
    events: Sequence[TopicPartition]
    sequence: int
    cursor: bytes
    context: Context | None = None
    skipped: int = 0


class Chunks:
    """Makes chunks of a ring, and keeps those that several readers may be sent, as long as they are not too many."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._shared: dict[tuple[Channel, int], Chunk] = {}  # by sequence number
        self._shared_bytes = 0
        self._places: dict[Channel, set[int]] = {}
        self._unfinished: set[tuple[Channel, int]] = set()

    def grew(self) -> None:
        """The ring has more: chunks that went up to its end are no longer all that can be sent at once."""
        for key in tuple(self._unfinished):
            self._forget(key)

    def forget(self, channel: Channel) -> None:
        """A channel is no more."""
        for sequence in tuple(self._places.get(channel, ())):
            self._forget((channel, sequence))

    def next(self, channel: Channel, sequence: int) -> Chunk:
        """The chunk for every reader of a channel at this place, whatever it was sent before."""
        key = channel, sequence
        chunk = self._shared.get(key)
        if chunk is None:
            chunk = self._deflated(self.some(channel, sequence, None), channel, None)
            if chunk.sequence == self._ring.end:
                self._unfinished.add(key)
            else:
                chunk = chunk._replace(context=None)  # another chunk comes before anybody follows
            self._shared[key] = chunk
            self._places.setdefault(channel, set()).add(sequence)
            self._shared_bytes += _cost(chunk)
            while self._shared_bytes > _MAX_SHARED_BYTES:
                self._forget(next(iter(self._shared)))
        return chunk

    def for_followers(self, channel: Channel, sequence: int) -> Chunk:
        """The chunk for all followers of a channel, who stand at this place."""
        chunk = self._deflated(self.some(channel, sequence, None), channel, channel.context)
        channel.context = chunk.context
        return chunk

    def some(self, channel: Channel, sequence: int, limit: int | None) -> Chunk:
        """What is wanted from this place on, at most so many events; not compressed."""
        frames: list[bytes] = []
        events: list[TopicPartition] = []
        size = 0
        entries = self._ring.read(sequence, _MAX_SCAN)
        end, last = sequence + len(entries), entries[-1]
        for after, entry in compress(enumerate(entries, sequence + 1), channel.wanted(sequence, entries)):
            frame = self.frame(entry, channel.mask)
            size += len(frame)
            frames.append(frame)
            if entry.record is not None:
                events.append(entry.partition)
            if size >= MAX_WRITE_BYTES or len(events) == limit:
                end, last = after, entry
                break
        return Chunk(frames, b"".join(frames), events, end, last.cursor)

    def own(
        self, channel: Channel, sequence: int, limit: int | None, own: RunningCursor, ahead: dict[TopicPartition, int]
    ) -> Chunk:
        """As `some`, for a reader who has had more of the partitions in `ahead` than the others at this place: with
        cursors of its `own`, until they meet and `ahead` is empty.
        """
        frames: list[bytes] = []
        events: list[TopicPartition] = []
        size = 0
        cursor = own.text
        for entry in self._ring.read(sequence, _MAX_SCAN):
            skipped_before = ahead.get(entry.partition, 0)
            if entry.offset + 1 >= skipped_before:
                ahead.pop(entry.partition, None)
            if entry.offset >= skipped_before:
                cursor = own.advance(entry.partition, entry.offset + 1)
                if entry.gap is not None:
                    frames.append(gap_frame(cursor, entry.gap.from_offset(skipped_before)))
                elif channel.wants(sequence, entry):
                    body = body_of(self.frame(entry, channel.mask), b"event", entry.cursor)
                    frames.append(message_frame(b"event", cursor, body))
                    size += len(body)
                    events.append(entry.partition)
            sequence += 1
            if not ahead:
                cursor = entry.cursor
                break
            if size >= MAX_WRITE_BYTES or len(events) == limit:
                break
        return Chunk(frames, b"".join(frames), events, sequence, cursor)

    def newest(self, channel: Channel, start: int, cursor: bytes, owed: Counter[TopicPartition], most: int) -> Chunk:
        """What is sent to who stands at `cursor`, has not had what it is `owed`, and wants only the latest of it: that
        the rest is skipped.
        """
        sequence = newest(self._ring, channel, most)
        after = self._ring.cursor_at(sequence)
        start = max(start, self._ring.oldest)
        gaps = [self.frame(entry, None) for entry in self._ring.read(start, sequence - start) if entry.gap]
        skipped = owed - channel.counts(sequence)
        gaps += skipped_frames(cursor, after, skipped)
        return Chunk(gaps, b"".join(gaps), (), sequence, after, skipped=skipped.total())

    def sample(self, channel: Channel, start: int, cursor: bytes, owed: Counter[TopicPartition], most: int) -> Chunk:
        """What is sent to who would have a sample of what it is `owed`: that, and how much was skipped."""
        frames: list[bytes] = []
        sampled: list[TopicPartition] = []
        size = 0
        for entry in sample(self._ring, channel, start, most):
            if entry.record is not None:
                if size >= MAX_WRITE_BYTES:
                    continue
                sampled.append(entry.partition)
            frames.append(self.frame(entry, channel.mask))
            size += len(frames[-1])
        after = self._ring.cursor.text
        skipped = owed - Counter(sampled)
        frames += skipped_frames(cursor, after, skipped)
        return Chunk(frames, b"".join(frames), sampled, self._ring.end, after, skipped=skipped.total())

    def frame(self, entry: Entry, mask: Mask | None) -> bytes:
        """The frame of an entry, made once for all readers, and once for all who share the mask."""
        made = entry.frame if mask is None else entry.masked_frame
        if made is not None:
            return made
        if entry.record is None:
            frame = gap_frame(entry.cursor, entry.gap) if entry.gap else b""
        else:
            frame = event_frame(entry.cursor, (entry.reading or Reading(entry.record)).body(mask))
        self._ring.keep(entry, frame, masked=mask is not None)
        return frame

    def _forget(self, key: tuple[Channel, int]) -> None:
        if (chunk := self._shared.pop(key, None)) is None:
            return
        self._shared_bytes -= _cost(chunk)
        self._unfinished.discard(key)
        channel, sequence = key
        self._places[channel].remove(sequence)
        if not self._places[channel]:
            del self._places[channel]

    def _deflated(self, chunk: Chunk, channel: Channel, context: Context | None) -> Chunk:
        """As it is sent: the frames themselves are needed no more, and would outlive the ring's."""
        if not channel.deflates:
            return chunk._replace(frames=())
        used = context or Context()
        return chunk._replace(frames=(), data=used.deflate(chunk.frames), context=used)


def _cost(chunk: Chunk) -> int:
    return len(chunk.data) + 8 * len(chunk.events) + _CHUNK_OVERHEAD
