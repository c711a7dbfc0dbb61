"""The worker: a thread with an event loop that sends what waits in an outbox, in order, for as long as it takes."""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, closing, suppress
from queue import SimpleQueue
from threading import Event, Thread, current_thread
from typing import Any

from snowbus.bus.backoff import wait_before_retry
from snowbus.bus.collector.verdicts import Retry, Stop
from snowbus.bus.diagnostics import Diagnostics
from snowbus.bus.errors import SnowbusError

from .delivery import Delivery
from .destination import Destination
from .ledger import Ledger
from .outbox import Outbox
from .spool import SpoolError
from .thread_per_call import ThreadPerCall
from .tracked import Tracked

logger = Diagnostics(__name__)

_FIRST_WAIT = 0.5
_LONGEST_WAIT = 5.0
_LONGEST_WAIT_FOR_A_CHANGE = 30.0
_LINGER = 0.02
_SLOW_SECONDS = 10.0  # nobody else is in this loop, and it may well write to a disk
_LOOK_SECONDS = 5.0
_SPILL_AGAIN_SECONDS = 1.0
_CALL_SECONDS = 1.0
_PATIENCE_SECONDS = 1.0


class Worker:
    """Sends events, so many at once, until it is told to end, and then for some seconds more.

    `make` makes the destination, `at_end` is called last, in the thread. What is left at the end is in the outbox.
    For a fork it leaves, and its thread waits for who comes `after` it: a thread that ended might do so in the middle
    of the fork, with a lock of OpenSSL's, whose destructors run when `join` has returned.
    """

    def __init__(
        self,
        outbox: Outbox,
        make: Callable[[], Destination[Any]],
        *,
        at_once: int,
        ledger: Ledger,
        name: str,
        at_end: Callable[[], None],
        after: "Worker | None" = None,
    ) -> None:
        self._outbox = outbox
        self._make = make
        self._at_once = at_once
        self._ledger = ledger
        self._at_end = at_end
        self._after = after
        self._next: SimpleQueue[Worker | None] = SimpleQueue()
        self._has_left = Event()
        self._has_tried_to_open = Event()
        self._destination: Destination[Any] | None = None
        self._failures = 0
        self._is_ending = False
        self._is_leaving = False
        self._is_impatient = False
        self._deadline: float | None = None
        self._serving: asyncio.Task[None] | None = None
        self._loop = asyncio.new_event_loop()
        self._calls = ThreadPerCall()
        self._loop.set_default_executor(self._calls)
        self._loop.slow_callback_duration = _SLOW_SECONDS
        self._woken = asyncio.Event()
        self._crowded = asyncio.Event()
        self._hurry = asyncio.Event()
        self.thread: Thread = (
            after.thread if after else Thread(target=_run, args=(self,), name=f"snowbus-emitter {name}", daemon=True)
        )

    def start(self) -> None:
        """Begin."""
        self._outbox.wake = self._wake
        after, self._after = self._after, None
        if after is None:
            self.thread.start()
        else:
            after.dismiss(self)

    def end(self, seconds: float) -> None:
        """Send what waits, for so many seconds at most, then end. From any thread."""
        self._in_loop(lambda: self._end(seconds))

    def end_soon(self, seconds: float) -> None:
        """As `end`, but do not wait for a destination that is away where the spool has all that waits."""

        def end_soon() -> None:
            self._is_impatient = True
            self._end(min(seconds, _FIRST_WAIT) if self._may_give_up else seconds)

        self._in_loop(end_soon)

    @property
    def _may_give_up(self) -> bool:
        return self._is_impatient and self._failures > 0 and self._outbox.is_safe

    def leave(self, seconds: float) -> None:
        """End for a fork, once what is being sent has been, after so many seconds at the latest. From any thread."""

        def leave() -> None:
            self._is_leaving = True
            self._end(seconds)

        self._in_loop(leave)

    def wait_until_left(self, seconds: float) -> None:
        """Wait until it sends nothing any more, for so many seconds at most. From any thread but its own."""
        self._has_left.wait(seconds)

    def wait_until_open(self, seconds: float) -> None:
        """Wait until it has opened its destination, or could not, for so many seconds at most, and once only."""
        if current_thread() is not self.thread:
            self._has_tried_to_open.wait(seconds)
            self._has_tried_to_open.set()

    def dismiss(self, successor: "Worker | None") -> None:
        """Once it has left for a fork: have its thread go on with another worker, or end. From any thread."""
        self._next.put(successor)

    def _in_loop(self, callback: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(callback)

    def _wake(self) -> None:
        self._in_loop(self._look)

    def _look(self) -> None:
        self._woken.set()
        if self._outbox.is_crowded:
            self._crowded.set()

    def _end(self, seconds: float) -> None:
        self._is_ending = True
        deadline = self._loop.time() + seconds
        self._deadline = deadline if self._deadline is None else min(deadline, self._deadline)
        self._woken.set()
        self._hurry.set()
        self._arm()

    def _arm(self) -> None:
        if self._serving is not None and self._deadline is not None:
            self._loop.call_at(self._deadline, self._serving.cancel)

    def run(self) -> "Worker | None":
        """Work, in the thread; returns who is to go on there."""
        try:
            with closing(self._loop):
                has_successor = self._loop.run_until_complete(self._main())
            self._calls.join(_CALL_SECONDS)  # a fork waits for them, too
        finally:
            self._has_left.set()
            self._has_tried_to_open.set()
        return self._next.get() if has_successor else None

    async def _main(self) -> bool:
        """Work until the end; says whether another worker is to go on."""
        spilling = self._loop.create_task(self._spill_when_crowded())
        self._serving = self._loop.create_task(self._serve())
        self._arm()
        await asyncio.wait({self._serving})
        spilling.cancel()
        await asyncio.wait({spilling})
        leaves = self._is_leaving
        if not leaves:
            self._at_end()
        return leaves

    async def _serve(self) -> None:
        """Send until the end, whatever happens."""
        while True:
            try:
                await self._send()
            except Exception as error:
                logger.exception("an emitter failed in a way that is not foreseen; it begins anew")
                await self._wait([], Stop(f"{type(error).__name__}: {error}"))
            else:
                return

    async def _send(self) -> None:
        self._destination = None
        async with AsyncExitStack() as stack:
            while not (self._is_leaving or self._may_give_up):
                try:
                    events = self._outbox.peek(self._at_once)
                except OSError as error:
                    await self._wait([], Retry(f"the spool cannot be read: {error.strerror or error}"))
                    continue
                self._ledger.tell()
                if events:
                    spilling = self._loop.call_later(_PATIENCE_SECONDS, self._spill)
                    try:
                        if self._destination is not None:
                            await self._try(events, self._destination)
                        else:
                            await self._open(events, stack)  # and look again: it takes a while
                    finally:
                        spilling.cancel()
                elif self._is_ending:
                    return
                else:
                    await self._idle()

    async def _idle(self) -> None:
        """Sleep until there is something to do, and a little longer, lest every event wake the thread."""
        self._woken.clear()
        self._outbox.is_asleep = True
        if not self._outbox.pending:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS if self._outbox.spool is not None else None):
                    await self._woken.wait()
        self._outbox.is_asleep = False
        if not self._is_ending:
            await asyncio.sleep(_LINGER)

    async def _open(self, events: Sequence[Tracked], stack: AsyncExitStack) -> None:
        """Open the destination for events that wait; or wait, for a while."""
        wait: Retry | Stop | None = None
        try:
            # It may have much to import, and does so in this thread: a fork in the middle of an import of another one
            # would leave its lock to the child, held for ever.
            self._destination = await stack.enter_async_context(self._make())
        except SnowbusError as error:
            wait = Retry(str(error)) if error.retriable else Stop(str(error))
        finally:
            self._has_tried_to_open.set()
        if wait is not None:
            await self._wait(events, wait)

    async def _try(self, events: Sequence[Tracked], destination: Destination[Any]) -> None:
        """Send the first events, and settle what has become of them; or wait, for a while."""
        delivery = Delivery(events, destination)
        wait: Retry | Stop | None = None
        try:
            wait = await delivery.run()
        except asyncio.CancelledError:
            await self._settle(events, delivery, None)
            raise
        except Exception as error:
            logger.exception("sending failed in a way that is not foreseen")
            wait = Stop(f"{type(error).__name__}: {error}")
        await self._settle(events, delivery, destination)
        if wait is None:
            self._failures = 0
            self._outbox.spill_at_once(False)
        else:
            await self._wait(events[len(delivery.fates) :], wait)

    async def _settle(self, events: Sequence[Tracked], delivery: Delivery, keeper: Destination[Any] | None) -> None:
        """Book what has become of events; a keeper is asked to keep those that are refused."""
        fates = delivery.fates
        for event, fate in zip(events, fates, strict=False):
            if fate.refused:
                kept = keeper is not None and await _kept(keeper, event, fate.refused)
                self._ledger.refused(event, fate.refused, kept=kept)
        if fates:
            delivered = [event.payload for event, fate in zip(events, fates, strict=False) if not fate.refused]
            if delivered:
                self._ledger.delivered(delivered)
            self._outbox.settle(len(fates))

    async def _wait(self, events: Sequence[Tracked], wait: Retry | Stop) -> None:
        """Wait before the next try: longer and longer, and as long as was asked for. An end is not waited for."""
        self._failures += 1
        self._spill()
        self._ledger.retried([event.payload for event in events], wait.reason, waiting=self._outbox.pending)
        longest = _LONGEST_WAIT_FOR_A_CHANGE if isinstance(wait, Stop) else _LONGEST_WAIT
        asked = (wait.after if isinstance(wait, Retry) else None) or 0.0
        seconds = wait_before_retry(self._failures, _FIRST_WAIT, maximum=longest, draw=random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        if self._is_ending:
            await asyncio.sleep(max(asked, min(seconds, _FIRST_WAIT)))
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(max(asked, seconds)):
                await self._hurry.wait()

    def _spill(self) -> None:
        """Have what waits, from now on, be in the spool: the destination is away, or takes long."""
        self._outbox.spill_at_once(True)
        self._crowded.set()

    async def _spill_when_crowded(self) -> None:
        while True:
            await self._crowded.wait()
            self._crowded.clear()
            self._outbox.is_crowded = False
            try:
                while self._outbox.spill():
                    self._ledger.tell()
                    await asyncio.sleep(0)
            except SpoolError as error:
                self._outbox.is_crowded = True  # which is known; nobody need wake this task
                self._ledger.spool_failed(str(error))
                await asyncio.sleep(_SPILL_AGAIN_SECONDS)
                self._crowded.set()


def _run(worker: Worker) -> None:
    following: Worker | None = worker
    while following is not None:
        following = following.run()


async def _kept(keeper: Destination[Any], event: Tracked, reason: str) -> bool:
    try:
        return await keeper.keep(event, reason)
    except Exception:
        logger.exception("keeping a refused event failed in a way that is not foreseen")
        return False
