"""What it costs to send the log to readers who begin far behind: to one, and to ten that go side by side."""

import asyncio

import pytest
from support.fanout import Usage, gateway_command, page_view, report, report_head, sink

from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.log import open_log

EVENTS = 50_000


async def fill(url: str) -> None:
    async with await open_log(url) as log:
        for start in range(0, EVENTS, 500):
            await log.append(EVENTS_TOPIC, [page_view(number) for number in range(start, start + 500)])


@pytest.mark.timeout(300)
def test_history() -> None:
    report_head(f"History of {EVENTS:,} events")
    with gateway_command("--ring-events", "1000") as (url, port, pid):
        asyncio.run(fill(url))
        for count in (1, 10):
            with sink(port, count, path="/v1/events?from=earliest") as readers:
                used = Usage(pid)
                taken = readers.take(EVENTS)
                assert (set(taken.messages), taken.holes) == ({EVENTS}, 0)
                report(f"{count} reading", deliveries=count * EVENTS, seconds=taken.seconds, cpu=used.cpu())
