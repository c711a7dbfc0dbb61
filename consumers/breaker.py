"""A circuit breaker: while what the handler needs is away nothing is called, but for one probe after each wait."""

from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Outage:
    """What the handler needs is away: `since` when, why, and when the next probe is due, in the caller's clock.

    `failures` counts the calls that found it away, but for those that had begun before it was known.
    """

    since: float
    reason: str
    next_try: float
    failures: int = 1


class Breaker:
    """Closed until a call says that what it needs is away; then open, and it lets one probe through after each wait.

    A call begins with what `outage` is then, and ends with `trip` or `close`, naming it: so that a call which had begun
    before the outage was known neither lengthens its waits nor ends it.
    """

    def __init__(self) -> None:
        self.outage: Outage | None = None
        self._is_probing = False

    @property
    def failures(self) -> int:
        """How many calls have found it away, one after the other."""
        return self.outage.failures if self.outage is not None else 0

    def wait(self, now: float) -> float | None:
        """Seconds until a call may begin: 0 for now, None when only the probe under way can tell."""
        if self.outage is None:
            return 0.0
        return None if self._is_probing else max(0.0, self.outage.next_try - now)

    def begin_probe(self) -> bool:
        """A call is about to begin, as `wait` allows; whether it is a probe, which `end_probe` is to be told of."""
        self._is_probing = self.outage is not None
        return self._is_probing

    def end_probe(self) -> None:
        """The probe is over, whether it came to a call or not."""
        self._is_probing = False

    def trip(self, begun: Outage | None, reason: str, *, wait: float, asked: bool, now: float) -> float:
        """A call found what it needs away; try again in `wait` seconds, which was `asked` for or is our own backoff.
        Returns when the next probe is due.
        """
        outage = self.outage
        if outage is None:
            outage = self.outage = Outage(now, reason, now + wait)
        elif begun is outage:
            outage.reason, outage.next_try, outage.failures = reason, now + wait, outage.failures + 1
        elif asked:
            outage.next_try = max(outage.next_try, now + wait)
        return outage.next_try

    def close(self, begun: Outage | None) -> bool:
        """A call was answered; whether that ends the outage."""
        if self.outage is None or begun is not self.outage:
            return False
        self.outage = None
        return True
