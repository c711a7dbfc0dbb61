"""Runs consumers: several on one log, and answers those who run them."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any

from snowbus.bus.http_server import serve_http
from snowbus.bus.log.interface import Log
from snowbus.bus.metrics import Metrics
from snowbus.bus.operations import Operations, operations_app, reason_unanswered
from snowbus.bus.settings import Settings

from .declare import Consumer
from .runner import Runner


async def run_consume(
    consumers: Sequence[Consumer[..., Any]],
    log: Log,
    settings: Settings,
    metrics: Metrics,
    *,
    ready: Callable[[str], None],
    begun: Callable[[], None],
    stop: asyncio.Event,
) -> None:
    """Run consumers until `stop` is set, then drain and commit.

    `ready` is called with the address of /health, /ready and /metrics once they are served, `begun` once every consumer
    has entered its lifespan and joined its group. /health says 503 while a handler is stuck. Raises ConfigurationError
    when a topic does not exist, a lifespan fails to begin or the address cannot work.
    """
    runners = [
        Runner(log, consumer, metrics=metrics, drain_timeout=settings.consume_drain_timeout) for consumer in consumers
    ]
    operations = Operations(
        metrics, lambda: reason_not_ready(log, runners), reason_not_alive=lambda: reason_stuck(runners)
    )
    await run_with_operations(runners, operations, settings.consume_listen, ready=ready, begun=begun, stop=stop)


async def run_with_operations(
    runners: Sequence[Runner],
    operations: Operations,
    listen: str,
    *,
    ready: Callable[[str], None],
    begun: Callable[[], None] = lambda: None,
    stop: asyncio.Event,
) -> None:
    """Run until `stop` is set, or one of them fails; then drain. /health, /ready and /metrics are served to the end.

    `ready` is called first, `begun` once every runner has begun.
    """
    over, ending, served = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def serves(address: str) -> None:
        ready(address)
        served.set()

    serving = asyncio.create_task(
        serve_http(operations_app(operations), listen, ready=serves, stop=over), name="snowbus-consume-http"
    )
    running = [
        asyncio.create_task(runner.run(ending), name=f"snowbus-consume-{runner.consumer.name}") for runner in runners
    ]
    stopping = asyncio.create_task(stop.wait())
    beginning = asyncio.create_task(_when_set([served, *(runner.begun for runner in runners)], begun))
    try:
        await asyncio.wait({serving, stopping, *running}, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        for task in running:
            task.cancel()
        raise
    finally:
        stopping.cancel()
        beginning.cancel()
        ending.set()
        await asyncio.wait({stopping, beginning, *running})
        over.set()
        await asyncio.wait({serving})
    for task in (serving, *running):
        task.result()


async def _when_set(events: Sequence[asyncio.Event], call: Callable[[], None]) -> None:
    for event in events:
        await event.wait()
    call()


def reason_stuck(runners: Sequence[Runner]) -> str:
    """Which handlers are stuck for good, or an empty string."""
    return "; ".join(runner.stuck for runner in runners if runner.stuck)


async def reason_not_ready(log: Log, runners: Sequence[Runner]) -> str:
    """Why the log cannot be used now, or who does not read it yet or any more; or an empty string."""
    there: set[str] = set()

    async def look() -> None:
        there.update(topic.name for topic in await log.topics())

    if reason := await reason_unanswered(look()):
        return f"the log cannot be used: {reason}"
    return "; ".join(filter(None, (_reason_not_reading(runner, there) for runner in runners)))


def _reason_not_reading(runner: Runner, topics: Collection[str]) -> str:
    name = runner.consumer.name
    if not runner.begun.is_set():
        return f"{name} has not begun yet"
    missing = sorted(set(runner.consumer.topics).difference(topics))
    return f"{name} waits for {', '.join(missing)}, which the log does not have any more" if missing else ""
