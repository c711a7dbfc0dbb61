"""Calls the app's own functions, for contexts and user ids, so that nothing they do harms a request or its events."""

import asyncio
import concurrent.futures
import contextvars
import inspect
import threading
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from snowbus.bus.diagnostics import Diagnostics
from snowbus.bus.sparingly import SparingDiagnostics

from ..contexts import Context, ContextError, Entity, is_async_function

logger = Diagnostics(__name__)

T = TypeVar("T")

_RESTS = 10.0
_USER_ID_SECONDS = 1.0


class Surroundings(NamedTuple):
    """What runs async functions of a request, and how they are called there; and what the thread of a plain one does at
    its end.
    """

    run: Callable[[Coroutine[Any, Any, Any]], "concurrent.futures.Future[Any]"]
    acall: "ACall"
    clean_up: Callable[[], None]


ACall = Callable[[Callable[[Any], Any], Any], Coroutine[Any, Any, Any]]
"""Calls an async function with a request."""


class AppFunction(Generic[T]):
    """A function that is called with requests. What fails, takes too long or makes nonsense gives `nothing`.

    That something is `missing` is logged now and then. After a call that took longer than `timeout` it rests until that
    has ended, and ten times as long. A plain one `is_inline` when it runs in the view's own thread, where there is one.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        *,
        read: Callable[[Any], T],
        nothing: T,
        timeout: float | None,
        is_inline: bool,
        missing: str,
        **facts: str,
    ) -> None:
        self.is_async = is_async_function(function)
        self._function = function
        self._read = read
        self._nothing = nothing
        self._timeout = timeout
        self._is_inline = is_inline
        self._missing = missing
        self._facts = facts
        self._late = 0
        self._rests_until = 0.0
        self._diagnostics = SparingDiagnostics(logger)

    def call(self, request: Any, around: Surroundings) -> T:
        """What it gives, for who is in a thread that may wait."""
        if self._is_resting():
            return self._nothing
        try:
            if self._is_inline and not self.is_async and not is_in_a_loop():
                return self._read(self._function(request))
            future = self._begin(request, around)
            concurrent.futures.wait([future], self._timeout)
            return self._finish(future)
        except Exception as error:  # noqa: BLE001 - it is the app's own code, and the event comes first
            self.leave_out(_reason(error))
            return self._nothing

    async def acall(self, request: Any, around: Surroundings) -> T:
        """What it gives, for who is in the loop."""
        if self._is_resting():
            return self._nothing
        try:
            future = self._begin(request, around)
            waited_for = asyncio.wrap_future(future)
            waited_for.add_done_callback(lambda done: done.cancelled() or done.exception())  # `future` is what is asked
            await asyncio.wait([waited_for], timeout=self._timeout)
            return self._finish(future)
        except Exception as error:  # noqa: BLE001 - as above
            self.leave_out(_reason(error))
            return self._nothing

    def leave_out(self, reason: str) -> None:
        """Say now and then that something is missing."""
        name = getattr(self._function, "__name__", repr(self._function))
        self._diagnostics.warning(self._missing, function=name, reason=reason, **self._facts)

    def _begin(self, request: Any, around: Surroundings) -> "concurrent.futures.Future[Any]":
        if self.is_async:
            return around.run(_without_exit(around.acall(self._function, request)))
        call = partial(contextvars.copy_context().run, self._function, request)
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        # A daemon, unlike the threads of the library's pools: one that hangs must not keep the process from ending.
        threading.Thread(
            target=_settle, args=(future, call, around.clean_up), name="snowbus-app-function", daemon=True
        ).start()
        return future

    def _finish(self, future: "concurrent.futures.Future[Any]") -> T:
        if future.done():
            return self._read(future.result())
        self._late += 1
        self._rests_until = time.monotonic() + _RESTS * (self._timeout or 0.0)
        future.add_done_callback(self._in_the_end)
        if self.is_async:
            future.cancel()
        raise TimeoutError(f"it did not return within {self._timeout:g} seconds")

    def _is_resting(self) -> bool:
        return self._late > 0 or time.monotonic() < self._rests_until

    def _in_the_end(self, _: object) -> None:
        self._late -= 1


class Builder(AppFunction[list[Entity]]):
    """One builder of one app."""

    def __init__(self, context: Context) -> None:
        super().__init__(
            context.function,
            read=context.entities,
            nothing=[],
            timeout=context.timeout,
            is_inline=context.timeout is None,
            missing="no context",
            schema=context.schema,
        )
        self.context = context


class UserId(AppFunction[str]):
    """The function of one app that knows the user of a request; "" where there is none."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__(
            function,
            read=_user_id,
            nothing="",
            timeout=_USER_ID_SECONDS,
            is_inline=True,
            missing="no user id",
        )


def is_in_a_loop() -> bool:
    """Whether this thread runs a loop, which must not wait."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _user_id(made: Any) -> str:
    if inspect.iscoroutine(made):
        made.close()
        raise TypeError("it returned a coroutine; declare it with `async def`")
    return "" if made is None else str(made)


def _reason(error: Exception) -> str:
    return error.reason if isinstance(error, ContextError) else f"{type(error).__name__}: {error}"


async def _without_exit(coroutine: Coroutine[Any, Any, T]) -> T:
    """The coroutine, but that what ends it does not end the loop, and with it the server."""
    try:
        return await coroutine
    except SystemExit as error:
        raise RuntimeError(repr(error)) from None


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
