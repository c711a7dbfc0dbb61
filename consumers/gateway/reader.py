"""A reader of the ring: where it stands, and what it is sent next when that is not what everybody is sent."""

import asyncio
from collections import Counter

from snowbus.bus.cursor import RunningCursor
from snowbus.bus.event import TopicPartition

from ..websocket_protocol import Policy
from .channel import Channel
from .chunks import Chunk, Chunks
from .deflate import Context
from .flow import Flow
from .ring import Ring, Seat
from .skipping import KEPT_EVENTS, SLOW_SECONDS
from .wire import GatewayConnection


class LiveReader:
    """A reader of the ring. It follows its channel when it has been sent all there was; until then, `sequence` and
    `cursor` are where it stands.

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
        """The compressor of what it was sent last, when others were sent the same."""
        self.sequence = seat.sequence
        self.cursor = own.text
        self.own = own if seat.ahead else None
        self.ahead = seat.ahead
        self.gone: asyncio.Future[dict[TopicPartition, int]] = connection.loop.create_future()
        """Done with the positions where it stands, when the ring has moved past it, or when it is sent away."""

    @property
    def is_special(self) -> bool:
        """Whether what it is sent next may be something else than what the others at its place are sent."""
        return self.own is not None or self.flow.limit is not None or self.had is not None

    def is_passed_by(self, ring: Ring, now: float) -> bool:
        """Whether the ring has moved past it, and it would not skip what it missed. `now` is the event loop's time."""
        return self.sequence < ring.oldest and self.flow.limit != 0 and not self._to_skip(ring, now)

    def next_chunk(self, chunks: Chunks, ring: Ring, now: float) -> Chunk | None:
        """What comes next for it; None when there is nothing for now."""
        if self.flow.limit == 0:
            self.had = None  # who wants nothing is not slow
            return None
        if not self.is_special:
            return chunks.next(self.channel, self.sequence)
        chunk = self._special_chunk(chunks, self._to_skip(ring, now))
        return chunk._replace(data=Context().deflate(chunk.frames)) if self.channel.deflates else chunk

    def take(self, chunk: Chunk, end: int) -> None:
        """It is sent this chunk of a ring that ends there."""
        events = chunk.events
        self.sequence, self.cursor, self.context = chunk.sequence, chunk.cursor, chunk.context
        self.flow.spend(len(events))
        if not self.ahead:
            self.own = None
        if self.sequence >= end:
            self.had = None
        elif self.had is not None:
            self.had.update(events)  # it may be negative, which `+` would leave out

    def falls_behind(self, ring: Ring, now: float) -> None:
        """Its socket takes nothing, and there is something for it. `now` is the event loop's time."""
        if self.flow.limit != 0 and self.had is None and self.own is None and self.sequence >= ring.oldest:
            self.had = self.channel.count_before(self.sequence)
            self.behind_since = now

    def _special_chunk(self, chunks: Chunks, skipped: Counter[TopicPartition] | None) -> Chunk:
        limit = self.flow.limit
        if skipped:
            most = min(KEPT_EVENTS, limit or KEPT_EVENTS)
            if self.policy == "sample":
                return chunks.sample(self.channel, self.sequence, self.cursor, skipped, most)
            self.had = None
            return chunks.newest(self.channel, self.sequence, self.cursor, skipped, most)
        if self.own is None:
            return chunks.some(self.channel, self.sequence, limit)
        return chunks.own(self.channel, self.sequence, limit, self.own, self.ahead)

    def _to_skip(self, ring: Ring, now: float) -> Counter[TopicPartition] | None:
        """How many events it has not had and is slow and would rather skip, by partition; else None."""
        if self.had is None:
            return None
        if self.sequence >= ring.oldest and now - self.behind_since <= SLOW_SECONDS:
            return None
        owed = self.channel.owed(self.had)
        return owed if owed.total() > KEPT_EVENTS else None
