"""The gate that every request passes: it bounds how many are under way, waits while no collector is to be tried, and
says which come and go.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import structlog

from snowbus.bus.sparingly import Sparingly

from .collectors import Attempt, Change, Collectors, Outage, Wait
from .verdicts import Verdict

logger = structlog.get_logger(__name__)

_SAY_SECONDS = 15.0


class Gate:
    """Lets `in_flight` requests through at once, each to the collector that is chosen for it."""

    def __init__(self, collectors: Collectors, *, in_flight: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._collectors = collectors
        self._places = asyncio.Semaphore(in_flight)
        self._clock = clock
        self._settled = asyncio.Event()
        self._sparingly: dict[str, Sparingly] = {}

    @property
    def outage(self) -> Outage | None:
        """What keeps events from every collector now, or None."""
        return self._collectors.outage

    @asynccontextmanager
    async def attempt(self) -> AsyncIterator[Attempt]:
        """Wait until a request may be sent, and to which collector. May be cancelled while it waits."""
        async with self._places:
            attempt = await self._pick()
            try:
                yield attempt
            finally:
                self._collectors.give_up(attempt)
                self._wake()

    def settle(self, attempt: Attempt, verdict: Verdict) -> None:
        """Tell what became of an attempt."""
        change = self._collectors.settle(attempt, verdict, self._clock())
        if change is not None:
            self._say(change)
        self._wake()

    async def _pick(self) -> Attempt:
        while isinstance(choice := self._collectors.pick(now := self._clock()), Wait):
            with suppress(TimeoutError):
                async with asyncio.timeout(None if choice.until is None else choice.until - now):
                    await self._settled.wait()
        return choice

    def _say(self, change: Change) -> None:
        name, outage = change.collector.name, change.outage
        sparingly = self._sparingly.setdefault(name, Sparingly(_SAY_SECONDS, clock=self._clock))
        seconds = round(self._clock() - outage.since, 1)
        if change.over:
            sparingly.reset()
            logger.info("the collector is back", collector=name, after_seconds=seconds)
        elif sparingly.due() or outage.failures == 1:
            logger.warning(
                "the collector refuses us" if outage.configuration else "the collector is away",
                collector=name,
                reason=outage.reason,
                for_seconds=seconds,
                events=f"go to {change.instead}" if change.instead else "wait on the log",
            )

    def _wake(self) -> None:
        self._settled.set()
        self._settled = asyncio.Event()
