"""Commits what is done with: often enough that work goes on, and with it how the work stands."""

import asyncio
import contextlib
from collections.abc import Callable, Collection

from snowbus.bus.clock import now_ms
from snowbus.bus.diagnostics import Diagnostics
from snowbus.bus.errors import LogError, LogUnavailableError
from snowbus.bus.event import TopicPartition
from snowbus.bus.log.interface import GroupReader
from snowbus.bus.sparingly import SparingDiagnostics

from .declare import Consumer
from .progress import Progress, left_out, write_metadata
from .work import Work

logger = Diagnostics(__name__)

_INTERVAL_SECONDS = 0.1
_HEARTBEAT_SECONDS = 3.0
_EARLY_SECONDS = 0.001  # an event loop ends a wait a little before its time, by the resolution of its clock
_ERROR_SECONDS = 60.0
_SAY_SECONDS = 15.0


class Commits:
    """Commits for one consumer, one commit at a time; what cannot be committed now is said, and tried again.

    `reader` is set once the group is joined; `stuck_seconds` tells for how long a call with records of a partition has
    been far too long.
    """

    def __init__(self, work: Work, consumer: Consumer[..., object]) -> None:
        self.reader: GroupReader | None = None
        self.stuck_seconds: Callable[[TopicPartition], float] = lambda _: 0.0
        self._work = work
        self._consumer = consumer
        self._one_at_a_time = asyncio.Lock()
        self._moved = asyncio.Event()
        self._due = asyncio.Event()
        self._errors: dict[TopicPartition, tuple[float, str]] = {}
        self._diagnostics = SparingDiagnostics(logger, seconds=_SAY_SECONDS)
        work.on_full = self._hurry
        work.on_finished = self._look
        work.on_trouble = self._note

    async def run(self) -> None:
        """Commit now and then, and at once when half of `max_in_flight` waits for it; until cancelled."""
        loop = asyncio.get_running_loop()
        heartbeat_at = loop.time()
        while True:
            await _set_until(self._moved, heartbeat_at)
            if self._moved.is_set():
                await _set_until(self._due, loop.time() + _INTERVAL_SECONDS)
            self._moved.clear()
            self._due.clear()
            everything: Collection[TopicPartition] = ()
            if loop.time() >= heartbeat_at - _EARLY_SECONDS:
                heartbeat_at = loop.time() + _HEARTBEAT_SECONDS
                everything = self._work.held
            await self.commit(everything)

    async def commit(
        self, partitions: Collection[TopicPartition] = (), *, leaving: Collection[TopicPartition] = ()
    ) -> bool:
        """Commit whatever has moved on, `partitions` whether they have or not, and `leaving` as left. Returns whether
        nothing is left to commit, or nothing can be: the log need not be asked again.
        """
        async with self._one_at_a_time:
            reader, tracker = self.reader, self._work.tracker
            if reader is None:
                return True
            snapshot = tracker.committable({*partitions, *leaving})
            if not snapshot.positions:
                return True
            metadata = {
                partition: write_metadata(position, self._progress(partition, left=partition in leaving))
                for partition, position in snapshot.positions.items()
            }
            offsets = {partition: position.offset for partition, position in snapshot.positions.items()}
            try:
                await reader.commit(offsets, metadata)
            except LogError as error:
                tracker.not_committed(snapshot)
                self._moved.set()
                group_id = self._consumer.group_id
                self._diagnostics.warning("handled, but not committed", group_id=group_id, reason=str(error))
                return not isinstance(error, LogUnavailableError)
            untold = {place: left_out(position, metadata[place]) for place, position in snapshot.positions.items()}
            tracker.committed(snapshot, untold)
            self._work.wake()
            return True

    def _look(self) -> None:
        self._moved.set()
        if 2 * self._work.tracker.exposed >= self._consumer.max_in_flight:
            self._due.set()

    def _hurry(self) -> None:
        self._moved.set()
        self._due.set()

    def _note(self, partition: TopicPartition, reason: str) -> None:
        self._errors[partition] = (asyncio.get_running_loop().time(), reason)
        self._moved.set()

    def _progress(self, partition: TopicPartition, *, left: bool) -> Progress:
        state = self._work.tracker.state(partition)
        now, wall_ms = asyncio.get_running_loop().time(), now_ms()
        since, error = self._errors.get(partition, (0.0, ""))
        if error and now - since > _ERROR_SECONDS and not state.waiting:
            del self._errors[partition]
            error = ""
        next_try, outage = state.retry_at, self._work.breaker.outage
        if outage is not None:
            next_try, error = outage.next_try, outage.reason
        if left:
            return Progress(at=wall_ms, left=True, waiting=state.waiting, last_error=error)
        stuck = self.stuck_seconds(partition)
        return Progress(
            at=wall_ms,
            in_flight=state.in_flight,
            waiting=state.waiting,
            next_try=None if next_try is None else wall_ms + round(1000 * max(0.0, next_try - now)),
            stuck_since=wall_ms - round(1000 * stuck) if stuck else None,
            last_error=error,
        )


async def _set_until(event: asyncio.Event, deadline: float) -> None:
    """Wait until the event is set, or until a time in the event loop's clock."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(deadline):
            await event.wait()
