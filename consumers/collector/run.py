"""Runs the collector consumer: forwards events, and answers those who run it."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from snowbus.bus.clock import now_ms
from snowbus.bus.collector.sender import Sender
from snowbus.bus.collector.target import targets_of
from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.log.interface import Log
from snowbus.bus.metrics import Metrics
from snowbus.bus.operations import Operations
from snowbus.bus.settings import Settings

from ..adaptive import Adaptive
from ..declare import Consumer, consumer
from ..receipts import CollectorState
from ..run import reason_not_ready, reason_stuck, run_with_operations
from ..runner import Runner
from .collectors import Collectors, Patience, State
from .delivery import Delivery
from .reporting import Reporter

_READ_AHEAD_EVENTS = 10_000
_SLOWLY = 6  # times the longest backoff, where only a change of configuration helps


async def run_collect(
    log: Log,
    settings: Settings,
    metrics: Metrics,
    *,
    ready: Callable[[str], None],
    begun: Callable[[], None] = lambda: None,
    stop: asyncio.Event,
) -> None:
    """Forward events to the collectors of the settings until `stop` is set, then drain and commit.

    `ready` is called with the address of /health, /ready and /metrics once they are served; neither the log nor the
    collectors need be there by then. `begun` is called once the group is joined. Raises ConfigurationError when a
    collector's URL, what is set for all of them, or the address cannot work.
    """
    async with AsyncExitStack() as stack:
        senders = [Sender(target, settings=settings) for target in targets_of(settings)]
        for sender in senders:
            if sender.headers_file is not None:
                metrics.watch_file(sender.headers_file)
            await stack.enter_async_context(sender)
        collectors = _collectors(senders, settings)
        reporter = Reporter(log, group=settings.group, states=lambda: _states(collectors))
        await stack.enter_async_context(reporter)
        delivery = Delivery(
            collectors, max_bytes=settings.collect_batch_bytes, metrics=metrics, receipts=reporter.pending
        )
        runner = Runner(
            log, _consumer(delivery, settings), metrics=metrics, drain_timeout=settings.collect_drain_timeout
        )
        operations = Operations(
            metrics, lambda: _reason_not_ready(log, runner, delivery), reason_not_alive=lambda: reason_stuck([runner])
        )
        await run_with_operations([runner], operations, settings.collect_listen, ready=ready, begun=begun, stop=stop)


def _collectors(senders: list[Sender], settings: Settings) -> Collectors:
    patience = Patience(
        first=settings.collect_backoff,
        maximum=settings.collect_backoff_max,
        failback=settings.collect_failback,
        configuration=_SLOWLY * settings.collect_backoff_max,
    )
    named = [(sender.name, sender) for sender in senders]
    return Collectors(named, patience, refusals=settings.collect_refusals, now=time.monotonic())


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
        backoff=min(settings.collect_backoff, settings.collect_backoff_max),
        backoff_max=settings.collect_backoff_max,
        timeout=(2 + len(settings.collector)) * settings.collect_timeout,
        max_in_flight=settings.collect_max_in_flight,
        buffer=settings.collect_max_in_flight + _READ_AHEAD_EVENTS,
    )
    return declare(delivery)


def _states(collectors: Collectors) -> list[CollectorState]:
    wall_ms = now_ms()
    return [_as_reported(state, wall_ms) for state in collectors.states(time.monotonic())]


def _as_reported(state: State, wall_ms: int) -> CollectorState:
    return CollectorState(
        url=state.name,
        state=state.state,
        since=wall_ms - round(1000 * state.seconds),
        error=state.reason,
        next_try=None if state.next_try_in is None else wall_ms + round(1000 * state.next_try_in),
    )


async def _reason_not_ready(log: Log, runner: Runner, delivery: Delivery) -> str:
    if delivery.refusal:
        return f"the collector refuses us: {delivery.refusal}"
    return await reason_not_ready(log, [runner])
