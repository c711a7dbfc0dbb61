"""What readers who stop reading cost the others, and the gateway in memory; and what they get when they read again."""

import asyncio

import pytest
from support.fanout import Sink, Taken, Usage, gateway_command, page_view, report, report_head, resident, sink

from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.log import Log, open_log

READERS, STALLED = 200, 10
EVENTS, ROUNDS = 5_000, 3
Medians = tuple[float, float]
RING = ("--ring-events", "4000")


async def stream(log: Log, readers: Sink, pid: int, *, after: int) -> tuple[Taken, float, int]:
    """Send events as fast as the gateway takes them to all but the stalled; CPU seconds, and bytes it grew by."""
    before, used = resident(pid), Usage(pid)
    readers.begin(after + EVENTS)
    for start in range(0, EVENTS, 500):
        await log.append(EVENTS_TOPIC, [page_view(number) for number in range(start, start + 500)])
    taken = await asyncio.to_thread(readers.result)
    assert (set(taken.messages), taken.holes, taken.gaps) == ({after + EVENTS}, 0, 0)
    return taken, used.cpu(), resident(pid) - before


async def measure(log: Log, port: int, pid: int, *, stalled: int) -> Medians:
    """Deliveries a second, and a CPU second, to those who read, of the median round; then the stalled catch up."""
    rates, costs = [], []
    with sink(port, READERS - STALLED + stalled, stalled=stalled) as readers:
        for number in range(ROUNDS):
            taken, cpu, grown = await stream(log, readers, pid, after=number * EVENTS)
            deliveries = EVENTS * readers.readers
            figure = report(
                f"{readers.readers} read, {stalled} stalled, round {number + 1}",
                deliveries=deliveries,
                seconds=taken.seconds,
                cpu=cpu,
                more=f"memory {grown / 1e6:+.1f} MB",
            )
            rates.append(deliveries / taken.seconds)
            costs.append(figure)
        if stalled:
            await catch_up(readers)
    return sorted(rates)[ROUNDS // 2], sorted(costs)[ROUNDS // 2]


async def catch_up(readers: Sink) -> None:
    """Let the stalled readers read again: all they missed is on the log, and they must get it in order."""
    total = ROUNDS * EVENTS
    taken = await asyncio.to_thread(readers.take, total, stalled=True, quiet=10.0)
    late = taken.messages[:STALLED]
    assert taken.holes == 0
    assert [count + taken.told - taken.gaps for count in late] == [total] * STALLED
    print(f"  the stalled ones caught up: {sum(late):,} events in {taken.seconds:.1f} s, ", end="")
    print(f"{taken.holes} holes, {taken.told} told in {taken.gaps} gaps")


@pytest.mark.timeout(200)
def test_stalled_readers() -> None:
    report_head(f"{STALLED} of {READERS} readers stalled")
    found = {}
    for stalled in (0, STALLED):
        with gateway_command(*RING) as (url, port, pid):

            async def run(url: str = url, port: int = port, pid: int = pid, stalled: int = stalled) -> Medians:
                async with await open_log(url) as log:
                    return await measure(log, port, pid, stalled=stalled)

            found[stalled] = asyncio.run(run())
    rate, cpu = (1 - stalled / none for stalled, none in zip(found[STALLED], found[0], strict=True))
    print(f"  those who read lost {rate:.1%} of their deliveries a second, {cpu:.1%} a CPU second (median round)")
