"""The demo's stand-in collector takes events, counts them, and is away when it should be."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any

import aiohttp
import pytest
from support.aio import eventually, run

from snowbus.bus.payload import PAYLOAD_DATA_SCHEMA
from snowbus.cli.demo.stand_in_collector import StandInCollector

TP2 = "/com.snowplowanalytics.snowplow/tp2"


@asynccontextmanager
async def served(**options: float) -> AsyncIterator[tuple[StandInCollector, aiohttp.ClientSession]]:
    collector = StandInCollector(**options)
    stop = asyncio.Event()
    addresses: list[str] = []
    serving = asyncio.create_task(collector.serve("127.0.0.1:0", ready=addresses.append, stop=stop))
    await eventually(lambda: addresses)
    try:
        async with aiohttp.ClientSession(addresses[0]) as session:
            yield collector, session
    finally:
        stop.set()
        await serving


async def post(session: aiohttp.ClientSession, value: Any, path: str = TP2) -> int:
    async with session.post(path, data=BytesIO(json.dumps(value).encode())) as response:
        return response.status


def payload_data(*event_ids: str) -> dict[str, Any]:
    return {
        "schema": PAYLOAD_DATA_SCHEMA,
        "data": [{"tv": "t", "p": "srv", "e": "pv", "eid": event_id} for event_id in event_ids],
    }


def test_it_counts_events_and_those_that_come_again() -> None:
    async def main() -> None:
        async with served() as (collector, session):
            assert await post(session, payload_data("a", "b")) == 200
            assert await post(session, payload_data("b", "c")) == 200
            assert (collector.delivered, collector.duplicates, collector.refused) == (3, 1, 0)

    run(main())


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        {"schema": PAYLOAD_DATA_SCHEMA, "data": []},
        {"schema": "iglu:com.acme/x/jsonschema/1-0-0", "data": [{}]},
        {"schema": PAYLOAD_DATA_SCHEMA, "data": [{"tv": "t", "p": "srv", "e": "pv"}]},
        {"schema": PAYLOAD_DATA_SCHEMA, "data": [{"tv": "t", "p": "srv", "e": "pv", "eid": 5}]},
    ],
)
def test_what_is_not_understood_is_refused(value: Any) -> None:
    async def main() -> None:
        async with served() as (collector, session):
            assert await post(session, value) == 400
            assert (collector.delivered, collector.refused) == (0, 1)

    run(main())


def test_a_body_over_the_limit_is_refused() -> None:
    async def main() -> None:
        async with served() as (collector, session):
            assert await post(session, "x" * 1_100_000) == 413
            assert collector.refused == 1

    run(main())


def test_other_paths_are_not_found() -> None:
    async def main() -> None:
        async with served() as (_, session):
            assert await post(session, payload_data("a"), "/elsewhere") == 404

    run(main())


def test_it_is_away_now_and_then_and_comes_back() -> None:
    async def main() -> None:
        async with served(outage_every=0.1, outage_seconds=0.1) as (collector, session):
            seen = []
            for number in range(100):
                seen.append(await post(session, payload_data(str(number))))
                if seen.count(503) and seen[-1] == 200:
                    break
                await asyncio.sleep(0.01)
            assert set(seen) == {200, 503}
            assert collector.turned_away == seen.count(503)
            assert collector.delivered == seen.count(200)

    run(main())


def test_told_to_stay_it_is_there_at_once() -> None:
    async def main() -> None:
        async with served(outage_every=0.0, outage_seconds=60.0) as (collector, session):
            assert await post(session, payload_data("a")) == 503
            collector.stay()
            assert await post(session, payload_data("a")) == 200

    run(main())


def test_without_outages_it_is_always_there() -> None:
    async def main() -> None:
        async with served(outage_every=0.0, outage_seconds=0.0) as (collector, _):
            assert not collector.away

    run(main())
