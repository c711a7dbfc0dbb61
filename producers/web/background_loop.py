"""An event loop in a thread, for what is async in an app that is not."""

import asyncio
import concurrent.futures
import contextlib
import threading
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
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop, running."""
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="snowbus-background-loop", daemon=True
                )
                self._thread.start()
            return self._loop

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> "concurrent.futures.Future[T]":
        """Run a coroutine in the loop, with the context of here."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def end(self, timeout: float) -> None:
        """Close what is to be closed, in so many seconds at most, and end the loop."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._closing(), loop).result(timeout)
        loop.call_soon_threadsafe(loop.stop)
        self._thread.join(timeout)
        if not self._thread.is_alive():
            loop.close()
