"""Runs async tests, and waits for what is about to happen."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(
    main: Coroutine[Any, Any, T],
    *,
    timeout: float = 60.0,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> T:
    """Run a coroutine to its end, in a loop of its own, with an upper bound on its time."""

    async def bounded() -> T:
        async with asyncio.timeout(timeout):
            return await main

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(bounded())


async def eventually(check: Callable[[], Any], *, timeout: float = 10.0, every: float = 0.01) -> Any:
    """The first true answer of `check` (plain or async); fails with its last answer after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        answer = check()
        if isinstance(answer, Awaitable):
            answer = await answer
        if answer:
            return answer
        assert time.monotonic() < deadline, f"still {answer!r} after {timeout} s"
        await asyncio.sleep(every)


def soon(check: Callable[[], Any], *, timeout: float = 20.0, every: float = 0.02) -> Any:
    """As `eventually`, for tests that drive other processes and run no loop of their own."""
    deadline = time.monotonic() + timeout
    while not (answer := check()):
        assert time.monotonic() < deadline, f"still {answer!r} after {timeout} s"
        time.sleep(every)
    return answer
