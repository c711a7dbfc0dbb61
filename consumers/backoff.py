"""How long to wait before the next try: exponential, with full jitter, capped."""

import random
from collections.abc import Callable

_LARGEST_EXPONENT = 60


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
        ceiling = min(self._maximum, self._first * 2.0 ** min(self.failures, _LARGEST_EXPONENT))
        self.failures += 1
        return ceiling * self._draw()

    def reset(self) -> None:
        """Begin from `first` again, after a success."""
        self.failures = 0
