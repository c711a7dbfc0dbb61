"""An executor that makes a thread for each call, for the calls of a worker that would hold up its loop."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Thread
from typing import Any


class ThreadPerCall(ThreadPoolExecutor):
    """An executor that still works when the main thread has ended, which is when the pools of the library refuse to."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: set[Thread] = set()

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See Executor."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()

        def call() -> None:
            try:
                future.set_result(function(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - the future's, as with any executor
                future.set_exception(error)
            finally:
                self._calls.discard(thread)

        thread = Thread(target=call, name="snowbus-emitter-call", daemon=True)
        self._calls.add(thread)
        try:
            thread.start()
        except RuntimeError:  # none can be started any more: better hold up the loop than fail
            call()
        return future

    def join(self, seconds: float) -> None:
        """Wait for the calls that are under way, each for so many seconds at most."""
        for thread in list(self._calls):
            thread.join(seconds)
