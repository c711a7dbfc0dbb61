"""Says which collectors go away and come back, and where their events go meanwhile."""

import time

from snowbus.bus.diagnostics import Diagnostics
from snowbus.bus.sparingly import Sparingly

from .collectors import Change

logger = Diagnostics(__name__)

_SAY_SECONDS = 15.0


class Announcer:
    """Says each change at once, and that an outage lasts now and then."""

    def __init__(self) -> None:
        self._sparingly: dict[str, Sparingly] = {}

    def say(self, change: Change, now: float) -> None:
        """Say a change; `now` is in seconds of the clock that the collectors go by."""
        name, outage = change.collector.name, change.outage
        sparingly = self._sparingly.setdefault(name, Sparingly(_SAY_SECONDS, clock=time.monotonic))
        seconds = round(now - outage.since, 1)
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
