"""The stream on a real gateway and a real log: no event is lost and none comes twice, whatever is cut or restarted."""

import asyncio
import random
import secrets
from contextlib import suppress
from typing import Any

import pytest
from support.aio import eventually, run
from support.gateway import gateway, publish
from support.memory_log import MemoryLog
from support.relay import relay

from snowbus.bus.errors import StreamRefusedError
from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.log import open_log
from snowbus.bus.settings import Settings
from snowbus.consumers import EventStream, GapMessage, stream
from snowbus.consumers.streaming import client as edge


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost connection is made again within a moment."""
    monkeypatch.setattr(edge, "_FIRST_WAIT_SECONDS", 0.02)
    monkeypatch.setattr(edge, "_LONGEST_WAIT_SECONDS", 0.1)


async def read(events: EventStream, numbers: list[int]) -> None:
    async with events:
        async for event in events:
            numbers.append(int(event.payload["eid"]))  # noqa: PERF401 - as they come


async def end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def test_history_and_live_come_once_through_cut_connections_and_restarts(log_url: str) -> None:
    async def main() -> None:
        log = await open_log(log_url, Settings().log_options())
        async with log, relay() as between:
            await publish(log, range(200))
            numbers: list[int] = []
            reading = asyncio.create_task(read(stream(between.url("ws"), start="earliest"), numbers))
            total, draw = 200, random.Random(7)
            for _ in range(4):
                async with gateway(log_url) as running:
                    between.target = running.address
                    for _ in range(5):
                        await publish(log, range(total, total + 20))
                        total += 20
                        await asyncio.sleep(draw.uniform(0.0, 0.03))
                        between.cut()
                    await publish(log, [total])  # read on a connection that is there when the gateway stops
                    total += 1
                    await eventually(lambda total=total: len(numbers) >= total)
                    between.target = ""
                await publish(log, range(total, total + 20))  # while there is no gateway
                total += 20
            async with gateway(log_url) as running:
                between.target = running.address
                await eventually(lambda: len(numbers) >= total)
            assert between.cuts >= 20
            assert sorted(numbers) == list(range(total))
            await end(reading)

    run(main())


def test_a_cursor_that_was_kept_begins_where_the_stream_before_ended(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url) as running:
            await publish(running.log, range(300))
            numbers: list[int] = []
            start = "earliest"
            while len(numbers) < 300:
                async with stream(running.url(), start=start) as events:
                    async for event in events:
                        numbers.append(int(event.payload["eid"]))
                        if len(numbers) % 77 == 0 or len(numbers) == 300:
                            break
                    assert events.cursor
                    start = events.cursor
            assert sorted(numbers) == list(range(300))

    run(main())


def test_a_reader_that_takes_its_time_gets_everything_and_keeps_little() -> None:
    async def main() -> None:
        log = MemoryLog(partitions=1)
        async with gateway(log, gateway_ring_events=50) as running, stream(running.url(), start="earliest") as events:
            count = 0
            while running.sample("snowbus_gateway_delivery_seconds_count") == 0:  # until it follows live
                await publish(log, [count])
                assert int((await anext(events)).payload["eid"]) == count
                count += 1
            read = count
            while running.sample("snowbus_gateway_ring_misses_total") == 0:  # more than fits on the way to the client
                assert count < 10_000
                await publish(log, range(count, count + 500), page=secrets.token_urlsafe(4500))  # not to be compressed
                await asyncio.sleep(0.1)
                count += 500
            assert [int((await anext(events)).payload["eid"]) for _ in range(read, count)] == list(range(read, count))

    run(main())


def test_filters_and_the_canonical_view_are_those_of_the_gateway() -> None:
    async def main() -> None:
        log = MemoryLog(partitions=1)
        async with gateway(log) as running:
            await publish(log, [1], aid="shop")
            await publish(log, [2], aid="bank")
            await publish(log, [3], aid="web")
            async with stream(running.address, start="earliest", app_id=["shop", "web"]) as events:
                found = [await anext(events), await anext(events)]
                assert [(each.event["app_id"], each.payload["eid"]) for each in found] == [("shop", "1"), ("web", "3")]
                assert (found[0].topic, found[0].source, found[0].validation) == (
                    EVENTS_TOPIC,
                    {"ip": "203.0.113.7"},
                    "invalid",
                )
                assert found[0].errors[0].field == "event_id"  # a number is no UUID
                assert events.subscription["filters"] == {"app_id": ["shop", "web"]}

    run(main())


def test_a_gap_is_told_with_what_is_missing() -> None:
    async def main() -> None:
        log = MemoryLog(partitions=1)
        await publish(log, range(10))
        log.expire(0, 6)
        async with gateway(log) as running:
            gaps: list[GapMessage] = []
            start = f"{EVENTS_TOPIC}~0.2"
            async with stream(running.url(), start=start, on_gap=gaps.append) as events:
                assert (await anext(events)).offset == 6
                (gap,) = gaps
                assert (gap.start, gap.end, gap.count, gap.reason) == (2, 6, 4, "expired")

    run(main())


@pytest.mark.parametrize(
    ("query", "options", "status", "reason"),
    [
        ("", {}, 401, "token: is missing"),
        ("", {"token": "wrong"}, 401, "token: not one of ours"),
        ("?token=wrong", {}, 401, "token: not one of ours"),
        ("", {"token": "right", "start": "yesterday"}, 400, "from: 'yesterday' is none of"),
        ("", {"token": "right", "start": "other~0.1"}, 400, "from: the cursor is of topic 'other'"),
    ],
)
def test_a_gateway_that_refuses_says_why(query: str, options: dict[str, Any], status: int, reason: str) -> None:
    async def main() -> None:
        async with gateway(MemoryLog(), gateway_tokens="right") as running:
            with pytest.raises(StreamRefusedError) as caught:
                await stream(running.url() + query, **options).__aenter__()
            assert caught.value.status == status
            assert caught.value.reason.startswith(reason)

    run(main())


def test_a_token_lets_it_in_from_the_url_too_and_leaves_the_url() -> None:
    async def main() -> None:
        async with gateway(MemoryLog(), gateway_tokens="right") as running:
            for url, token in ((running.url(), "right"), (running.url("token=right"), "")):
                async with stream(url, token=token) as events:
                    assert events.subscription["filters"] == {}

    run(main())


def test_a_proxy_that_the_environment_names_is_not_for_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("all_proxy", "http_proxy", "https_proxy", "socks_proxy"):
        monkeypatch.setenv(name, "ftp://proxy.invalid")

    async def main() -> None:
        log = MemoryLog(partitions=1)
        async with gateway(log) as running:
            await publish(log, [1])
            async with stream(running.url(), start="earliest") as events:
                assert (await anext(events)).payload["eid"] == "1"

    run(main())
