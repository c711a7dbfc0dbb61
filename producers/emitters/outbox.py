"""The outbox: events between the threads that track them and the one that sends them.

They leave in the order in which they came: first what is in the spool, then what is in the queue. The sender peeks at
the first, and settles them when they have left. Only it takes anything out; what is moved is the head of the queue, to
the end of the spool; and what is tracked goes to the spool only while the queue is empty. So whatever was peeked at
stays first until it is settled, wherever it is by then.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Literal

from .outcomes import Depth
from .spool import Spool, SpoolError
from .tracked import Tracked

Durability = Literal["memory", "written", "synced"]

_SPILLED_AT_ONCE = 100  # a millisecond, for which a caller may have to wait


class Outbox:
    """Events that wait. `put` may be called from any thread; everything else belongs to the sender's.

    `wake` is called, in the thread of a `put`, where there is something to do for a sender that `is_asleep`, and, when
    there is a spool, once the queue has more in it than it should (`is_crowded`). `on_spilled` is told how many events
    have been moved to the spool, in the thread that did it: the sender's, or that of a `put` for which there was no
    room.
    """

    def __init__(
        self, *, max_queued: int, spool: Spool | None, durability: Durability, on_spilled: Callable[[int], None]
    ) -> None:
        self.spool = spool
        self._on_spilled = on_spilled
        self.wake: Callable[[], None] = _do_nothing
        self.is_asleep = False
        self.is_crowded = False
        self._queue: deque[Tracked] = deque()
        self._most = max_queued
        self._writes_through = spool is not None and durability != "memory"
        self._syncs = durability == "synced"
        self._crowd = max_queued
        self.spill_at_once(False)
        self._begin()

    def _begin(self) -> None:
        # One that its holder may take again: signal handlers and `__del__` track, too, in the middle of whatever it is.
        self._lock = threading.RLock()
        self._is_moving = False
        self._peeked_at_spool = False
        self._settled = threading.Condition()

    def spill_at_once(self, whether: bool) -> None:
        """Whether what is put in the queue is to go to the spool at once, and not only when the queue is half full."""
        if self.spool is not None:
            self._crowd = 0 if whether or self._writes_through else self._most // 2

    @property
    def queued(self) -> int:
        """How many events wait in memory."""
        return len(self._queue)

    @property
    def depth(self) -> Depth:
        """How much waits, and how much more may."""
        queued, spool = self.queued, self.spool
        memory = Depth(queued, max(0, self._most - queued))
        if spool is None:
            return memory
        return memory._replace(spooled=spool.pending, spool_bytes=spool.size, spool_free_bytes=spool.free)

    @property
    def is_safe(self) -> bool:
        """Whether all that waits is in the spool."""
        return self.spool is not None and not self._queue

    @property
    def pending(self) -> int:
        """How many events wait."""
        return len(self._queue) + self._spooled

    @property
    def _spooled(self) -> int:
        return self.spool.pending if self.spool is not None else 0

    def put(self, event: Tracked) -> bool:
        """Take an event in; False when there is no room for it."""
        taken = self._put_through(event) if self._writes_through else self._put(event)
        if self.is_asleep:
            self.is_asleep = False
            self.wake()
        return taken

    def _put(self, event: Tracked) -> bool:
        queue = self._queue
        waiting = len(queue)
        if waiting >= self._most and not self._make_room():
            return False
        queue.append(event)
        if waiting >= self._crowd and not self.is_crowded:
            self.is_crowded = True
            self.wake()
        return True

    def _make_room(self) -> bool:
        """Move the first of a full queue to the spool, unless somebody has meanwhile; False where that is full, too."""
        if self.spool is None:
            return False
        with self._lock:
            if self._is_moving:  # it is this very thread, and will have made room
                return len(self._queue) < self._most + _SPILLED_AT_ONCE
            try:
                return len(self._queue) < self._most or self.spill() > 0
            except SpoolError:
                return False

    def _put_through(self, event: Tracked) -> bool:
        """Write an event to the spool; in the queue it waits while the spool takes none, or others wait there.

        So does one that is tracked in the middle of another's writing, by the same thread.
        """
        spool, mark = self.spool, None
        with self._lock:
            if spool is not None and not self._queue and not self._is_moving:
                self._is_moving = True
                try:
                    mark = spool.append([event])
                except SpoolError:
                    pass
                finally:
                    self._is_moving = False
            if spool is None or mark is None:
                return self._put(event)
        if self._syncs:
            with contextlib.suppress(OSError):  # it is as safe as this machine can make it
                spool.sync(mark)
        return True

    def peek(self, count: int) -> list[Tracked]:
        """The first events, some of `count`; none only when none wait. Raises OSError."""
        if self.spool is not None:
            self.spool.look_for_orphans()
        while True:
            if self.spool is not None and self._spooled and (events := self.spool.peek(count)):
                self._peeked_at_spool = True
                return events
            with self._lock:
                if self._spooled:
                    continue
                events = list(islice(self._queue, count))
                self._peeked_at_spool = False
            if not events:
                self._notify()  # what was damaged in the spool has left it without being settled
            return events

    def settle(self, count: int) -> None:
        """Have done with the first of the events that were peeked at. Raises OSError."""
        with self._moving():
            spooled = count if self._peeked_at_spool else min(count, self._spooled)  # moved there since
            for _ in range(count - spooled):
                self._queue.popleft()
        if spooled and self.spool is not None:
            self.spool.advance(spooled)
        self._notify()

    def spill(self) -> int:
        """Move the first of what is in the queue to the spool; returns how many that were. Raises SpoolError.

        None, in the middle of another move, by the same thread.
        """
        with self._moving() as may_move:
            if self.spool is None or not may_move:
                return 0
            events = list(islice(self._queue, _SPILLED_AT_ONCE))
            if events:
                self.spool.append(events)
            for _ in events:
                self._queue.popleft()
        if events:
            self._on_spilled(len(events))
        return len(events)

    @contextlib.contextmanager
    def _moving(self) -> Iterator[bool]:
        """Have the queue and the end of the spool to oneself: what this thread tracks meanwhile only joins the queue.

        Says whether one has: False, in the middle of another move, by the same thread.
        """
        with self._lock:
            if self._is_moving:
                yield False
                return
            self._is_moving = True
            try:
                yield True
            finally:
                self._is_moving = False

    def forget(self, on_lost: Callable[[int], None]) -> None:
        """Give up what is in memory, once it has been told how much that is: a flush must not see it gone before."""
        with self._lock:
            while not self._is_moving and (lost := len(self._queue)):
                on_lost(lost)
                for _ in range(lost):
                    self._queue.popleft()
        self._notify()

    def wait_until_empty(self, timeout: float) -> bool:
        """Wait until nothing waits, and say whether that came about in so many seconds."""
        with self._settled:
            return self._settled.wait_for(lambda: not self.pending, timeout)

    def _notify(self) -> None:
        """Let those look who wait until nothing waits."""
        with self._settled:
            self._settled.notify_all()

    def abandon(self) -> None:
        """Begin empty, in a forked child: what waits is its parent's to deliver."""
        self._queue = deque()
        self._begin()
        self.is_asleep = self.is_crowded = False
        if self.spool is not None:
            self.spool.abandon()


def _do_nothing() -> None:
    pass
