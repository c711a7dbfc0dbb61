"""Calls a consumer's function: an async one in the event loop, a plain one in a thread of its own."""

from collections.abc import Sequence

from .declare import Consumer
from .dedupe import DedupeStore
from .record import Record
from .threads import HandlerThreads


class Calls:
    """How one consumer's function is called, and where it is remembered which events it has handled, if anywhere."""

    def __init__(self, consumer: Consumer[..., object], store: DedupeStore | None) -> None:
        self.store = store
        self._function = consumer.function
        self._threads = None
        if not consumer.is_async:
            self._threads = HandlerThreads(consumer.most_calls, name=f"snowbus-{consumer.name}")

    async def call(self, argument: Record | Sequence[Record]) -> None:
        """Call the function. Raises what it raises."""
        if self._threads is not None:
            await self._threads.call(self._function, argument)
        else:
            await self._function(argument)  # type: ignore[misc]

    async def close(self) -> None:
        """Let go of the threads and of the store."""
        if self._threads is not None:
            self._threads.close()
        if self.store is not None:
            await self.store.close()
