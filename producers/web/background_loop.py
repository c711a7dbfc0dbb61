"""An event loop in a thread, for what is async in an app that is not."""

import asyncio
import concurrent.futures
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class BackgroundLoop:
    """A loop that starts when it is first needed; `closing` is run in it before it ends."""

    def __init__(self, *, closing: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._closing = closing
        self.begin_anew()

    def begin_anew(self) -> None:
        """Begin without a loop."""
        self._lock = threading.RLock()  # the garbage collector may come in the middle, and submit something
        self._began: tuple[asyncio.AbstractEventLoop, threading.Thread] | None = None
        self._running: set[concurrent.futures.Future[Any]] = set()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> "concurrent.futures.Future[T]":
        """Run a coroutine in the loop, with the context of here."""
        with self._lock:
            self._began = self._began or _begin()
            future = asyncio.run_coroutine_threadsafe(coroutine, self._began[0])
            self._running.add(future)
        future.add_done_callback(self._running.discard)
        return future

    def end(self, timeout: float) -> None:
        """Give what runs in the loop, and what is to be closed, so many seconds at most, and end the loop.

        What is submitted meanwhile gets another one: threads go on while the process ends.
        """
        until = time.monotonic() + timeout
        with self._lock:
            began, self._began = self._began, None
            running = list(self._running)
        if began is None:
            return
        loop, thread = began
        for late in concurrent.futures.wait(running, timeout).not_done:
            late.cancel()
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._closing(), loop).result(max(0.0, until - time.monotonic()))
        loop.call_soon_threadsafe(loop.stop)
        thread.join(max(0.0, until - time.monotonic()))
        if not thread.is_alive():
            loop.close()


def _begin() -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="snowbus-background-loop", daemon=True)
    thread.start()
    return loop, thread
