"""The collector consumer before a 403: a firewall may mean one event by it, or the collector everything."""

import pytest
from support.aio import eventually, run
from support.collector_double import CollectorDouble, status
from support.diagnostics import capture_logs
from support.forwarding import Forwarding, forwarding, numbered, publish, read_all

from snowbus.bus.event import DEAD_TOPIC
from snowbus.consumers.progress import read_progress

QUICK = {"collect_backoff": 0.1, "collect_backoff_max": 0.5}
SELDOM = {"collect_backoff": 60, "collect_backoff_max": 60}


async def refuses(running: Forwarding) -> bool:
    """Whether it says that the collector refuses us with a 403."""
    code, why = await running.get("/ready")
    return code == 503 and "HTTP 403" in why


async def said(running: Forwarding) -> str:
    """What is said of the last trouble, wherever it is said."""
    found = await running.log.group_offsets("collector")
    return "".join(progress.last_error for each in found.values() if (progress := read_progress(each)))


def times_alone(collector: CollectorDouble, event_id: str) -> int:
    """How often an event has come in a request of its own."""
    return sum([payload["eid"] for payload in each.payloads] == [event_id] for each in collector.requests)


def assert_in_order(collector: CollectorDouble) -> None:
    for event_ids in collector.order().values():
        assert event_ids == sorted(event_ids, key=int)


def test_one_event_that_is_denied_waits_with_its_key_alone_until_the_rule_is_mended(log_url: str) -> None:
    others = [number for number in range(600) if number < 300 or number % 50]

    async def main() -> None:
        async with forwarding(log_url, collector.url, **QUICK) as running:
            await publish(running.log, [numbered(number, user=f"user-{number % 50}") for number in range(100)])
            await eventually(lambda: len(collector.accepted) == 100)
            await publish(running.log, [numbered(number, user=f"user-{number % 50}") for number in range(100, 600)])
            await eventually(lambda: sorted(map(int, collector.event_ids)) == others)
            await eventually(lambda: times_alone(collector, "300") >= 2)
            await eventually(lambda: said(running))
            assert await said(running) == "HTTP 403: it forbids us to send this"
            assert (await running.get("/ready"))[0] == 200
            assert await read_all(running.log, DEAD_TOPIC) == []
            collector.refused = {}
            await eventually(lambda: len(collector.accepted) == 600)

    with capture_logs() as logs, CollectorDouble(refused={"300": 403}) as collector:
        run(main())
        assert collector.duplicates == {}
        assert_in_order(collector)
    assert not [entry for entry in logs if entry["event"] == "the collector refuses us"]


def test_one_that_denies_everything_from_the_start_is_believed_at_once(sqlite_url: str) -> None:
    async def main() -> None:
        async with forwarding(sqlite_url, collector.url, **SELDOM) as running:
            await publish(running.log, [numbered(number, user="same") for number in range(600)])
            await eventually(lambda: refuses(running))
            assert await read_all(running.log, DEAD_TOPIC) == []

    with CollectorDouble() as collector:
        collector.always(status(403))
        run(main())
        assert len(collector.requests) == 1


def test_an_event_that_is_denied_first_of_all_keeps_nobody_waiting_beyond_the_next_try(sqlite_url: str) -> None:
    async def main() -> None:
        async with forwarding(sqlite_url, collector.url, **QUICK) as running:
            await publish(running.log, [numbered(number, user=str(number)) for number in range(100)])
            await eventually(lambda: len(collector.accepted) == 99)

    with CollectorDouble(refused={"0": 403}) as collector:
        run(main())


@pytest.mark.parametrize("forbidden", [{}, {"17": 403, "5000": 403}], ids=["nothing", "two events"])
def test_one_that_denies_everything_for_a_while_gets_all_that_waited(
    sqlite_url: str, forbidden: dict[str, int]
) -> None:
    async def main() -> None:
        async with forwarding(sqlite_url, collector.url, **QUICK, collect_in_flight=8) as running:
            events = [numbered(number, user=str(number)) for number in range(6_000)]
            await publish(running.log, events)
            await eventually(lambda: len(collector.accepted) >= 1_000)
            collector.always(status(403))
            sent = len(collector.requests)
            await eventually(lambda: refuses(running))
            assert len(collector.requests) - sent <= 150
            collector.always(None)
            await eventually(lambda: len(collector.accepted) == len(events) - len(forbidden))
            assert await read_all(running.log, DEAD_TOPIC) == []
            assert (await running.get("/ready"))[0] == 200

    with CollectorDouble(seconds=0.02, refused=forbidden) as collector:
        run(main())
        assert not set(forbidden) & set(collector.event_ids)
        assert collector.duplicates == {}
