"""Threads for handlers that are plain functions; they are daemons, so that one that hangs does not keep the process."""

import asyncio
import contextlib
import contextvars
import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple


class _Call(NamedTuple):
    function: Callable[[], Any]
    future: asyncio.Future[Any]


class HandlerThreads:
    """So many threads, started when they are needed; close it to let them end."""

    def __init__(self, count: int, *, name: str) -> None:
        self._count = count
        self._name = name
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._started = 0

    async def call(self, function: Callable[[Any], Any], argument: Any) -> Any:
        """Call a function in one of the threads, with the context of here."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        context = contextvars.copy_context()
        self._calls.put(_Call(partial(context.run, function, argument), future))
        if self._started < self._count:
            self._started += 1
            threading.Thread(target=self._run, args=(loop,), name=f"{self._name}-{self._started}", daemon=True).start()
        return await future

    def close(self) -> None:
        """Let the threads end, each after the call it is in."""
        for _ in range(self._started):
            self._calls.put(None)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while (call := self._calls.get()) is not None:
            result: Any = None
            error: BaseException | None = None
            try:
                result = call.function()
            except BaseException as raised:  # noqa: BLE001 - it is the caller's
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop has ended without waiting
                loop.call_soon_threadsafe(_settle, call.future, result, error)


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    elif isinstance(error, StopIteration):  # which no future takes
        future.set_exception(RuntimeError("the handler raised StopIteration"))
    else:
        future.set_exception(error)
