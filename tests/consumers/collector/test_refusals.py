"""The collector consumer before a collector that refuses event after event, each as if it were at fault."""

from support.aio import eventually, run
from support.collector_double import PATH, CollectorDouble, Payload, status
from support.forwarding import Forwarding, forwarding, numbered, publish, read_all

from snowbus.bus.event import DEAD_TOPIC, DELIVERIES_TOPIC
from snowbus.consumers.progress import read_progress
from snowbus.consumers.receipts import read_report

EVENTS = 1_000
REFUSALS = 10
SELDOM = {"collect_refusals": REFUSALS, "collect_backoff": 60, "collect_backoff_max": 60}
OFTEN = {"collect_refusals": REFUSALS, "collect_backoff": 0.005, "collect_backoff_max": 0.005}


async def dead_in(running: Forwarding) -> list[str]:
    """The `eid`s of the events that died."""
    return [(record.header("event_id") or b"").decode() for record in await read_all(running.log, DEAD_TOPIC)]


async def refuses(running: Forwarding) -> bool:
    """Whether it says that the collector refuses everything."""
    code, why = await running.get("/ready")
    return code == 503 and "events in a row, each sent alone" in why


def assert_in_order(collector: CollectorDouble) -> None:
    for event_ids in collector.order().values():
        assert event_ids == sorted(event_ids, key=int)


def test_a_collector_that_refuses_everything_costs_few_events_and_the_others_wait(log_url: str) -> None:
    async def main() -> None:
        async with forwarding(log_url, collector.url, **SELDOM, collect_batch_events=20) as running:
            await publish(running.log, map(numbered, range(EVENTS)))
            await eventually(lambda: refuses(running))
            await running.stop()
            dead = await dead_in(running)
            assert len(dead) == REFUSALS
            said = await running.log.group_offsets("collector")
            told = [progress for found in said.values() if (progress := read_progress(found))]
            assert any("it refused 10 events in a row" in progress.last_error for progress in told)
            reports = [read_report(record) for record in await read_all(running.log, DELIVERIES_TOPIC)]
            (*_, last) = [state for report in reports if report for state in report.collectors]
            assert (last.state, last.url) == ("refusing", f"{collector.url}{PATH}")
        collector.always(None)
        async with forwarding(log_url, collector.url):
            await eventually(lambda: len(collector.accepted) >= EVENTS - REFUSALS)
        assert sorted([*collector.event_ids, *dead], key=int) == [str(number) for number in range(EVENTS)]

    with CollectorDouble(seconds=0.002) as collector:
        collector.always(status(400, "blocked by a rule"))
        run(main())
        assert_in_order(collector)


def test_a_collector_that_refused_everything_gets_all_that_waited_once_it_takes_an_event(sqlite_url: str) -> None:
    async def all_done(running: Forwarding) -> bool:
        return len(collector.accepted) + len(await dead_in(running)) >= EVENTS

    async def main() -> None:
        async with forwarding(sqlite_url, collector.url, **OFTEN) as running:
            await publish(running.log, map(numbered, range(EVENTS)))
            await eventually(lambda: refuses(running))
            await eventually(lambda: len(collector.requests) > 100)
            collector.always(None)
            await eventually(lambda: all_done(running))
            assert (await running.get("/ready"))[0] == 200
            assert sorted([*collector.event_ids, *await dead_in(running)], key=int) == list(map(str, range(EVENTS)))

    with CollectorDouble() as collector:
        collector.always(status(422))
        run(main())
        assert_in_order(collector)
        assert collector.duplicates == {}


def test_a_run_of_events_that_are_at_fault_passes_by_itself(sqlite_url: str) -> None:
    async def main() -> None:
        async with forwarding(sqlite_url, collector.url, **OFTEN) as running:
            await publish(running.log, [numbered(number, user="same") for number in range(50)])
            await eventually(lambda: len(collector.accepted) == 10)
            assert await dead_in(running) == [str(number) for number in range(40)]

    def poison(payload: Payload) -> bool:
        return int(payload["eid"]) < 40

    with CollectorDouble(poison=poison) as collector:
        run(main())
        assert_in_order(collector)


def test_a_run_of_events_that_are_at_fault_stands_in_no_one_elses_way(sqlite_url: str) -> None:
    async def all_dead(running: Forwarding) -> bool:
        return len(await dead_in(running)) == 30

    async def main() -> None:
        async with forwarding(sqlite_url, collector.url, **OFTEN) as running:
            bad = [numbered(number, user="bad") for number in range(30)]
            await publish(running.log, bad)
            await eventually(lambda: refuses(running))
            await publish(running.log, map(numbered, range(100, 200)))
            await eventually(lambda: len(collector.accepted) == 100)
            await eventually(lambda: all_dead(running))

    with CollectorDouble(poison=lambda payload: payload["uid"] == "bad") as collector:
        run(main())
        assert_in_order(collector)


def test_with_no_bound_every_event_that_is_refused_dies_at_once(sqlite_url: str) -> None:
    async def main() -> None:
        async with forwarding(sqlite_url, collector.url, **(SELDOM | {"collect_refusals": 0})) as running:
            await publish(running.log, [numbered(number) for number in range(300)])
            await eventually(lambda: len(collector.accepted) == 100)
            assert len(await dead_in(running)) == 200

    with CollectorDouble(poison=lambda payload: int(payload["eid"]) < 200) as collector:
        run(main())


def test_while_one_refuses_everything_the_next_takes_the_events_and_none_dies(sqlite_url: str) -> None:
    async def main() -> None:
        both = f"{preferred.url},{other.url}"
        async with forwarding(sqlite_url, both, **OFTEN, collect_failback=0.02) as running:
            await publish(running.log, map(numbered, range(EVENTS)))
            await eventually(lambda: len(other.accepted) == EVENTS - REFUSALS)
            tried = len(preferred.requests)
            for number in range(EVENTS, EVENTS + 20):
                await publish(running.log, [numbered(number)])
                await eventually(lambda number=number: str(number) in other.event_ids)
            await eventually(lambda: len(preferred.requests) > tried)
            assert len(await dead_in(running)) == REFUSALS

    with CollectorDouble() as preferred, CollectorDouble() as other:
        preferred.always(status(400))
        run(main())
        assert_in_order(other)
        assert preferred.accepted == []
