"""A Kafka that is not there yet, or goes away meanwhile, costs time and no event."""

import asyncio

import pytest
from support.aio import eventually, run
from support.collector_double import CollectorDouble
from support.forwarding import Forwarding, forwarding, numbered, publish
from support.kafka import KafkaServer, delete_topic

from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.log import open_log

pytestmark = [pytest.mark.faults, pytest.mark.real_kafka]


def test_it_starts_before_kafka_does(own_kafka: KafkaServer) -> None:
    async def main() -> None:
        async with forwarding(own_kafka.url, collector.url, append_timeout=2.0) as running:
            await asyncio.sleep(0.5)
            assert not running.task.done()
            await asyncio.to_thread(own_kafka.start)
            async with await open_log(own_kafka.url) as log:
                await publish(log, [numbered(number) for number in range(100)])
            await eventually(lambda: len(collector.accepted) >= 100, timeout=30)

    own_kafka.kill()
    with CollectorDouble() as collector:
        run(main(), timeout=100)
        assert sorted(map(int, collector.event_ids)) == list(range(100))


def test_a_broker_that_dies_and_comes_back_loses_nothing(own_kafka: KafkaServer) -> None:
    async def main() -> None:
        async with forwarding(own_kafka.url, collector.url, collect_batch_events=10, append_timeout=2.0) as running:
            await publish(running.log, [numbered(number) for number in range(1_000)])
            await eventually(lambda: len(collector.accepted) >= 200, timeout=30)
            await asyncio.to_thread(own_kafka.restart)
            await eventually(lambda: len(set(collector.event_ids)) >= 1_000, timeout=60)

    with CollectorDouble(seconds=0.03) as collector:
        run(main(), timeout=110)
        assert collector.duplicates == {}


def test_it_stops_while_kafka_is_away(own_kafka: KafkaServer) -> None:
    async def main() -> None:
        async with forwarding(own_kafka.url, collector.url, append_timeout=2.0, collect_drain_timeout=3.0) as running:
            await publish(running.log, [numbered(1)])
            await eventually(lambda: collector.accepted, timeout=30)
            own_kafka.kill()
            async with asyncio.timeout(30):
                await running.stop()

    with CollectorDouble() as collector:
        run(main(), timeout=100)


def test_a_topic_that_is_deleted_is_waited_for_and_read_from_its_beginning(real_kafka_url: str) -> None:
    async def main() -> None:
        async with forwarding(real_kafka_url, collector.url) as running:
            await publish(running.log, [numbered(number) for number in range(100)])
            await eventually(lambda: len(collector.accepted) >= 100, timeout=30)
            await delete_topic(real_kafka_url, EVENTS_TOPIC)
            await eventually(lambda: waits(running))
            await publish(running.log, [numbered(number) for number in range(1_000, 1_400)])
            await eventually(lambda: len(set(collector.event_ids)) >= 500, timeout=30)
            assert (await running.get("/ready"))[0] == 200
            await delete_topic(real_kafka_url, EVENTS_TOPIC)
            async with asyncio.timeout(10):
                await running.stop()

    async def waits(running: Forwarding) -> bool:
        status, reason = await running.get("/ready")
        return status == 503 and "collector waits for snowbus.events" in reason

    with CollectorDouble() as collector:
        run(main(), timeout=100)
