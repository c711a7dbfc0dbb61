"""The gate lets a bounded number of requests through, and one at a time while the collector is away."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from support.aio import eventually, run

from snowbus.consumers.backoff import Backoff
from snowbus.consumers.collector.gate import Attempt, Gate
from snowbus.consumers.collector.verdicts import Dead, Delivered, Retry, Split, Stop, Verdict


def gate_with(*, in_flight: int = 8, wait: float = 0.0) -> tuple[Gate, Backoff]:
    backoff = Backoff(wait, maximum=wait, draw=lambda: 1.0)
    return Gate(in_flight=in_flight, backoff=backoff, configuration_wait=wait), backoff


async def enter(gate: Gate, stack: AsyncExitStack) -> Attempt:
    return await stack.enter_async_context(gate.attempt())


async def once(gate: Gate, verdict: Verdict) -> None:
    async with gate.attempt() as attempt:
        attempt.settle(verdict)


def test_no_more_requests_than_allowed_are_under_way() -> None:
    async def main() -> None:
        gate, _ = gate_with(in_flight=2)
        async with AsyncExitStack() as first, AsyncExitStack() as rest:
            await enter(gate, first)
            await enter(gate, rest)
            third = asyncio.create_task(enter(gate, rest))
            await asyncio.sleep(0)
            assert not third.done()
            await first.aclose()
            await third

    run(main())


@pytest.mark.parametrize("verdict", [Delivered(), Split("no"), Dead("no", 400, "")])
def test_any_answer_of_a_collector_that_is_there_ends_an_outage(verdict: Verdict) -> None:
    async def main() -> None:
        gate, backoff = gate_with()
        await once(gate, Retry("away"))
        assert gate.outage is not None
        assert gate.outage.reason == "away"
        await once(gate, verdict)
        assert gate.outage is None
        assert backoff.failures == 0

    run(main())


def test_an_outage_lets_one_probe_through_at_a_time() -> None:
    async def main() -> None:
        gate, _ = gate_with()
        await once(gate, Retry("away"))
        async with AsyncExitStack() as probes, AsyncExitStack() as others:
            probe = await enter(gate, probes)
            waiting = [asyncio.create_task(enter(gate, others)) for _ in range(3)]
            await asyncio.sleep(0.01)
            assert not any(task.done() for task in waiting)
            probe.settle(Retry("still away"))
            await probes.aclose()
            await eventually(lambda: sum(task.done() for task in waiting) == 1)
            await asyncio.sleep(0.01)
            second = next(task.result() for task in waiting if task.done())
            assert sum(task.done() for task in waiting) == 1
            second.settle(Delivered())
            assert gate.outage is None
            await others.aclose()
            await asyncio.gather(*waiting)

    run(main())


def test_a_probe_that_is_given_up_makes_way_for_the_next() -> None:
    async def main() -> None:
        gate, _ = gate_with()
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


def test_requests_that_were_under_way_do_not_lengthen_the_wait() -> None:
    async def main() -> None:
        gate, backoff = gate_with()
        async with AsyncExitStack() as stack:
            attempts = [await enter(gate, stack) for _ in range(4)]
            for attempt in attempts:
                attempt.settle(Retry("away"))
            assert backoff.failures == 1

    run(main())


def test_the_success_of_one_that_was_under_way_does_not_cut_the_wait_short() -> None:
    async def main() -> None:
        gate, _ = gate_with(wait=60.0)
        async with AsyncExitStack() as stack:
            early, late = await enter(gate, stack), await enter(gate, stack)
            early.settle(Retry("busy", 30.0))
            late.settle(Delivered())
            assert gate.outage is not None

    run(main())


def test_the_longest_retry_after_counts() -> None:
    async def main() -> None:
        gate, _ = gate_with()
        async with AsyncExitStack() as stack:
            first, second, third = [await enter(gate, stack) for _ in range(3)]
            first.settle(Retry("busy", 10.0))
            assert gate.outage is not None
            next_try = gate.outage.next_try
            second.settle(Retry("busy", 40.0))
            third.settle(Retry("busy", 5.0))
            assert 25.0 < gate.outage.next_try - next_try < 35.0

    run(main())


def test_configuration_is_told_from_an_outage_that_heals() -> None:
    async def main() -> None:
        gate, _ = gate_with()
        await once(gate, Retry("away"))
        assert gate.outage is not None
        assert not gate.outage.configuration
        await once(gate, Stop("HTTP 401"))
        assert gate.outage.configuration
        assert gate.outage.reason == "HTTP 401"

    run(main())
