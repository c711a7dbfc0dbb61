"""Ingest beside a Kafka that is away: it starts, says so, and takes events again as soon as they can be durable."""

import asyncio
import socket
import time

import pytest
from support.aio import eventually, run
from support.ingest import Ingest, payload_data, serving
from support.kafka import KafkaServer

from snowbus.bus.log import LogOptions, open_log

EVENT = {"e": "pv", "eid": "e-1", "p": "web", "tv": "js-3"}
OPTIONS = LogOptions(append_timeout=2.0)


async def status(ingest: Ingest, path: str) -> int:
    async with ingest.http.get(ingest.url + path) as answer:
        return answer.status


async def taken(ingest: Ingest) -> bool:
    return await ingest.post(payload_data(EVENT)) == (200, "ok")


@pytest.mark.kafka
def test_it_runs_without_kafka_and_answers_in_bounded_time() -> None:
    async def main() -> None:
        with socket.socket() as taken_port:
            taken_port.bind(("127.0.0.1", 0))
            url = f"kafka://127.0.0.1:{taken_port.getsockname()[1]}"
            async with await open_log(url, OPTIONS) as log, serving(log, append_timeout=2.0) as ingest:
                began = time.monotonic()
                assert await status(ingest, "/health") == 200
                assert await status(ingest, "/ready") == 503
                answers = await asyncio.gather(*(ingest.post(payload_data(EVENT)) for _ in range(20)))
                assert {status for status, _ in answers} == {503}
                assert time.monotonic() - began < 10

    run(main())


@pytest.mark.real_kafka
def test_a_broker_that_dies_costs_503_and_no_event_that_had_a_200(own_kafka: KafkaServer) -> None:
    async def main() -> None:
        async with await open_log(own_kafka.url, OPTIONS) as log, serving(log, append_timeout=2.0) as ingest:
            await eventually(lambda: taken(ingest), timeout=30)
            acknowledged = 1
            own_kafka.kill()
            assert (await ingest.post(payload_data(EVENT)))[0] == 503
            assert await status(ingest, "/health") == 200
            await asyncio.to_thread(own_kafka.restart)
            await eventually(lambda: taken(ingest), timeout=30)
            acknowledged += 1
            await eventually(lambda: ready(ingest), timeout=10)
            assert len(await ingest.events()) >= acknowledged

    run(main(), timeout=100)


async def ready(ingest: Ingest) -> bool:
    return await status(ingest, "/ready") == 200
