"""Says which collectors go away and come back, and where their events go meanwhile."""

from snowbus.bus.diagnostics import Diagnostics
from snowbus.bus.sparingly import SparingDiagnostics

from .collectors import Change

logger = Diagnostics(__name__)

_SAY_SECONDS = 15.0


class Announcer:
    """Says each change at once, and that an outage lasts now and then."""

    def __init__(self) -> None:
        self._diagnostics: dict[str, SparingDiagnostics] = {}

    def say(self, change: Change, now: float) -> None:
        """Say a change; `now` is in seconds of the clock that the collectors go by."""
        name, outage = change.collector.name, change.outage
        diagnostics = self._diagnostics.setdefault(name, SparingDiagnostics(logger, seconds=_SAY_SECONDS))
        seconds = round(now - outage.since, 1)
        if change.over:
            diagnostics.reset()
            logger.info("the collector is back", collector=name, after_seconds=seconds)
            return
        if outage.failures == 1:
            diagnostics.reset()
        diagnostics.warning(
            "the collector refuses us" if outage.configuration else "the collector is away",
            collector=name,
            reason=outage.reason,
            for_seconds=seconds,
            events=f"go to {change.instead}" if change.instead else "wait on the log",
        )
