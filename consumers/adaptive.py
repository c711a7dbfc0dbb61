"""How many calls of a handler at once: more while they are answered as quickly as ever, fewer when they become slow."""

from dataclasses import dataclass

from snowbus.bus.errors import ConfigurationError

_START = 4
_MEASURE_EVERY_SECONDS = 10.0
_QUICK, _QUICK_SLACK = 2.0, 0.005
_SLOW, _SLOW_SLACK = 4.0, 0.020
_WHEN_SLOW = 0.9
_WHEN_OVERLOADED = 0.5


@dataclass(frozen=True, slots=True)
class Adaptive:
    """A `concurrency` that finds itself, from 1 to `most` calls at once.

    It doubles while every place is taken and calls take no more than twice the time of the quickest lately; after the
    first sign of trouble it grows by one instead. Calls that take four times as long cost it a tenth; one that raises
    `Hold` or `Retry(overloaded=True)`, or runs into the timeout, half.

    Raises ConfigurationError for a bound that is none.
    """

    most: int = 64

    def __post_init__(self) -> None:
        if type(self.most) is not int or self.most < 1:
            raise ConfigurationError(f"Adaptive(most={self.most!r}): it is a whole number from 1 on")


class Limit:
    """The number of calls that may be under way, learnt from how each ended.

    What counts as quick is measured anew every ten seconds, with half as many calls for a moment: a queue that our own
    calls have built up must not pass for the server's usual time.
    """

    def __init__(self, bounds: Adaptive) -> None:
        self._most = bounds.most
        self._value = float(min(_START, bounds.most))
        self._doubles = True
        self._mean = 0.0
        self._quickest = float("inf")
        self._measure_at = float("-inf")
        self._before_measure = 0.0  # the value to go back to; 0 when it is not being measured
        self._measure_calls = 0
        self._unshrinkable = 0  # calls that were under way when it shrank, and tell nothing new

    @property
    def now(self) -> int:
        """How many calls may be under way."""
        return int(self._value)

    def ended(self, seconds: float, *, in_use: int, overloaded: bool, now: float) -> None:
        """A call ended after so many seconds; `in_use` calls were under way, itself included; times are in seconds."""
        self._unshrinkable -= 1
        if overloaded:
            self._shrink(_WHEN_OVERLOADED)
            return
        if now >= self._measure_at:
            self._begin_measure(now)
        self._quickest = min(self._quickest, seconds)
        if self._before_measure:
            self._measure_calls -= 1
            if not self._measure_calls:
                self._value, self._before_measure, self._mean = self._before_measure, 0.0, 0.0
            return
        self._mean = seconds if not self._mean else self._mean + (seconds - self._mean) / max(2.0, self._value)
        if self._mean > _SLOW * self._quickest + _SLOW_SLACK:
            self._shrink(_WHEN_SLOW)
        elif self._mean <= _QUICK * self._quickest + _QUICK_SLACK and in_use >= self.now:
            self._value = min(self._most, self._value + (1.0 if self._doubles else 1.0 / self._value))

    def _begin_measure(self, now: float) -> None:
        self._measure_at = now + _MEASURE_EVERY_SECONDS
        self._quickest = float("inf")
        if self._value > _START:
            self._before_measure = self._value
            self._measure_calls = 2 * self.now  # those under way, and then as many that have met half of them
            self._value /= 2

    def _shrink(self, factor: float) -> None:
        """Once for all calls that were under way together."""
        self._doubles = False
        if self._unshrinkable <= 0:
            self._unshrinkable = self.now
            self._value = max(1.0, max(self._value, self._before_measure) * factor)
            self._before_measure = 0.0
