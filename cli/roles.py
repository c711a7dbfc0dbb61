"""Several roles in one process: started together, drained together, and all stopped when one of them fails."""

import asyncio
from collections.abc import Coroutine, Iterable
from functools import partial
from types import TracebackType
from typing import Any, Self

from snowbus.bus.log import Log
from snowbus.bus.metrics import Metrics
from snowbus.bus.settings import Settings
from snowbus.consumers.collector.run import run_collect
from snowbus.consumers.gateway.server import run_gateway
from snowbus.producers.ingest.app import run_ingest

from .running import Role, announce


class Roles:
    """Ingest, the gateway and (given a collector) the collector consumer, on one log.

    `addresses` tells where each role listens, once the `async with` block is entered, and is announced then: not when
    one of them cannot start. Leaving the block drains them.
    Raises what a role raises, for example ConfigurationError for an address that is taken.
    """

    def __init__(self, log: Log, settings: Settings) -> None:
        self.metrics = Metrics()
        self.metrics.watch_disk(log)
        self.addresses: dict[str, str] = {}
        self._log = log
        self._settings = settings
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        gateway = partial(run_gateway, ingest=lambda: self.addresses.get("ingest", ""))
        roles: dict[str, Role] = {"ingest": run_ingest, "gateway": gateway}
        if self._settings.collector:
            roles["collect"] = run_collect
        listening = {name: asyncio.Event() for name in roles}

        def ready(name: str, address: str) -> None:
            self.addresses[name] = address
            listening[name].set()

        self._tasks = [
            asyncio.create_task(
                role(self._log, self._settings, self.metrics, ready=partial(ready, name), stop=self._stop),
                name=f"snowbus-{name}",
            )
            for name, role in roles.items()
        ]
        try:
            await self._unless_one_fails(_all_set(listening.values()))
        except BaseException:
            await self._drain()
            raise
        for name, address in self.addresses.items():
            announce(name, address)
        return self

    async def until(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set. Raises what a role raises."""
        await self._unless_one_fails(stop.wait())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._drain()
        if error is None:
            for task in self._tasks:
                task.result()

    async def _unless_one_fails(self, waiting: Coroutine[Any, Any, object]) -> None:
        waiter = asyncio.create_task(waiting)
        try:
            await asyncio.wait({waiter, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in self._tasks:
                if task.done():
                    task.result()
        finally:
            waiter.cancel()

    async def _drain(self) -> None:
        self._stop.set()
        await asyncio.wait(self._tasks)
        for task in self._tasks:
            if not task.cancelled():
                task.exception()  # is seen by this, so that asyncio does not tell of those that fail with the first


async def _all_set(events: Iterable[asyncio.Event]) -> None:
    for event in events:
        await event.wait()
