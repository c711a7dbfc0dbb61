"""An event loop in a thread of its own, for servers that a test's thread drives."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """Runs from the start to `close()`; every method may be called from the test's thread."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, main: Coroutine[Any, Any, T], *, timeout: float = 10.0) -> T:
        """What a coroutine returns that runs in the loop. Raises what it raises, and TimeoutError."""
        return asyncio.run_coroutine_threadsafe(main, self._loop).result(timeout)

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Call something in the loop, without waiting for it."""
        self._loop.call_soon_threadsafe(callback)

    def close(self) -> None:
        """End the tasks that are left, and the loop. Whatever listened has been closed before."""
        self.run(_end_tasks())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _end_tasks() -> None:
    # A task that is cancelled before its first step closes nothing: a connection that was accepted just now is given
    # the turns of the loop in which its task begins; and one that is closed, those in which its socket is closed.
    await _turns()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await _turns()


async def stop_listening(server: asyncio.Server) -> None:
    """Close a server. Connections that are open stay so."""
    # What was accepted, but has no transport when an asyncio server closes, would never be closed.
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        loop.remove_reader(listening.fileno())
    await _turns()
    server.close()


async def _turns() -> None:
    """Let the loop turn a few times, until connections that were accepted before have their tasks."""
    for _ in range(5):
        await asyncio.sleep(0)
