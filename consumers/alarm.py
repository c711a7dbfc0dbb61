"""An alarm clock: one call at the earliest of the times that it was set to."""

import asyncio
from collections.abc import Callable


class Alarm:
    """Calls `ring` once, at the earliest time that it was `set` to since it last rang, or a little before that.

    Times are in the event loop's clock.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], object]) -> None:
        self._loop = loop
        self._ring = ring
        self._handle: asyncio.Handle | None = None
        self._at = 0.0

    def set(self, when: float) -> None:
        """Ring then, or earlier if it was set so."""
        if self._handle is not None:
            if self._at <= when:
                return
            self._handle.cancel()
        self._handle = self._loop.call_at(when, self._call)
        self._at = when  # uvloop's handle of a time that is now does not tell it

    def cancel(self) -> None:
        """Ring no more."""
        if self._handle is not None:
            self._handle.cancel()

    def _call(self) -> None:
        self._handle = None
        self._ring()
