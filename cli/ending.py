"""Ends this process by force when it has been asked to end and something in it hangs."""

import contextlib
import os
import sys
import threading
import time
from queue import Empty, SimpleQueue

from snowbus.bus.diagnostics import Diagnostics

logger = Diagnostics(__name__)

_AFTER_DRAINING_SECONDS = 10.0
_SAYING_SECONDS = 1.0


def deadline_of(draining: float) -> float:
    """How long a stop may take at all, in seconds, where draining may take so many of them."""
    return draining + _AFTER_DRAINING_SECONDS


class Ending:
    """Ends this process once it is asked to, from a thread of its own, so that neither a blocked loop nor a thread that
    is waited for can keep it. Nobody waits for that thread: a process that ends by itself does so at once.
    """

    def __init__(self) -> None:
        self._asked: SimpleQueue[tuple[float, float, int]] = SimpleQueue()
        threading.Thread(target=self._watch, name="snowbus-ending", daemon=True).start()

    def within(self, seconds: float, code: int) -> None:
        """End the process with this exit code if it is there in so many seconds, or when it was asked to before that.

        May be called in a signal handler.
        """
        self._asked.put((time.monotonic() + seconds, seconds, code))

    def _watch(self) -> None:
        first = self._asked.get()
        with contextlib.suppress(Empty):
            while True:
                first = min(first, self._asked.get(timeout=max(0.0, first[0] - time.monotonic())))
        _, seconds, code = first
        end_process(code, after=seconds)


def end_process(code: int, *, after: float) -> None:
    """End this process with an exit code, and say that it has not ended by itself in these seconds."""
    saying = threading.Thread(target=_say, args=(code, after), daemon=True)
    saying.start()
    saying.join(_SAYING_SECONDS)  # whoever hangs may hold the lock of the diagnostics
    os._exit(code)


def _say(code: int, after: float) -> None:
    logger.error("did not end in time; ended by force", seconds=round(after, 1), exit_code=code)
    sys.stdout.flush()
