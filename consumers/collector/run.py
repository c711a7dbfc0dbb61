"""Runs the collector consumer: forwards events, and answers those who run it."""

import asyncio
from collections.abc import Callable
from typing import Any

from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.log.interface import Log
from snowbus.bus.metrics import Metrics
from snowbus.bus.operations import Operations
from snowbus.bus.settings import Settings

from ..adaptive import Adaptive
from ..declare import Consumer, consumer
from ..run import reason_log_away, reason_stuck, run_with_operations
from ..runner import Runner
from .delivery import Delivery
from .reporting import Reporter
from .sender import Sender, collector_url

_READ_AHEAD_EVENTS = 10_000
_SLOWLY = 6  # times the longest backoff, where only a change of configuration helps


async def run_collect(
    log: Log, settings: Settings, metrics: Metrics, *, ready: Callable[[str], None], stop: asyncio.Event
) -> None:
    """Forward events to `settings.collector` until `stop` is set, then drain and commit.

    `ready` is called with the address of /health, /ready and /metrics once they are served; neither the log nor the
    collector need be there by then. Raises ConfigurationError when the collector's URL or the address cannot work.
    """
    url = collector_url(settings.collector)
    async with (
        Sender(url, connections=settings.collect_in_flight, timeout=settings.collect_timeout) as sender,
        Reporter(log, group=settings.group, states=tuple) as reporter,
    ):
        delivery = Delivery(
            sender,
            max_bytes=settings.collect_batch_bytes,
            configuration_wait=_SLOWLY * settings.collect_backoff_max,
            metrics=metrics,
            receipts=reporter.pending,
        )
        runner = Runner(
            log, _consumer(delivery, settings), metrics=metrics, drain_timeout=settings.collect_drain_timeout
        )
        await run_with_operations(
            [runner],
            Operations(
                metrics, lambda: _reason_not_ready(log, delivery), reason_not_alive=lambda: reason_stuck([runner])
            ),
            settings.collect_listen,
            ready=ready,
            stop=stop,
        )


def _consumer(delivery: Delivery, settings: Settings) -> Consumer[..., Any]:
    declare = consumer(
        EVENTS_TOPIC,
        group_id=settings.group,
        name="collector",
        batch=settings.collect_batch_events,
        batch_bytes=settings.collect_batch_bytes,
        batch_wait=settings.collect_linger,
        concurrency=Adaptive(settings.collect_in_flight),
        retries=None,
        backoff=settings.collect_backoff,
        backoff_max=settings.collect_backoff_max,
        timeout=2 * settings.collect_timeout,
        max_in_flight=settings.collect_max_in_flight,
        buffer=settings.collect_max_in_flight + _READ_AHEAD_EVENTS,
    )
    return declare(delivery)


async def _reason_not_ready(log: Log, delivery: Delivery) -> str:
    return f"the collector refuses us: {delivery.refusal}" if delivery.refusal else await reason_log_away(log)
