"""What happens to emitters when the process forks, and when the interpreter ends.

A fork copies one thread and whatever the others hold: locks, connections, files of SQLite, whose locks would be taken
for the child's own. So workers leave for a fork, and come back in the parent; in the child they begin empty.
"""

# Those two take locks of theirs for a fork. They must have registered before us: then theirs are taken once the workers
# have left, who may wait for them.
import concurrent.futures.thread  # noqa: F401
import logging  # noqa: F401
import os
import sys
import threading
from typing import Protocol

_SENDING_SECONDS = 0.5
_LEAVING_SECONDS = 5.0


class Running(Protocol):
    """An emitter with a worker, as it is seen from here."""

    def before_fork(self, seconds: float) -> None:
        """Tell the worker to leave within so many seconds, and do not wait for it."""

    def wait_for_fork(self, seconds: float) -> None:
        """Wait until it has left, for so many seconds at most."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def after_fork_in_child(self) -> None:
        """Begin empty."""

    def at_exit(self) -> None:
        """Send what waits, or keep it: the interpreter ends."""

    def wait_at_exit(self) -> None:
        """Wait until that is done, no longer than it may take."""


lock = threading.RLock()
"""Held by whoever starts or closes an emitter; a fork waits for them."""

STARTS_THREADS_TO_THE_END = sys.version_info[:3] not in ((3, 12, 0), (3, 12, 1))
"""Whether Python still starts threads when the main one has ended and others go on; those two versions do not."""

_running: set[Running] = set()
_watching = 0


def is_over() -> bool:
    """Whether the interpreter ends, and waits for threads no more: what is tracked now is by handlers of atexit."""
    return not (threading.main_thread().is_alive() or any(map(_outlives_main, threading.enumerate())))


def began(emitter: Running) -> None:
    """An emitter has a worker now; called with the lock."""
    global _watching  # noqa: PLW0603 - one thread a process
    _running.add(emitter)
    if _watching != os.getpid():
        _watching = os.getpid()
        # Not a daemon: the interpreter waits for it when it ends, and only until then can threads be started. Workers
        # are daemons, so that one that hangs in a callback does not keep the process from ending.
        threading.Thread(target=_watch, name="snowbus-emitters-watch", daemon=False).start()


def ended(emitter: Running) -> None:
    """It has none any more; called without the lock, for which a fork that waits for the worker has no time."""
    _running.discard(emitter)


def _watch() -> None:
    # atexit comes too late: by then no thread can be started; and it is not called in multiprocessing's children.
    threading.main_thread().join()
    me = threading.current_thread()
    while others := [each for each in threading.enumerate() if each is not me and _outlives_main(each)]:
        for thread in others:
            thread.join()
    emitters = list(_running)
    for emitter in emitters:
        emitter.at_exit()
    for emitter in emitters:
        emitter.wait_at_exit()


def _outlives_main(thread: threading.Thread) -> bool:
    """Whether a thread goes on when the main one has ended, and may track as it does."""
    return not (thread.daemon or thread is threading.main_thread())


def _before_fork() -> None:
    lock.acquire()
    for emitter in list(_running):
        emitter.before_fork(_SENDING_SECONDS)
    for emitter in list(_running):
        emitter.wait_for_fork(_LEAVING_SECONDS)


def _after_fork_in_parent() -> None:
    for emitter in list(_running):
        emitter.after_fork_in_parent()
    lock.release()


def _after_fork_in_child() -> None:
    global lock  # noqa: PLW0603 - a server that forks in C may have left it with another thread
    lock = threading.RLock()
    for emitter in list(_running):
        emitter.after_fork_in_child()
    _running.clear()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
