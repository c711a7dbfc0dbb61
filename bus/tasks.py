"""Ends tasks that take their cancellation for that of something they wait for, and keeps work from being cut off."""

import asyncio
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from typing import Any

_AGAIN_SECONDS = 0.1


async def cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks until all have ended, again and again; what they end with is dropped."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        ended, left = await asyncio.wait(left, timeout=_AGAIN_SECONDS)
        await asyncio.gather(*ended, return_exceptions=True)


async def to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Await something that must not be left half done; a cancellation that comes meanwhile is raised afterwards."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    finally:
        while not task.done():
            with suppress(asyncio.CancelledError):  # one more: the first is on its way already
                await asyncio.wait({task})
