"""Several collectors: the first that takes events gets them, and the preferred one again when it is well."""

import itertools
from collections.abc import Iterator

import pytest
from support.aio import eventually, run
from support.collector_double import Behaviour, CollectorDouble, hang, status
from support.diagnostics import capture_logs
from support.forwarding import Forwarding, forwarding, numbered, publish, read_all

from snowbus.bus.event import DEAD_TOPIC

QUICK = {"collect_batch_events": 5, "collect_failback": 0.05, "collect_timeout": 0.3}


@pytest.fixture
def preferred() -> Iterator[CollectorDouble]:
    with CollectorDouble() as collector:
        yield collector


@pytest.fixture
def other() -> Iterator[CollectorDouble]:
    with CollectorDouble() as collector:
        yield collector


def taken(*collectors: CollectorDouble) -> set[int]:
    return {int(event_id) for collector in collectors for event_id in collector.event_ids}


def check_order(collector: CollectorDouble) -> None:
    for event_ids in collector.order().values():
        assert event_ids == sorted(event_ids, key=int)


def is_up(running: Forwarding, collector: CollectorDouble) -> bool | None:
    """What the metric says, None while it does not say anything yet."""
    labels = {"collector": f"{collector.url}{collector.path}"}
    value = running.metrics.registry.get_sample_value("snowbus_collect_collector_up", labels)
    return None if value is None else bool(value)


def test_the_next_takes_over_and_the_preferred_one_gets_its_events_back(
    sqlite_url: str, preferred: CollectorDouble, other: CollectorDouble
) -> None:
    async def main() -> None:
        async with forwarding(sqlite_url, f"{preferred.url},{other.url}", **QUICK) as running:
            await publish(running.log, [numbered(number) for number in range(50)])
            await eventually(lambda: len(taken(preferred)) == 50)
            preferred.down()
            await publish(running.log, [numbered(number) for number in range(50, 100)])
            await eventually(lambda: taken(other) >= set(range(50, 100)))
            await eventually(lambda: (is_up(running, preferred), is_up(running, other)) == (False, True))
            preferred.up()
            for number in itertools.count(100):
                await publish(running.log, [numbered(number)])
                await eventually(lambda number=number: number in taken(preferred, other))
                if number in taken(preferred):
                    break
            await eventually(lambda: is_up(running, preferred))

    run(main())
    assert not other.duplicates
    assert preferred.violations == other.violations == []


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (status(503), "the collector is away"),
        (status(403), "the collector refuses us"),
        (hang(30), "the collector is away"),
    ],
    ids=["503", "403", "silence"],
)
def test_whatever_keeps_the_preferred_one_from_taking_events_the_next_one_does(
    sqlite_url: str, preferred: CollectorDouble, other: CollectorDouble, behaviour: Behaviour, said: str
) -> None:
    async def main() -> None:
        preferred.always(behaviour)
        async with forwarding(sqlite_url, f"{preferred.url},{other.url}", **QUICK) as running:
            await publish(running.log, [numbered(number) for number in range(50)])
            await eventually(lambda: taken(other) == set(range(50)))
            assert await read_all(running.log, DEAD_TOPIC) == []

    with capture_logs() as logs:
        run(main())
    check_order(other)
    name = f"{preferred.url}{preferred.path}"
    (warning, *_) = [entry for entry in logs if entry.get("collector") == name]
    assert (warning["event"], warning["log_level"]) == (said, "warning")
    assert warning["events"] == f"go to {other.url}{other.path}"


def test_events_that_the_preferred_one_refuses_are_not_tried_on_the_next(
    sqlite_url: str, preferred: CollectorDouble, other: CollectorDouble
) -> None:
    async def main() -> None:
        preferred.refused = {"7": 422}
        async with forwarding(sqlite_url, f"{preferred.url},{other.url}", **QUICK) as running:
            await publish(running.log, [numbered(number) for number in range(20)])
            await eventually(lambda: len(taken(preferred)) == 19)
            (dead,) = await eventually(lambda: read_all(running.log, DEAD_TOPIC))
            assert dead.header("event_id") == b"7"

    run(main())
    assert other.requests == []


def test_when_both_are_away_the_first_to_come_back_gets_the_events_in_order(
    sqlite_url: str, preferred: CollectorDouble, other: CollectorDouble
) -> None:
    async def main() -> None:
        preferred.down()
        other.down()
        async with forwarding(sqlite_url, f"{preferred.url},{other.url}", **QUICK) as running:
            await publish(running.log, [numbered(number) for number in range(50)])
            await eventually(lambda: (is_up(running, preferred), is_up(running, other)) == (False, False))
            other.up()
            await eventually(lambda: taken(other) == set(range(50)))

    run(main())
    check_order(other)
    assert preferred.requests == []
