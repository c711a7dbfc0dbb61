"""The gate lets a bounded number of requests through, each to the collector chosen for it, and says which are away."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

from structlog.testing import capture_logs
from support.aio import eventually, run

from snowbus.consumers.collector.collectors import Attempt, Collectors, Patience
from snowbus.consumers.collector.gate import Gate
from snowbus.consumers.collector.verdicts import Answer, Delivered, NoAnswer, Retry, Stop, Verdict


class Unused:
    async def post(self, body: bytes) -> Answer | NoAnswer:
        raise AssertionError(body)


def gate_to(*names: str, in_flight: int = 8, wait: float = 0.0, clock: Callable[[], float] | None = None) -> Gate:
    patience = Patience(first=wait, maximum=wait, failback=wait, configuration=wait)
    collectors = Collectors([(name, Unused()) for name in names], patience, now=0.0, draw=lambda: 1.0)
    return Gate(collectors, in_flight=in_flight, **({"clock": clock} if clock else {}))


async def enter(gate: Gate, stack: AsyncExitStack) -> Attempt:
    return await stack.enter_async_context(gate.attempt())


async def once(gate: Gate, verdict: Verdict) -> str:
    async with gate.attempt() as attempt:
        gate.settle(attempt, verdict)
        return attempt.collector.name


def test_no_more_requests_than_allowed_are_under_way() -> None:
    async def main() -> None:
        gate = gate_to("a", in_flight=2)
        async with AsyncExitStack() as first, AsyncExitStack() as rest:
            await enter(gate, first)
            await enter(gate, rest)
            third = asyncio.create_task(enter(gate, rest))
            await asyncio.sleep(0)
            assert not third.done()
            await first.aclose()
            await third

    run(main())


def test_an_outage_lets_one_probe_through_at_a_time() -> None:
    async def main() -> None:
        gate = gate_to("a")
        await once(gate, Retry("away"))
        async with AsyncExitStack() as probes, AsyncExitStack() as others:
            probe = await enter(gate, probes)
            waiting = [asyncio.create_task(enter(gate, others)) for _ in range(3)]
            await asyncio.sleep(0.01)
            assert not any(task.done() for task in waiting)
            gate.settle(probe, Retry("still away"))
            await eventually(lambda: sum(task.done() for task in waiting) == 1)
            await asyncio.sleep(0.01)
            second = next(task.result() for task in waiting if task.done())
            assert sum(task.done() for task in waiting) == 1
            gate.settle(second, Delivered())
            assert gate.outage is None
            await asyncio.gather(*waiting)

    run(main())


def test_a_probe_that_is_given_up_makes_way_for_the_next() -> None:
    async def main() -> None:
        gate = gate_to("a")
        await once(gate, Retry("away"))

        async def probe_for_ever() -> None:
            async with gate.attempt():
                await asyncio.Event().wait()

        stuck = asyncio.create_task(probe_for_ever())
        await asyncio.sleep(0.01)
        following = asyncio.create_task(once(gate, Delivered()))
        await asyncio.sleep(0.01)
        assert not following.done()
        stuck.cancel()
        await following
        assert gate.outage is None

    run(main())


def test_who_waits_out_an_outage_goes_on_when_another_request_ends_it() -> None:
    async def main() -> None:
        now = 0.0
        gate = gate_to("a", wait=60.0, clock=lambda: now)
        async with gate.attempt() as attempt:
            gate.settle(attempt, Retry("away"))
        now = 60.0
        async with AsyncExitStack() as stack:
            probe = await enter(gate, stack)
            waiting = asyncio.create_task(once(gate, Delivered()))
            await asyncio.sleep(0.01)
            assert not waiting.done()
            gate.settle(probe, Delivered())
            assert await waiting == "a"

    run(main())


def test_each_change_is_said_with_where_the_events_go() -> None:
    async def main() -> None:
        now = 0.0
        gate = gate_to("a", "b", wait=10.0, clock=lambda: now)
        assert await once(gate, Stop("HTTP 401")) == "a"
        assert await once(gate, Delivered()) == "b"
        now = 10.0
        assert await once(gate, Stop("HTTP 401")) == "a"  # 10 s after the first warning: not said again
        assert await once(gate, Retry("refused")) == "b"
        now = 30.0
        assert await once(gate, Delivered()) == "a"

    with capture_logs() as logs:
        run(main())
    assert logs == [
        {
            "event": "the collector refuses us",
            "log_level": "warning",
            "collector": "a",
            "reason": "HTTP 401",
            "for_seconds": 0.0,
            "events": "go to b",
        },
        {
            "event": "the collector is away",
            "log_level": "warning",
            "collector": "b",
            "reason": "refused",
            "for_seconds": 0.0,
            "events": "wait on the log",
        },
        {"event": "the collector is back", "log_level": "info", "collector": "a", "after_seconds": 30.0},
    ]
