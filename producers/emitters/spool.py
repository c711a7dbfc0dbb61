"""The spool: events in files of a folder, which several processes may share, and which outlive them.

Each process writes segments of its own. One that nobody holds any more is an orphan's: whoever comes next, another
process or the next start, drains it before its own, the oldest first, and no two of one owner at the same time.
"""

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path

from snowbus.bus.diagnostics import Diagnostics
from snowbus.bus.errors import ConfigurationError
from snowbus.bus.sparingly import SparingDiagnostics

from .spool_lines import Line, line_of, lines_in
from .spool_segment import SUFFIX, Segment
from .tracked import Tracked

logger = Diagnostics(__name__)

_SEGMENT_BYTES = 4 * 1024 * 1024
_SEGMENTS_AT_LEAST = 8
_READ_BYTES = 256 * 1024
_FULL_SECONDS = 1.0
_LOOK_SECONDS = 5.0


Mark = tuple[Segment, int]


class SpoolError(OSError):
    """The spool takes nothing now; says why."""


class Spool:
    """Events in the order in which they are to leave: those of orphans, then those of this process.

    `append` and `sync` may be called from any thread; everything else belongs to one. `on_damaged` gets bytes that are
    no event, and why; they are in the spool no more. Raises ConfigurationError when the folder cannot be made.
    """

    def __init__(self, folder: Path, *, max_bytes: int, on_damaged: Callable[[bytes, str], None]) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._segment_bytes = min(_SEGMENT_BYTES, max_bytes // _SEGMENTS_AT_LEAST)
        self._on_damaged = on_damaged
        self._diagnostics = SparingDiagnostics(logger)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"spool {folder}: {error.strerror or error}") from None
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise ConfigurationError(f"spool {folder}: no permission to read and write there")
        self._begin()

    def _begin(self) -> None:
        self._owner = f"{os.getpid()}-{os.urandom(4).hex()}"
        self._lock = threading.RLock()  # as the outbox's
        self._syncing = threading.RLock()
        self._segments: deque[Segment] = deque()
        self._active: Segment | None = None
        self._adopted: Segment | None = None
        self._ends: list[int] = []  # of what was peeked, in the first segment
        self._written = 0
        self._read = 0
        self._look_at = 0.0
        self._full_until = 0.0
        self._why_full = ""

    @property
    def pending(self) -> int:
        """How many events this process holds here that are to leave."""
        read = self._read  # first, lest what is written and read meanwhile make it too few
        return self._written - read

    @property
    def size(self) -> int:
        """How many bytes the folder holds, of all who share it."""
        return sum(map(_size, self._paths()))

    @property
    def free(self) -> int:
        """How many bytes more it may hold."""
        return max(0, self._max_bytes - self.size)

    @property
    def has_files(self) -> bool:
        """Whether anything is there, this process's or another's."""
        return bool(self._paths())

    def append(self, events: Sequence[Tracked]) -> Mark:
        """Write events, all or none; they survive this process then, and the machine once that mark is synced.

        Raises SpoolError when there is no room.
        """
        if self._full_until and time.monotonic() < self._full_until:
            raise SpoolError(self._why_full)
        data = b"".join(map(line_of, events))
        with self._lock:
            self._written += len(events)  # now, as they can be read before this returns
            try:
                segment = self._room_for(len(data))
                segment.append(data)
            except OSError as error:
                self._written -= len(events)
                self._full_until = time.monotonic() + _FULL_SECONDS
                self._why_full = error.strerror or str(error)
                raise SpoolError(self._why_full) from error
            self._full_until = 0.0
            return segment, segment.end

    def sync(self, mark: Mark) -> None:
        """Write through to the disk up to a mark, once for all threads that wait for it. Raises OSError."""
        segment, end = mark
        with self._syncing:
            segment.sync(end)

    def _room_for(self, size: int) -> Segment:
        """The segment to write to. Raises OSError."""
        active = self._active
        if active is not None and active.end + size <= self._segment_bytes:
            return active
        held = self.size
        if held + max(size, self._segment_bytes) > self._max_bytes:
            raise SpoolError(f"it is full, with {held} bytes; {self._max_bytes} are allowed (spool_bytes)")
        self._active = Segment.create(self._folder, owner=self._owner)
        self._segments.append(self._active)
        return self._active

    def look_for_orphans(self) -> None:
        """Take over the oldest segment that nobody holds, if this process drains none; now and then, and only while
        nothing that was peeked is under way. One that cannot be read hides no other.
        """
        if self._adopted is not None or time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + _LOOK_SECONDS
        owners = {self._owner}
        for path in self._paths():
            owner = path.stem.partition("-")[2]
            if owner in owners:
                continue
            owners.add(owner)
            try:
                is_adopted = self._adopt(path)
            except OSError as error:
                reason = error.strerror
                self._diagnostics.warning("what others left cannot be read", path=str(path), reason=reason)
            else:
                if is_adopted:
                    return

    def _adopt(self, path: Path) -> bool:
        """Take over an orphan, if it is one, and anything is left in it. Raises OSError."""
        if (segment := Segment.adopt(path)) is None:
            return False
        try:
            lines, rest = segment.take_stock()
        except OSError:
            segment.let_go()
            raise
        if rest:
            self._on_damaged(rest, "cut off in the spool")
        if not lines:
            segment.close()
            return False
        self._adopted = segment
        with self._lock:
            self._written += lines
        return True

    def peek(self, count: int) -> list[Tracked]:
        """The next events, some of `count`; none only when none are left. Raises OSError."""
        while (segment := self._adopted or (self._segments[0] if self._segments else None)) is not None:
            is_whole = segment is not self._active  # asked first: it may be written to, and be left, meanwhile
            lines = self._whole_lines(segment, count)
            good = list(takewhile(lambda line: line.event is not None, lines))
            if good:
                self._ends = [line.end for line in good]
                return [line.event for line in good if line.event is not None]
            if lines:
                segment.move(lines[0].end)
                self._read += 1
                self._on_damaged(lines[0].text, "damaged in the spool")
            elif is_whole:
                self._remove(segment)
            else:
                break
        self._ends = []
        self._write_off()
        return []

    def _write_off(self) -> None:
        """Count no more on events that were written, and are not there: somebody has cut or damaged a file."""
        with self._lock:  # so that nothing is being written
            active = self._active
            if active is not None and not active.is_drained:
                if len(self._segments) > 1 or b"\n" in active.read(active.end - active.position):
                    return  # it has been written to meanwhile
                active.move(active.end)
            lost, self._read = self._written - self._read, self._written
        if lost > 0:
            self._on_damaged(b"", f"{lost} events have gone from the spool")

    def _whole_lines(self, segment: Segment, count: int) -> list[Line]:
        size = _READ_BYTES
        while True:
            data = segment.read(size)
            lines = list(lines_in(data, start=segment.position, count=count))
            if lines or len(data) < size:
                return lines
            size *= 4  # a long line

    def advance(self, count: int) -> None:
        """Have done with the next events. Raises OSError."""
        while count:
            if not self._ends and not self.peek(count):
                return
            segment = self._adopted or self._segments[0]
            done = min(count, len(self._ends))
            segment.move(self._ends[done - 1])
            del self._ends[:done]
            self._read += done
            count -= done
            if segment is not self._active and segment.is_drained:
                self._remove(segment)

    def _remove(self, segment: Segment) -> None:
        if segment is self._adopted:
            self._adopted = None
            self._look_at = 0.0
        else:
            self._segments.popleft()
        segment.close()

    def _paths(self) -> list[Path]:
        return sorted(path for path in self._folder.glob(f"*{SUFFIX}") if path.is_file())

    def close(self) -> None:
        """Write through what is left, and leave it to whoever comes next."""
        with self._lock:
            for segment in self._held():
                with contextlib.suppress(OSError):  # what is there, is there
                    segment.close()
            self._begin()

    def abandon(self) -> None:
        """Begin anew in a forked child: what is held here is its parent's."""
        for segment in self._held():
            segment.let_go()
        self._begin()

    def _held(self) -> list[Segment]:
        return [*self._segments, *([self._adopted] if self._adopted is not None else [])]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # drained just now
        return 0
