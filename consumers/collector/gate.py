"""The gate that every request to the collector passes: it bounds how many are under way, and when the collector is
away it lets one probe through after each wait instead of all of them.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from snowbus.bus.sparingly import Sparingly

from ..backoff import Backoff
from .verdicts import Retry, Stop, Verdict

logger = structlog.get_logger(__name__)

_SAY_SECONDS = 15.0


@dataclass(slots=True)
class Outage:
    """The collector does not take events, `since` when and why; times are in seconds of the gate's clock.

    `configuration` says that waiting alone will not heal it.
    """

    since: float
    reason: str
    next_try: float
    configuration: bool


class Attempt:
    """One passage of the gate: send a request, then `settle` what became of it."""

    def __init__(self, gate: "Gate", outage: Outage | None) -> None:
        self._gate = gate
        self.probes = outage

    def settle(self, verdict: Verdict) -> None:
        """Tell the gate what the collector answered."""
        if isinstance(verdict, Retry | Stop):
            self._gate._close(self, verdict)  # noqa: SLF001 - an attempt is the gate's own
        else:
            self._gate._open(self)  # noqa: SLF001


class Gate:
    """Open until a request fails in a way that may heal; then closed, but for one probe at a time."""

    def __init__(
        self,
        *,
        in_flight: int,
        backoff: Backoff,
        configuration_wait: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.outage: Outage | None = None
        self._places = asyncio.Semaphore(in_flight)
        self._backoff = backoff
        self._configuration_wait = configuration_wait
        self._clock = clock
        self._probing = False
        self._changed = asyncio.Event()
        self._sparingly = Sparingly(_SAY_SECONDS, clock=clock)

    @asynccontextmanager
    async def attempt(self) -> AsyncIterator[Attempt]:
        """Wait until a request may be sent. May be cancelled while it waits."""
        async with self._places:
            probes = await self._wait()
            try:
                yield Attempt(self, probes)
            finally:
                if probes is not None:
                    self._probing = False
                    self._wake()

    async def _wait(self) -> Outage | None:
        while self.outage is not None:
            wait = self.outage.next_try - self._clock()
            if wait > 0:
                await asyncio.sleep(wait)
            elif self._probing:
                await self._changed.wait()
            else:
                self._probing = True
                return self.outage
        return None

    def _close(self, attempt: Attempt, verdict: Retry | Stop) -> None:
        now = self._clock()
        outage = self.outage
        configuration = isinstance(verdict, Stop)
        asked = verdict.after if isinstance(verdict, Retry) else None
        if outage is not None and attempt.probes is not outage:
            # It was sent before the outage was known: nothing new but how long the collector wants to be left alone.
            if asked:
                outage.next_try = max(outage.next_try, now + asked)
            return
        wait = self._configuration_wait if configuration else asked or self._backoff.next_wait()
        if outage is None:
            outage = self.outage = Outage(now, verdict.reason, now + wait, configuration)
        if outage.configuration != configuration:
            self._sparingly.reset()
        if self._sparingly.due():
            logger.warning(
                "the collector refuses us; events wait on the log" if configuration else "the collector is away",
                reason=verdict.reason,
                for_seconds=round(now - outage.since, 1),
                next_try_seconds=round(wait, 1),
            )
        outage.reason, outage.configuration, outage.next_try = verdict.reason, configuration, now + wait

    def _open(self, attempt: Attempt) -> None:
        outage = self.outage
        if outage is None or attempt.probes is not outage:
            return
        self.outage = None
        self._backoff.reset()
        self._sparingly.reset()
        logger.info("the collector is back", after_seconds=round(self._clock() - outage.since, 1))

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
