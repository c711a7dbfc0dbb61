"""What became of events, over real websockets: told as it comes, told to who comes later, and true whatever happens."""

import asyncio
import time
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from support.aio import eventually, run
from support.collector_double import CollectorDouble, status
from support.forwarding import forwarding
from support.gateway import Client, Running, client, gateway, numbered, publish
from support.memory_log import MemoryLog

from snowbus.bus.event import DELIVERIES_TOPIC, EVENTS_TOPIC, ProducerRecord, TopicPartition
from snowbus.bus.log import Log
from snowbus.consumers.receipts import CollectorState, Receipt, Report, report_record

P0, P1 = TopicPartition(EVENTS_TOPIC, 0), TopicPartition(EVENTS_TOPIC, 1)

Place = tuple[int, int]
Steps = dict[Place, list[tuple[str, int | None, int | None]]]


def steps_of(messages: list[dict[str, Any]]) -> Steps:
    """What was told of each event, in order: status, attempts, HTTP status."""
    steps: Steps = defaultdict(list)
    for message in messages:
        for receipt in message.get("receipts", ()):
            step = (receipt["status"], receipt["attempts"], receipt["http_status"])
            for first, last in receipt["offsets"]:
                for offset in range(first, last + 1):
                    if step not in (known := steps[receipt["partition"], offset]):
                        known.append(step)
    return steps


def ends(steps: Steps) -> int:
    return sum(any(status in ("delivered", "dead") for status, _, _ in told) for told in steps.values())


async def told(reader: Client, count: int) -> Steps:
    """What receipts tell until the end of so many events is told; what is committed may be heard of before them."""
    steps = steps_of(await reader.until(lambda found: ends(steps_of(found)) >= count, "delivery"))
    return {place: [step for step in story if step[0] != "done"] for place, story in steps.items()}


async def report(log: Log, *receipts: Receipt, group: str = "collector", **more: Any) -> None:
    await log.create_topics([DELIVERIES_TOPIC])
    now = time.time_ns() // 1_000_000
    await log.append(DELIVERIES_TOPIC, [report_record(Report(group=group, time=now, receipts=receipts, **more))])


def delivered(*offsets: int, status: str = "delivered", **more: Any) -> Receipt:
    ranges = tuple((offset, offset) for offset in offsets)
    return Receipt(topic=EVENTS_TOPIC, partition=0, offsets=ranges, status=status, http_status=200, **more)


async def heard_of(running: Running, query: str = "from=earliest") -> Steps:
    """What a reader is told who comes now."""
    async with client(running, query) as reader:
        return steps_of(await reader.until(lambda found: found and found[-1]["type"] == "heartbeat", *_ALL))


async def knows(running: Running, *offsets: int) -> bool:
    """Whether of partition 0 it tells of these events, and no others."""
    return (await heard_of(running)).keys() == {(0, offset) for offset in offsets}


_ALL = ("delivery", "event", "heartbeat")


@pytest.mark.real_kafka  # the mock cluster has no groups
def test_events_are_delivered_before_the_eyes_of_a_reader_and_at_once_for_the_next(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url) as running, client(running) as reader:
            async with forwarding(log_url, collector.url):
                await publish(running.log, range(20))
                steps = await told(reader, 20)
                assert {tuple(story) for story in steps.values()} == {(("delivered", 1, 200),)}
            async with client(running, "from=-20") as late:
                first = await late.next()
                assert (first["type"], first["group"]) == ("delivery", "collector")
                assert first["time"].endswith("Z")
                assert "cursor" not in first
                assert await told(late, 20) == steps
                assert len(await late.numbers(20)) == 20

    with CollectorDouble() as collector:
        run(main())


@pytest.mark.real_kafka
def test_a_collector_that_is_away_shows_as_retrying_and_then_as_delivered(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url) as running, client(running) as reader, forwarding(log_url, collector.url):
            await publish(running.log, range(3), user="u")
            (story,) = {tuple(story) for story in (await told(reader, 3)).values()}
            assert story[0] == ("retrying", 1, 503)
            assert story[-1] == ("delivered", len(story), 200)
            async with client(running, "from=earliest") as late:
                assert {tuple(story) for story in (await told(late, 3)).values()} == {story}

    with CollectorDouble() as collector:
        collector.respond(status(503), status(503))
        run(main())


@pytest.mark.real_kafka
def test_an_event_that_the_collector_refuses_is_dead_and_its_neighbours_are_delivered(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url) as running, client(running) as reader, forwarding(log_url, collector.url):
            await publish(running.log, range(8), user="u")
            messages = await reader.until(lambda found: ends(steps_of(found)) >= 8, "delivery")
            (dead,) = [r for m in messages for r in m["receipts"] if r["status"] == "dead"]
            assert dead["http_status"] == 400
            assert "answered 400" in dead["error"]
            (place,) = [place for place, story in steps_of(messages).items() if "dead" in {step[0] for step in story}]
            events = await _events(running, "event_id=5&from=earliest")
            assert place == (events[0]["partition"], events[0]["offset"])

    with CollectorDouble(poison=lambda payload: payload["eid"] == "5") as collector:
        run(main())


async def _events(running: Running, query: str) -> list[dict[str, Any]]:
    async with client(running, query) as reader:
        return [await reader.next("event")]


def test_who_does_not_ask_for_deliveries_gets_none(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url) as running:
            await publish(running.log, range(4))
            await report(running.log, delivered(0))
            await eventually(lambda: knows(running, 0))
            assert await heard_of(running, "from=earliest&deliveries=false") == {}
            async with client(running, "deliveries=false") as reader:
                assert reader.hello["subscription"]["deliveries"] is False

    run(main())


def test_receipts_move_no_cursor_and_break_no_silence(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url) as running, client(running, "app_id=none") as reader:
            await publish(running.log, range(4))
            seen: dict[str, list[dict[str, Any]]] = {"delivery": [], "heartbeat": []}
            while len(seen["delivery"]) < 8 or not seen["heartbeat"]:
                await report(running.log, delivered(len(seen["delivery"])))
                message = await reader.next()
                seen[message["type"]].append(message)
            assert seen["heartbeat"][-1]["cursor"] == reader.cursor
            assert reader.cursor != reader.hello["cursor"]

    run(main())


def test_what_was_told_before_the_gateway_started_is_known_to_it(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url) as first:
            await publish(first.log, range(4), user="u")
            await report(first.log, delivered(0, status="retrying"))
            await first.log.append(DELIVERIES_TOPIC, [ProducerRecord(b"x", b"no report")])
            await report(first.log, delivered(0), delivered(1, status="dead"))
            story = [("retrying", 1, 200), ("delivered", 1, 200)]
            async with gateway(log_url) as second:
                for running in (first, second):
                    await eventually(lambda gateway=running: knows(gateway, 0, 1))
                    assert await heard_of(running) == {(0, 0): story, (0, 1): [("dead", 1, 200)]}

    run(main())


@pytest.mark.real_kafka
def test_what_was_committed_without_a_receipt_is_done(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url) as running, client(running) as reader:
            await publish(running.log, range(40))
            await running.log.reset_group("collector", {P0: 3, P1: 0})
            await report(running.log, collectors=(CollectorState(url="http://c", state="down", since=5),))
            message = await reader.next("delivery")
            assert (message["collectors"][0]["state"], message["receipts"]) == ("down", [])
            steps = steps_of([await reader.next("delivery")])
            assert steps == {(0, offset): [("done", None, None)] for offset in range(3)}
            await running.log.reset_group("collector", {P0: 3, P1: 1})
            assert steps_of([await reader.next("delivery")]) == {(1, 0): [("done", None, None)]}
            assert (await heard_of(running)).keys() == {(0, 0), (0, 1), (0, 2), (1, 0)}

    run(main())


def test_who_resumes_learns_what_became_meanwhile_of_events_before_the_cursor() -> None:
    async def main() -> None:
        log = MemoryLog()
        async with gateway(log) as running:
            await publish(log, range(10))
            await report(log, delivered(0))
            await eventually(lambda: knows(running, 0))
            left = datetime.now(UTC).isoformat()
            await asyncio.sleep(0.002)
            await report(log, delivered(1))
            await eventually(lambda: knows(running, 0, 1))
            async with client(running, f"deliveries={quote(left)}") as reader:
                assert (await told(reader, 1)).keys() == {(0, 1)}
            async with client(running) as reader:
                assert (await reader.next("delivery", "heartbeat"))["receipts"] == []
                assert (await reader.next())["type"] == "heartbeat"

    run(main())


def test_an_outage_of_the_log_costs_no_receipt() -> None:
    async def main() -> None:
        log = MemoryLog()
        async with gateway(log) as running, client(running) as reader:
            await publish(log, range(3))
            await report(log, delivered(0))
            assert (await told(reader, 1)).keys() == {(0, 0)}
            log.away = True
            log.signal()
            await reader.next("error")
            log.away = False
            await report(log, delivered(1))
            assert (await told(reader, 1)).keys() == {(0, 1)}

    run(main())


def test_receipts_of_a_log_that_began_anew_are_forgotten() -> None:
    async def main() -> None:
        log = MemoryLog()
        async with gateway(log) as running, client(running) as reader:
            await publish(log, range(5), user="u")
            await report(log, delivered(0, 1, 2))
            await report(log, delivered(3))
            assert len(await told(reader, 4)) == 4
            await log.reset_group("collector", {P0: 4})  # which outlives the records, as it does on Kafka
            log.begin_anew()
            log.put(0, numbered(9))
            await reader.next("gap")
            await report(log, delivered(0))
            assert (await told(reader, 1)).keys() == {(0, 0)}
            assert (await heard_of(running)).keys() == {(0, 0)}

    run(main())


def test_partitions_that_the_topic_of_deliveries_gets_are_read() -> None:
    async def main() -> None:
        log = MemoryLog(partitions=1)
        async with gateway(log) as running, client(running) as reader:
            await publish(log, range(5))
            await report(log, delivered(0))
            assert (await told(reader, 1)).keys() == {(0, 0)}
            log.store.grow(DELIVERIES_TOPIC, 2)
            record = report_record(Report(group="collector", time=1, receipts=(delivered(1),)))
            log.store.put(TopicPartition(DELIVERIES_TOPIC, 1), record, now=0)
            log.signal()
            assert (await told(reader, 1)).keys() == {(0, 1)}

    run(main())


def test_expired_reports_are_passed_over() -> None:
    async def main() -> None:
        log = MemoryLog(partitions=1)
        await log.create_topics([EVENTS_TOPIC])
        for offset in range(4):
            await report(log, delivered(offset))
        place = TopicPartition(DELIVERIES_TOPIC, 0)
        log.stored[place] = log.stored[place][2:]
        log.store.firsts[place] = 2
        async with gateway(log) as running:
            await eventually(lambda: knows(running, 2, 3))

    run(main())


def test_a_reader_that_stalls_knows_the_end_when_it_reads_again() -> None:
    def the_end_is_told(found: list[dict[str, Any]]) -> bool:
        return bool(found) and steps_of(found[-1:])[0, 2][-1:] == [("delivered", 1, 200)]

    async def main() -> None:
        log = MemoryLog()
        async with gateway(log) as running, client(running) as stalled, client(running) as live:
            stalled.connection.transport.pause_reading()
            await publish(log, range(3))
            await report(log, delivered(2, status="retrying"))
            for start in range(100, 120_000, 6_000):  # a megabyte, which no socket takes unread
                await report(log, delivered(*range(start, start + 6_000, 2), status="retrying"))
            await report(log, delivered(2))
            await live.until(the_end_is_told, "delivery")
            stalled.connection.transport.resume_reading()
            await stalled.until(the_end_is_told, "delivery")

    run(main())
