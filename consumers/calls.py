"""Calls a consumer's function: an async one in the event loop, a plain one in a thread of its own."""

import asyncio
import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

from snowbus.bus import tracing
from snowbus.bus.errors import ConfigurationError

from .declare import Consumer, Lifespan
from .dedupe import DedupeStore
from .outcomes import InterruptedCallError, describe
from .record import Record
from .threads import HandlerThreads


class Calls:
    """How one consumer's function is called, with what its lifespan gives, and where it is remembered which events it
    has handled, if anywhere. `system` is what spans call the log.
    """

    def __init__(
        self, consumer: Consumer[..., object], store: DedupeStore | None, *, system: str = tracing.SYSTEM
    ) -> None:
        self.store = store
        self._system = system
        self._consumer = consumer
        self._function: Callable[[Any], Any] = consumer.function
        self._lifespan = AsyncExitStack()
        self._threads = None
        if not consumer.is_async:
            self._threads = HandlerThreads(consumer.most_calls, name=f"snowbus-{consumer.name}")

    async def open(self) -> None:
        """Enter the consumer's lifespan, if it has one. Raises ConfigurationError when that fails."""
        consumer = self._consumer
        if consumer.lifespan is None:
            return
        try:
            given = await _enter(self._lifespan, consumer.lifespan)
        except (Exception, SystemExit) as error:
            raise ConfigurationError(f"consumer {consumer.name} cannot begin: {describe(error)}") from error
        self._function = lambda argument: consumer.function(argument, given)

    async def call(self, argument: Record | Sequence[Record]) -> None:
        """Call the function. Raises what it raises, and TypeError when what it returned is a generator."""
        if not tracing.is_used():
            await self._call(argument)
            return
        records = [argument] if isinstance(argument, Record) else argument
        traces = (record.traceparent for record in records)
        name = f"process {records[0].topic}"
        with tracing.span(name, traces, kind="CONSUMER", attributes=lambda: self._told_of(records)):
            await self._call(argument)

    async def _call(self, argument: Record | Sequence[Record]) -> None:
        if self._threads is not None:
            result = await self._threads.call(self._function, argument)
        else:
            result = await self._function(argument)
        if result is not None:
            await self._see_through(result)

    def _told_of(self, records: Sequence[Record]) -> tracing.Attributes:
        """What a span says of a call."""
        first = records[0]
        told: tracing.Attributes = {
            "messaging.system": self._system,
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": first.topic,
            "messaging.consumer.group.name": self._consumer.group_id,
        }
        if self._consumer.batch is not None:
            return {**told, "messaging.batch.message_count": len(records)}
        return {
            **told,
            "messaging.destination.partition.id": str(first.partition),
            "messaging.kafka.offset": first.offset,
        }

    async def _see_through(self, result: object) -> None:
        """Await what a function returned, if it can be: a plain decorator round an async handler returns a coroutine,
        in which everything is still to be done.
        """
        if inspect.isgenerator(result) or inspect.isasyncgen(result):
            raise TypeError("the handler returned a generator, of which nothing has run; a handler cannot yield")
        if not inspect.isawaitable(result):
            return
        if self._threads is None:
            await result
            return
        timeout = self._consumer.timeout
        deadline = asyncio.timeout(timeout)  # our own: nobody ends the call of a plain function
        try:
            async with deadline:
                await result
        except TimeoutError:
            if not deadline.expired():
                raise
            raise InterruptedCallError(f"the handler took longer than {timeout:g} s") from None

    async def close(self) -> None:
        """Let go of the threads and of the store, and leave the lifespan. Raises what the lifespan raises."""
        if self._threads is not None:
            self._threads.close()
        if self.store is not None:
            await self.store.close()
        await self._lifespan.aclose()


async def _enter(stack: AsyncExitStack, lifespan: Lifespan) -> Any:
    manager = lifespan()
    if isinstance(manager, AbstractAsyncContextManager):
        return await stack.enter_async_context(manager)
    return stack.enter_context(manager)
