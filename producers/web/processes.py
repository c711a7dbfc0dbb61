"""What threads in the background need of their process: to end before it does, and to begin anew after a fork."""

import os
import threading
import weakref
from collections.abc import Callable
from typing import Protocol

_END_SECONDS = 5.0


class Background(Protocol):
    """What has a thread."""

    def begin_anew(self) -> None:
        """Forget the thread: this is a child, and the thread stayed with its parent."""

    def end(self, timeout: float) -> None:
        """Give what waits so many seconds."""


_backgrounds: "weakref.WeakSet[Background]" = weakref.WeakSet()


def look_after(background: Background) -> None:
    """Tell it when the process is forked, and when it ends."""
    _backgrounds.add(background)


def _after_fork_in_child() -> None:
    for background in list(_backgrounds):
        background.begin_anew()


def _before_exit() -> None:
    for background in list(_backgrounds):
        background.end(_END_SECONDS)


# Not `atexit`: by then the threads of emitters have ended, and take nothing any more. This is how concurrent.futures
# ends its threads, too.
_at_end: Callable[[Callable[[], None]], None] = threading._register_atexit  # type: ignore[attr-defined]  # noqa: SLF001
_at_end(_before_exit)
os.register_at_fork(after_in_child=_after_fork_in_child)
