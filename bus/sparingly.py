"""Keeps a line that may come often from filling the diagnostics."""

import time
from collections.abc import Callable


class Sparingly:
    """Says whether a line should be written now: at most once in so many seconds."""

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._last = float("-inf")

    def due(self) -> bool:
        """Whether it is time; asking and being told so begins the next pause."""
        now = self._clock()
        if now - self._last < self._seconds:
            return False
        self._last = now
        return True

    def reset(self) -> None:
        """Let the next line be written whenever it comes."""
        self._last = float("-inf")
