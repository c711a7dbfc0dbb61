"""Keeps lines that may come often from filling the diagnostics."""

import time
from collections.abc import Callable
from typing import Any

from .diagnostics import Diagnostics

_SECONDS = 10.0


class Sparingly:
    """Says whether a line should be written now: at most once in so many seconds.

    `left_out` is how often it was not, between the last two times that it was.
    """

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.left_out = 0
        self._seconds = seconds
        self._clock = clock
        self._last = float("-inf")
        self._asked = 0

    def due(self) -> bool:
        """Whether it is time; asking and being told so begins the next pause."""
        now = self._clock()
        if now - self._last < self._seconds:
            self._asked += 1
            return False
        self._last, self.left_out, self._asked = now, self._asked, 0
        return True

    def reset(self) -> None:
        """Let the next line be written whenever it comes."""
        self._last = float("-inf")


class SparingDiagnostics:
    """Writes a line at once, and while it comes again once in so many seconds, with the number of those `left_out`.

    Lines are the same where their sentence is, and what they are `about`.
    """

    def __init__(
        self, logger: Diagnostics, *, seconds: float = _SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._logger = logger
        self._seconds = seconds
        self._clock = clock
        self._gates: dict[tuple[str, str], Sparingly] = {}

    def info(self, sentence: str, *, about: str = "", **facts: Any) -> None:
        """Say what is as it should be."""
        self._say(self._logger.info, sentence, about, facts)

    def warning(self, sentence: str, *, about: str = "", **facts: Any) -> None:
        """Say what somebody should know."""
        self._say(self._logger.warning, sentence, about, facts)

    def exception(self, sentence: str, *, about: str = "", **facts: Any) -> None:
        """Say what has failed, with the exception that is handled now."""
        self._say(self._logger.exception, sentence, about, facts)

    def reset(self) -> None:
        """Whatever it was is over: write what comes next, whenever it comes."""
        self._gates.clear()

    def _say(self, say: Callable[..., None], sentence: str, about: str, facts: dict[str, Any]) -> None:
        gate = self._gates.get((sentence, about))
        if gate is None:
            gate = self._gates[sentence, about] = Sparingly(self._seconds, clock=self._clock)
        if gate.due():
            say(sentence, **facts, **({"left_out": gate.left_out} if gate.left_out else {}))
