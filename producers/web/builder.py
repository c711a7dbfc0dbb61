"""Calls a builder of contexts so that nothing it does harms the request or its events."""

import asyncio
import concurrent.futures
import contextvars
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from snowbus.bus.diagnostics import Diagnostics
from snowbus.bus.sparingly import Sparingly

from ..contexts import Context, ContextError, Entity

logger = Diagnostics(__name__)

_WARN_SECONDS = 10.0
_RESTS = 10.0


class Surroundings(NamedTuple):
    """Gives the loop that async builders of a request run in; and what the thread of a plain one does at its end."""

    loop: Callable[[], asyncio.AbstractEventLoop]
    clean_up: Callable[[], None]


class Builder:
    """One builder of one app. What fails, takes too long or makes nonsense makes no entity, and is logged now and then.

    After a call that took too long it rests until that has ended, and ten times as long as a call may take.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self._late = 0
        self._rests_until = 0.0
        self._warnings = Sparingly(_WARN_SECONDS)

    def build(self, request: Any, around: Surroundings) -> list[Entity]:
        """Its entities, for who is in a thread that may wait."""
        if self._is_resting():
            return []
        try:
            if self.context.timeout is None and not self.context.is_async:
                return self.context.entities(self.context(request))
            future = self._begin(request, around)
            concurrent.futures.wait([future], self.context.timeout)
            return self._finish(future)
        except Exception as error:  # noqa: BLE001 - it is the app's own code, and the event comes first
            self.leave_out(_reason(error))
            return []

    async def abuild(self, request: Any, around: Surroundings) -> list[Entity]:
        """Its entities, for who is in the loop."""
        if self._is_resting():
            return []
        try:
            if self.context.timeout is None and not self.context.is_async:
                return self.context.entities(self.context(request))
            future = self._begin(request, around)
            waited_for = asyncio.wrap_future(future)
            waited_for.add_done_callback(lambda done: done.cancelled() or done.exception())  # `future` is what is asked
            await asyncio.wait([waited_for], timeout=self.context.timeout)
            return self._finish(future)
        except Exception as error:  # noqa: BLE001 - as above
            self.leave_out(_reason(error))
            return []

    def leave_out(self, reason: str) -> None:
        """Say now and then that an entity is missing."""
        if self._warnings.due():
            name = getattr(self.context.function, "__name__", repr(self.context.function))
            logger.warning("no context", schema=self.context.schema, builder=name, reason=reason)

    def _begin(self, request: Any, around: Surroundings) -> "concurrent.futures.Future[Any]":
        if self.context.is_async:
            return asyncio.run_coroutine_threadsafe(self.context(request), around.loop())
        call = partial(contextvars.copy_context().run, self.context, request)
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        # A daemon, unlike the threads of the library's pools: one that hangs must not keep the process from ending.
        threading.Thread(
            target=_settle, args=(future, call, around.clean_up), name="snowbus-context", daemon=True
        ).start()
        return future

    def _finish(self, future: "concurrent.futures.Future[Any]") -> list[Entity]:
        if future.done():
            return self.context.entities(future.result())
        self._late += 1
        self._rests_until = time.monotonic() + _RESTS * (self.context.timeout or 0.0)
        future.add_done_callback(self._in_the_end)
        if self.context.is_async:
            future.cancel()
        raise ContextError(self.context.schema, f"the builder did not return within {self.context.timeout:g} seconds")

    def _is_resting(self) -> bool:
        return self._late > 0 or time.monotonic() < self._rests_until

    def _in_the_end(self, _: object) -> None:
        self._late -= 1


def _reason(error: Exception) -> str:
    return error.reason if isinstance(error, ContextError) else f"{type(error).__name__}: {error}"


def _settle(future: "concurrent.futures.Future[Any]", call: Callable[[], Any], clean_up: Callable[[], None]) -> None:
    future.set_running_or_notify_cancel()
    try:
        future.set_result(call())
    except Exception as error:  # noqa: BLE001 - the future's, as with any executor
        future.set_exception(error)
    except BaseException as error:  # noqa: BLE001 - as sys.exit(), which would end the view's thread
        future.set_exception(RuntimeError(repr(error)))
    finally:
        clean_up()
