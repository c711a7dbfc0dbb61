"""Where an emitter's events go: what each destination does, and what it says came of it.

Verdicts are those on a collector's answers, which fit a log and a file as well.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from snowbus.bus.collector.verdicts import Verdict

from .tracked import Tracked

Item = TypeVar("Item")


class Destination(Protocol, Generic[Item]):
    """Takes events, in one event loop. `async with` opens it, and raises SnowbusError while that cannot be."""

    system: str
    """What it is as a messaging system, in spans."""

    name: str
    """What it is called there, without anything secret."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def prepare(self, event: Tracked) -> Item:
        """What is sent of an event. Raises PayloadError, or whatever else, for one that it will never take."""

    def requests(self, items: Sequence[Item]) -> list[int]:
        """How many of the items go together in each request, in their order."""

    async def send(self, items: Sequence[Item]) -> Verdict:
        """Send items together, and return once they are durable there, or why they are not."""

    async def keep(self, event: Tracked, reason: str) -> bool:
        """Keep an event there that it will never take; False where it has no place for such."""
