"""Asks the same about many things side by side, a bounded number at once."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

A = TypeVar("A")
T = TypeVar("T")


async def side_by_side(ask: Callable[[A], Awaitable[T]], arguments: Iterable[A], *, at_once: int = 32) -> list[T]:
    """The answers, in the order of the arguments. Raises what one of them raises first, and gives the others up."""
    turns = asyncio.Semaphore(at_once)

    async def ask_one(argument: A) -> T:
        async with turns:
            return await ask(argument)

    try:
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(ask_one(argument)) for argument in arguments]
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
    return [each.result() for each in asked]
