"""How long to wait before the next try: exponential, with full jitter, capped."""

import random
from collections.abc import Callable

_LARGEST_EXPONENT = 60


def wait_before_retry(failures: int, first: float, *, maximum: float, draw: float) -> float:
    """Seconds to wait after so many failures (from 1 on): from none to `first` doubled with each, as `draw` (0 to 1)
    says, and `maximum` at most.
    """
    return min(maximum, first * 2.0 ** min(failures - 1, _LARGEST_EXPONENT)) * draw


class Backoff:
    """Waits that double from `first` to `maximum` seconds, each drawn evenly from nothing to that much.

    Full jitter keeps many instances that failed together from coming back together. `draw` gives numbers from 0 to 1.
    """

    def __init__(self, first: float, *, maximum: float, draw: Callable[[], float] = random.random) -> None:
        self._first = first
        self._maximum = maximum
        self._draw = draw
        self.failures = 0

    def next_wait(self) -> float:
        """Seconds to wait after one more failure."""
        self.failures += 1
        return wait_before_retry(self.failures, self._first, maximum=self._maximum, draw=self._draw())

    def reset(self) -> None:
        """Begin from `first` again, after a success."""
        self.failures = 0
