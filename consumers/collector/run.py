"""Runs the collector consumer: forwards events, and answers those who run it."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

from snowbus.bus.errors import LogError
from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.http_server import serve_http
from snowbus.bus.log.interface import Log
from snowbus.bus.metrics import Metrics
from snowbus.bus.operations import Operations, operations_app
from snowbus.bus.settings import Settings

from .forwarder import Forwarder
from .sender import Sender
from .target import targets_of

_LOG_ANSWERS_SECONDS = 3.0


async def run_collect(
    log: Log, settings: Settings, metrics: Metrics, *, ready: Callable[[str], None], stop: asyncio.Event
) -> None:
    """Forward events to the collectors of the settings until `stop` is set, then drain and commit.

    `ready` is called with the address of /health, /ready and /metrics once they are served; neither the log nor the
    collectors need be there by then. Raises ConfigurationError when a collector's URL, what is set for all of them, or
    the address cannot work.
    """
    async with AsyncExitStack() as stack:
        senders = [Sender(target, settings=settings) for target in targets_of(settings)]
        for sender in senders:
            await stack.enter_async_context(sender)
        forwarder = Forwarder(log, senders, settings=settings, metrics=metrics)
        operations = Operations(metrics, lambda: _reason_not_ready(log, forwarder))
        over = asyncio.Event()
        serving = asyncio.create_task(
            serve_http(operations_app(operations), settings.collect_listen, ready=ready, stop=over),
            name="snowbus-collect-http",
        )
        forwarding = asyncio.create_task(forwarder.run(stop), name="snowbus-collect")
        try:
            await asyncio.wait({serving, forwarding}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            forwarding.cancel()
            await asyncio.wait({forwarding})
            over.set()
            await asyncio.wait({serving})
        for task in (serving, forwarding):
            if not task.cancelled():
                task.result()


async def _reason_not_ready(log: Log, forwarder: Forwarder) -> str:
    outage = forwarder.outage
    if outage is not None and outage.configuration:
        return f"the collector refuses us: {outage.reason}"
    try:
        async with asyncio.timeout(_LOG_ANSWERS_SECONDS):
            await log.end_offsets(EVENTS_TOPIC)
    except TimeoutError:
        return "the log does not answer in time"
    except LogError as error:
        return f"the log does not answer: {error}"
    return ""
