"""Tells readers what becomes of events: each report as it comes, to all in one frame, and to whoever joins what was.

A reader whose socket takes no more is passed over, and costs nothing but its place among the latest frames. When it
takes more it gets those that it missed; when they are no longer held, what the store was told since.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import islice

from snowbus.bus.clock import now_ms
from snowbus.bus.event import TopicPartition
from snowbus.bus.metrics import Metrics

from ..receipts import Report
from .chunks import MAX_WRITE_BYTES
from .delivery_messages import Message, Snapshot, Window, commits_message, report_message
from .delivery_store import DeliveryStore
from .frames import json_frame
from .wire import GatewayConnection

_MAX_FRAMES_BYTES = 1_000_000
_MESSAGES_A_FLUSH = 64
_SKEW_MS = 60_000  # how far the clocks of those who report may be apart


class DeliveryReader:
    """One reader; `sequence` is the next frame that it is due, `told_at` the time of the report before that."""

    def __init__(self, connection: GatewayConnection, snapshot: Snapshot, sequence: int, *, told_at: int) -> None:
        self.connection = connection
        self.snapshot: Snapshot | None = snapshot
        self.sequence = sequence
        self.told_at = told_at


class Deliveries:
    """What became of the events of one topic, and the readers who are told.

    Until `begin` only the store is filled: with what was reported before anybody listened.
    """

    def __init__(self, topic: str, *, max_ranges: int, metrics: Metrics, max_frames: int = 512) -> None:
        self.store = DeliveryStore(topic, max_ranges=max_ranges)
        self._topic = topic
        self._max_frames = max_frames
        self._sent = metrics.gateway_messages.labels("delivery")
        self._begun = False
        self._readers: dict[DeliveryReader, None] = {}
        self._behind: dict[DeliveryReader, None] = {}
        self._frames: deque[bytes] = deque()
        self._frames_bytes = 0
        self._end = 0

    # What the readers do

    def join(
        self, connection: GatewayConnection, starts: Mapping[TopicPartition, int], *, since: int | None
    ) -> DeliveryReader:
        """Be told of the events from `starts` on, and of what became since a time (ms since 1970) of earlier ones."""
        snapshot = Snapshot(Window(starts, since))
        reader = DeliveryReader(connection, snapshot, self._end, told_at=self.store.heard)
        self._readers[reader] = None
        self._behind[reader] = None
        self._catch_up([reader])
        return reader

    def leave(self, reader: DeliveryReader) -> None:
        """Be told no more."""
        self._readers.pop(reader, None)
        self._behind.pop(reader, None)

    # What the follower of the log does

    def begin(self) -> None:
        """What was reported before is taken: tell readers from now on."""
        if not self._begun:
            self._begun = True
            self.flush()

    def take(self, reports: Sequence[Report]) -> None:
        """Take the next reports, and tell."""
        messages = []
        for report in reports:
            known = self.store.groups.get(report.group)
            stood = known.collectors if known else ()
            self.store.add(report)
            with_collectors = self.store.groups[report.group].collectors != stood
            message = report_message(report, self._topic, with_collectors=with_collectors)
            if known is None or with_collectors or message["receipts"]:
                messages.append(message)
        self._tell(messages)

    def commit(self, group: str, offsets: Mapping[TopicPartition, int]) -> None:
        """Take what a group has committed, and tell what has changed."""
        changed = self.store.commit(group, offsets)
        if changed:
            self._tell([commits_message(group, changed, now=now_ms())])

    def restart(self) -> None:
        """Forget everything: the log began anew, and readers are told that elsewhere."""
        self.store.clear()
        self._drop_frames(len(self._frames))
        for reader in self._readers:
            reader.snapshot, reader.sequence, reader.told_at = None, self._end, 0

    def flush(self) -> None:
        """Send those who are behind what their sockets take now."""
        if self._behind:
            self._catch_up(list(self._behind))

    # Sending

    def _tell(self, messages: Sequence[Message]) -> None:
        if not self._begun:
            return
        for message in messages:
            frame = json_frame(message)
            self._frames.append(frame)
            self._frames_bytes += len(frame)
            self._end += 1
        while len(self._frames) > self._max_frames or self._frames_bytes > _MAX_FRAMES_BYTES:
            self._drop_frames(1)
        if messages:
            self._catch_up(list(self._readers))

    def _drop_frames(self, count: int) -> None:
        for _ in range(count):
            self._frames_bytes -= len(self._frames.popleft())

    def _catch_up(self, readers: Sequence[DeliveryReader]) -> None:
        if not self._begun:
            return
        shared: dict[int, tuple[bytes, int]] = {}
        snapshots = _MESSAGES_A_FLUSH
        for reader in readers:
            while reader.connection.is_writable and self._is_behind(reader):
                if reader.snapshot is not None:
                    if not snapshots:
                        break
                    snapshots -= 1
                    self._send_snapshot(reader, reader.snapshot)
                elif reader.sequence < self._end - len(self._frames):
                    reader.snapshot = Snapshot(Window(None, reader.told_at - _SKEW_MS))
                    reader.sequence, reader.told_at = self._end, self.store.heard
                else:
                    self._send_frames(reader, shared)
            if self._is_behind(reader):
                self._behind[reader] = None
            else:
                self._behind.pop(reader, None)
                reader.told_at = self.store.heard

    def _is_behind(self, reader: DeliveryReader) -> bool:
        return reader.snapshot is not None or reader.sequence < self._end

    def _send_frames(self, reader: DeliveryReader, shared: dict[int, tuple[bytes, int]]) -> None:
        """Send what comes next, joined once for all who stand at one place."""
        start = reader.sequence
        if start not in shared:
            skipped = start - (self._end - len(self._frames))
            frames: list[bytes] = []
            size = 0
            for frame in islice(self._frames, skipped, None):
                frames.append(frame)
                size += len(frame)
                if size >= MAX_WRITE_BYTES:
                    break
            shared[start] = b"".join(frames), start + len(frames)
        joined, reader.sequence = shared[start]
        reader.connection.slip_in(joined)
        self._sent.inc(reader.sequence - start)

    def _send_snapshot(self, reader: DeliveryReader, snapshot: Snapshot) -> None:
        message = snapshot.next_message(self.store, now=now_ms())
        if message is None:
            reader.snapshot = None
            return
        reader.connection.slip_in(json_frame(message))
        self._sent.inc()
