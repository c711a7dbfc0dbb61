"""From the log to the collector: every event once, in the order of its key, whatever happens on the way."""

import asyncio
import json
from collections import defaultdict

import pytest
from support.aio import eventually, run
from support.collector_double import PATH, CollectorDouble, Payload, late, status
from support.forwarding import INGEST_TSTAMP, Forwarding, forwarding, numbered, publish, read_all

from snowbus.bus.envelope import encode_event
from snowbus.bus.event import DEAD_TOPIC, DELIVERIES_TOPIC, EVENTS_TOPIC, Event, ProducerRecord, TopicPartition
from snowbus.bus.log import open_log
from snowbus.consumers.dead_letters import read_death
from snowbus.consumers.progress import read_position
from snowbus.consumers.receipts import Receipt, Report, read_report

pytestmark = pytest.mark.real_kafka  # the mock cluster has no groups


async def lag_of(log_url: str, group: str = "collector") -> int:
    """How many events are neither delivered nor dead."""
    async with await open_log(log_url) as log:
        done = (read_position(found).done for found in (await log.group_offsets(group)).values())
        done_ahead = sum(stop - first for ranges in done for first, stop in ranges)
        return sum((await log.lag(group)).values()) - done_ahead


async def nothing_left(log_url: str) -> bool:
    """Whether everything that was published is done with, and committed."""
    async with await open_log(log_url) as log:
        ends, committed = await log.end_offsets(EVENTS_TOPIC), await log.group_offsets("collector")
        return {place: found.offset for place, found in committed.items() if place in ends} == ends


def assert_in_order(payloads: list[Payload]) -> None:
    """Each user's numbers rise."""
    by_user = defaultdict(list)
    for payload in payloads:
        by_user[payload["uid"]].append(int(payload["eid"]))
    assert all(numbers == sorted(numbers) for numbers in by_user.values())


def test_every_event_arrives_once_and_each_key_in_order(log_url: str) -> None:
    async def main() -> None:
        async with forwarding(log_url, collector.url, collect_batch_events=20) as running:
            for start in range(0, 1000, 250):
                await publish(running.log, [numbered(number) for number in range(start, start + 250)])
            await eventually(lambda: len(collector.accepted) >= 1000)

    with CollectorDouble() as collector:
        run(main())
        assert collector.violations == []
        assert sorted(map(int, collector.event_ids)) == list(range(1000))
        assert_in_order(collector.accepted)
        assert max(len(request.payloads) for request in collector.requests) <= 20


def test_payloads_arrive_as_they_were_but_for_stm_and_the_client(log_url: str) -> None:
    async def main() -> None:
        async with forwarding(log_url, collector.url) as running:
            await publish(running.log, [numbered(1, page="Käse \U0001f9c0", co='{"a":[1,2]}', cx="")])
            await eventually(lambda: collector.accepted)

    with CollectorDouble() as collector:
        run(main())
        (arrived,) = collector.accepted
        late_by = int(arrived.pop("stm")) - (INGEST_TSTAMP - 1)
        assert late_by > 0
        assert arrived == {
            "tv": "test-1",
            "p": "srv",
            "e": "pv",
            "eid": "1",
            "uid": "user-1",
            "dtm": str(INGEST_TSTAMP - 9),
            "page": "Käse \U0001f9c0",
            "co": '{"a":[1,2]}',
            "cx": "",
            "ip": "203.0.113.7",
        }


def test_a_collector_that_is_away_costs_lag_and_no_event(log_url: str) -> None:
    async def main() -> None:
        async with forwarding(log_url, collector.url, collect_batch_events=10) as running:
            await publish(running.log, [numbered(number) for number in range(100)])
            await eventually(lambda: len(collector.accepted) == 100)
            collector.down()
            await publish(running.log, [numbered(number) for number in range(100, 300)])
            await eventually(lambda: running.metrics.registry.get_sample_value(*refused) or 0)
            assert await lag_of(log_url) > 0
            collector.up()
            await eventually(lambda: len(collector.accepted) >= 300)
            await running.stop()
            assert await lag_of(log_url) == 0
            assert await read_all(running.log, DEAD_TOPIC) == []

    with CollectorDouble() as collector:
        refused = ("snowbus_collect_requests_total", {"collector": f"{collector.url}{collector.path}", "status": "0"})
        run(main())
        assert sorted(map(int, collector.event_ids)) == list(range(300))


def test_poison_among_many_makes_one_dead_letter(log_url: str) -> None:
    async def main() -> None:
        async with forwarding(log_url, collector.url) as running:
            await publish(running.log, [numbered(number) for number in range(500)])
            await eventually(lambda: nothing_left(log_url))
            await running.stop()
            (dead,) = await read_all(running.log, DEAD_TOPIC)
            letter = read_death(dead)
            async with await running.log.read(
                {TopicPartition(EVENTS_TOPIC, letter.partition): letter.offset}
            ) as reader:
                original = (await reader.poll(max_records=1))[0]
        assert (dead.key, dead.value) == (original.key, original.value)
        assert dead.header("event_id") == b"257"
        assert (letter.status, letter.response, letter.group) == (400, "poison", "collector")
        assert (letter.topic, letter.reason) == (EVENTS_TOPIC, "the collector answered 400")
        labels = {"consumer": "collector", "outcome": "dead"}
        assert running.metrics.registry.get_sample_value("snowbus_consumer_records_total", labels) == 1

    with CollectorDouble(poison=lambda payload: payload["eid"] == "257") as collector:
        run(main())
        assert sorted(map(int, collector.event_ids)) == [number for number in range(500) if number != 257]


def test_several_poisons_and_what_is_no_event_die_each_alone(log_url: str) -> None:
    async def main() -> None:
        async with forwarding(log_url, collector.url) as running:
            records = [numbered(number) for number in range(100)]
            records[10] = ProducerRecord(b"user-3", b"not an event")
            records[20] = numbered(20, tv="")
            await publish(running.log, records)
            await eventually(lambda: nothing_left(log_url))
            await running.stop()
            letters = [read_death(record) for record in await read_all(running.log, DEAD_TOPIC)]
        assert sorted(letter.status or 0 for letter in letters) == [0, 0, 400, 400, 400, 400, 400]

    def poison(payload: Payload) -> bool:
        return payload["eid"] in ("0", "1", "50", "51", "99")

    with CollectorDouble(poison=poison) as collector:
        run(main())
        assert collector.violations == []
        assert len(collector.accepted) == 93
        assert collector.duplicates == {}


def test_a_stop_drains_and_a_restart_sends_nothing_again(log_url: str) -> None:
    async def main() -> None:
        async with forwarding(log_url, collector.url, collect_batch_events=5) as running:
            await publish(running.log, [numbered(number) for number in range(200)])
            await eventually(lambda: len(collector.requests) >= 6)
            await running.stop()
            delivered = len(collector.accepted)
            assert 0 < delivered < 200
            assert await lag_of(log_url) == 200 - delivered
        collector.seconds = 0
        async with forwarding(log_url, collector.url):
            await eventually(lambda: len(collector.accepted) >= 200)

    with CollectorDouble(seconds=0.1) as collector:
        run(main())
        assert sorted(map(int, collector.event_ids)) == list(range(200))


def test_a_stop_sends_nothing_again_when_one_key_is_much_busier_than_others(log_url: str) -> None:
    """Others have been delivered far beyond it: it catches up before the stop, or they would come again."""

    async def main() -> None:
        async with forwarding(log_url, collector.url, collect_batch_events=5, collect_in_flight=16) as running:
            records = [numbered(number, user="hot" if number % 5 else f"user-{number}") for number in range(3000)]
            await publish(running.log, records)
            await eventually(lambda: len(collector.requests) >= 60)
            await running.stop()
            delivered = len(collector.accepted)
            assert 0 < delivered < 3000
            assert await lag_of(log_url) == 3000 - delivered
        collector.seconds = 0
        async with forwarding(log_url, collector.url):
            await eventually(lambda: len(collector.accepted) >= 3000)

    with CollectorDouble(seconds=0.02) as collector:
        run(main())
        assert sorted(map(int, collector.event_ids)) == list(range(3000))
        assert_in_order(collector.accepted)


def test_a_record_whose_key_alone_is_too_large_for_a_dead_letter_dies_all_the_same(sqlite_url: str) -> None:
    async def main() -> None:
        async with forwarding(sqlite_url, collector.url) as running:
            await running.log.create_topics([EVENTS_TOPIC, DEAD_TOPIC])
            size = running.log.options.max_record_bytes
            await running.log.append(EVENTS_TOPIC, [ProducerRecord(b"k" * (size - 7), b"garbage")])
            await eventually(lambda: nothing_left(sqlite_url))
            (letter,) = await read_all(running.log, DEAD_TOPIC)
            assert (letter.key, letter.value) == (None, b"")
            assert read_death(letter).topic == EVENTS_TOPIC

    with CollectorDouble() as collector:
        run(main())


def test_a_stop_does_not_wait_for_a_collector_that_is_away(log_url: str) -> None:
    async def main() -> None:
        async with forwarding(log_url, "http://127.0.0.1:1", collect_backoff=50, collect_backoff_max=50) as running:
            await publish(running.log, [numbered(1)])
            await eventually(lambda: running.metrics.registry.get_sample_value(*refused))
            async with asyncio.timeout(5):
                await running.stop()
            assert await lag_of(log_url) == 1

    refused = ("snowbus_collect_requests_total", {"collector": f"http://127.0.0.1:1{PATH}", "status": "0"})
    run(main())


def test_a_request_that_outlasts_the_drain_is_sent_again_later(sqlite_url: str) -> None:
    async def main() -> None:
        collector.respond(late(0.5))
        async with forwarding(sqlite_url, collector.url, collect_drain_timeout=0.1) as running:
            await publish(running.log, [numbered(1)])
            await eventually(lambda: collector.requests)
        async with forwarding(sqlite_url, collector.url):
            await eventually(lambda: len(collector.accepted) == 2)

    with CollectorDouble() as collector:
        run(main())
        assert collector.event_ids == ["1", "1"]


def test_events_too_large_together_go_in_parts(sqlite_url: str) -> None:
    async def main() -> None:
        async with forwarding(sqlite_url, collector.url, collect_batch_bytes=20_000) as running:
            await publish(running.log, [numbered(number, page="x" * 700) for number in range(200)])
            await eventually(lambda: len(collector.accepted) >= 200)

    with CollectorDouble(max_accepted_bytes=5_000) as collector:
        run(main())
        assert max(len(request.body) for request in collector.requests) <= 20_000
        assert collector.duplicates == {}


def test_an_event_too_large_for_the_collector_dies(sqlite_url: str) -> None:
    async def main() -> None:
        async with forwarding(sqlite_url, collector.url) as running:
            large = numbered(1, page="x" * 9_000)
            await publish(running.log, [numbered(0), large, numbered(2)])
            await eventually(lambda: nothing_left(sqlite_url))
            await running.stop()
            (dead,) = await read_all(running.log, DEAD_TOPIC)
            assert read_death(dead).status == 413

    with CollectorDouble(max_accepted_bytes=5_000) as collector:
        run(main())
        assert collector.duplicates == {}


def test_an_event_too_large_for_any_collector_dies_unsent(sqlite_url: str) -> None:
    async def main() -> None:
        async with forwarding(sqlite_url, collector.url) as running:
            text = '{"tv":"1","p":"srv","e":"pv","page":"\\ud800' + "é" * 400_000 + '"}'  # its é must be escaped, then
            large = ProducerRecord(b"user", encode_event(Event("1", 1, text)))
            await publish(running.log, [numbered(0), large, numbered(2)])
            await eventually(lambda: nothing_left(sqlite_url))
            await running.stop()
            (dead,) = await read_all(running.log, DEAD_TOPIC)
            assert read_death(dead).reason.startswith("too large: no collector takes a body over 1048576 bytes")

    with CollectorDouble() as collector:
        run(main())
        assert sorted(collector.event_ids) == ["0", "2"]


def test_a_record_that_cannot_carry_headers_leaves_its_place_as_a_dead_letter(sqlite_url: str) -> None:
    async def main() -> None:
        record = numbered(1, page="x" * 3_000)
        bound = len(record.value) + 150
        async with forwarding(sqlite_url, collector.url, max_record_bytes=bound) as running:
            await publish(running.log, [record])
            (dead,) = await eventually(lambda: read_all(running.log, DEAD_TOPIC))
            assert dead.value == b""
            assert read_death(dead).topic == EVENTS_TOPIC

    with CollectorDouble(poison=lambda _: True) as collector:
        run(main())


def test_receipts_tell_what_became_of_each_event(log_url: str) -> None:
    async def main() -> list[Report]:
        collector.respond(status(503))
        async with forwarding(log_url, collector.url) as running:
            await publish(running.log, [numbered(number) for number in range(50)])
            await eventually(lambda: nothing_left(log_url))
        async with await open_log(log_url) as log:
            reports = [read_report(record) for record in await read_all(log, DELIVERIES_TOPIC)]
        return [report for report in reports if report]

    with CollectorDouble(poison=lambda payload: payload["eid"] == "7") as collector:
        reports = run(main())
    last: dict[tuple[int, int], Receipt] = {}
    for receipt in (receipt for report in reports for receipt in report.receipts):
        last |= {
            (receipt.partition, offset): receipt
            for first, final in receipt.offsets
            for offset in range(first, final + 1)
        }
    assert len(last) == 50
    assert sum(receipt.status == "delivered" for receipt in last.values()) == 49
    (dead,) = (receipt for receipt in last.values() if receipt.status == "dead")
    assert (dead.http_status, dead.error) == (400, "the collector answered 400")
    retrying = [receipt for report in reports for receipt in report.receipts if receipt.status == "retrying"]
    assert {(receipt.http_status, receipt.error) for receipt in retrying} == {(503, "HTTP 503")}


def test_an_event_that_is_sent_with_those_of_a_second_attempt_is_at_its_first(sqlite_url: str) -> None:
    async def main() -> list[Report]:
        collector.respond(status(429, retry_after="1"))
        async with forwarding(sqlite_url, collector.url) as running:
            await publish(running.log, [numbered(0, user="same")])
            await eventually(lambda: collector.requests)
            await publish(running.log, [numbered(1, user="same")])
            await eventually(lambda: len(collector.accepted) == 2)
            await running.stop()
            reports = [read_report(record) for record in await read_all(running.log, DELIVERIES_TOPIC)]
        return [report for report in reports if report]

    with CollectorDouble() as collector:
        reports = run(main())
        assert [len(request.payloads) for request in collector.requests] == [1, 2]
    receipts = {receipt for report in reports for receipt in report.receipts if receipt.status == "delivered"}
    assert sorted((receipt.offsets, receipt.attempts) for receipt in receipts) == [(((0, 0),), 2), (((1, 1),), 1)]


def test_two_members_share_and_hand_over_without_a_repeat(log_url: str) -> None:
    published = 0

    async def keep_publishing() -> None:
        nonlocal published
        async with await open_log(log_url) as log:
            while True:
                await publish(log, [numbered(published + number, user=f"u{number}") for number in range(20)])
                published += 20
                await asyncio.sleep(0.02)

    def has_delivered(running: Forwarding) -> float:
        return running.metrics.registry.get_sample_value("snowbus_collect_delivered_events_total") or 0

    async def main() -> None:
        publishing = asyncio.create_task(keep_publishing())
        async with forwarding(log_url, collector.url, collect_batch_events=5) as first:
            await eventually(lambda: has_delivered(first))
            async with forwarding(log_url, collector.url, collect_batch_events=5) as second:
                await eventually(lambda: has_delivered(second), timeout=20)
                await first.stop()
                at_handover = published
                await eventually(lambda: published > at_handover + 100)
                publishing.cancel()
                await asyncio.wait({publishing})
                await eventually(lambda: nothing_left(log_url), timeout=20)

    with CollectorDouble(seconds=0.005) as collector:
        run(main())
        assert sorted(map(int, collector.event_ids)) == list(range(len(collector.accepted)))
        assert len(collector.accepted) >= published
        assert_in_order(collector.accepted)


def test_it_tells_how_it_is(sqlite_url: str) -> None:
    async def main() -> None:
        collector.always(status(401))
        async with forwarding(sqlite_url, collector.url) as running:
            await publish(running.log, [numbered(1)])
            assert (await running.get("/health"))[0] == 200
            assert (await running.get("/nothing"))[0] == 404

            async def ready() -> bool:
                return (await running.get("/ready"))[0] == 200

            async def refused() -> bool:
                code, body = await running.get("/ready")
                return code == 503 and "401" in body

            await eventually(refused)
            collector.always(None)
            await eventually(lambda: collector.accepted)
            await eventually(ready)
            metrics = (await running.get("/metrics"))[1]
            assert "snowbus_collect_delivered_events_total 1.0" in metrics
            assert f'snowbus_collect_requests_total{{collector="{collector.url}{PATH}",status="401"}}' in metrics

    with CollectorDouble() as collector:
        run(main())
        assert json.loads(collector.requests[0].body)["data"][0]["eid"] == "1"


@pytest.mark.parametrize("code", [200, 202])
def test_success_commits(sqlite_url: str, code: int) -> None:
    async def main() -> None:
        collector.respond(status(code))
        async with forwarding(sqlite_url, collector.url) as running:
            await publish(running.log, [numbered(1)])
            await eventually(lambda: collector.accepted)
        assert await lag_of(sqlite_url) == 0

    with CollectorDouble() as collector:
        run(main())
        assert len(collector.requests) == 1
