"""A collector that refuses event after event: it may refuse everything, and then no event is to die of it."""

from hypothesis import given
from hypothesis import strategies as st
from support.choosing import AWAY, REFUSALS, REFUSED, collectors, pick, refuse, send, waiting

from snowbus.bus.collector.verdicts import Delivered, Split, Stop, Verdict
from snowbus.consumers.collector.collectors import Wait


def test_one_that_refuses_event_after_event_is_taken_to_refuse_everything() -> None:
    choice = collectors("a")
    assert [refuse(choice, 0.0) for _ in range(REFUSALS)] == [True] * REFUSALS
    assert choice.outage is not None
    assert choice.outage.configuration
    assert choice.outage.reason == "it refused 3 events in a row, each sent alone: no"
    assert waiting(choice, 0.0) == 1.0


def test_a_delivery_between_refusals_shows_that_it_takes_events() -> None:
    choice = collectors("a")
    for _ in range(10):
        assert [refuse(choice, 0.0) for _ in range(REFUSALS - 1)] == [True] * (REFUSALS - 1)
        send(choice, Delivered(), 0.0)
    assert choice.outage is None


def test_with_no_bound_every_refused_event_dies() -> None:
    choice = collectors("a", refusals=0)
    assert all(refuse(choice, 0.0) for _ in range(1_000))
    assert choice.outage is None


def test_of_what_was_under_way_when_it_was_taken_to_refuse_everything_nothing_dies() -> None:
    choice = collectors("a")
    attempts = [pick(choice, 0.0) for _ in range(64)]
    verdicts = []
    for attempt in attempts:
        verdicts.append(choice.weigh(attempt, REFUSED))
        choice.settle(attempt, verdicts[-1], 0.0)
    assert verdicts[:REFUSALS] == [REFUSED] * REFUSALS
    assert all(isinstance(verdict, Stop) for verdict in verdicts[REFUSALS:])
    assert waiting(choice, 0.0) == 1.0


def test_a_try_goes_on_with_parts_of_what_is_refused_together() -> None:
    choice = collectors("a")
    for _ in range(REFUSALS):
        refuse(choice, 0.0)
    assert [send(choice, Split("no"), 1.0) for _ in range(8)] == ["a"] * 8
    assert choice.outage is not None
    assert refuse(choice, 1.0)
    assert waiting(choice, 1.0) == 3.0


def test_while_it_refuses_everything_a_try_costs_one_event_and_the_tries_grow_seldom() -> None:
    choice = collectors("a")
    for _ in range(REFUSALS):
        refuse(choice, 0.0)
    tries = []
    now: float | None = waiting(choice, 0.0)
    while now is not None and now < 100:
        tries.append(now)
        assert refuse(choice, now)
        now = waiting(choice, now)
    assert tries == [1.0, 3.0, 7.0, 15.0, 31.0, 55.0, 79.0]


def test_an_event_that_it_takes_brings_it_back_and_the_count_begins_anew() -> None:
    choice = collectors("a")
    for _ in range(REFUSALS):
        refuse(choice, 0.0)
    attempt = pick(choice, 1.0)
    change = choice.settle(attempt, choice.weigh(attempt, Delivered()), 1.0)
    assert change is not None
    assert change.over
    assert [refuse(choice, 1.0) for _ in range(REFUSALS - 1)] == [True] * (REFUSALS - 1)
    assert choice.outage is None


def test_one_that_refused_everything_and_then_went_away_has_still_to_take_an_event() -> None:
    choice = collectors("a")
    for _ in range(REFUSALS):
        refuse(choice, 0.0)
    send(choice, AWAY, 1.0)
    assert choice.outage is not None
    assert not choice.outage.configuration
    send(choice, Split("no"), 3.0)
    refuse(choice, 3.0)
    assert choice.outage.configuration


def test_no_event_dies_at_one_that_refuses_everything_while_another_takes_events() -> None:
    choice = collectors("a", "b")
    assert [refuse(choice, 0.0) for _ in range(REFUSALS)] == [True] * REFUSALS
    assert send(choice, Delivered(), 0.0) == "b"
    probe = pick(choice, 1.0)
    assert probe.collector.name == "a"
    verdict = choice.weigh(probe, REFUSED)
    assert isinstance(verdict, Stop)
    choice.settle(probe, verdict, 1.0)
    assert send(choice, Delivered(), 1.0) == "b"
    assert refuse(choice, 1.0)  # by b, which takes others


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 60)), min_size=1, max_size=8),
    st.integers(1, 20),
    st.integers(1, 64),
)
def test_every_event_that_a_collector_takes_is_delivered_whatever_runs_of_others_there_are(
    runs: list[tuple[bool, int]], refusals: int, most: int
) -> None:
    """The events of one key, in batches that are halved as the runner does; True is one that is refused."""
    choice = collectors("a", refusals=refusals)
    events = [bad for bad, count in runs for _ in range(count)]
    now, tries, in_a_row, delivered = 0.0, 0, 0, 0
    parts: list[list[bool]] = []
    while events or parts:
        if not parts:
            parts, events = [events[:most]], events[most:]
        attempt = choice.pick(now)
        if isinstance(attempt, Wait):
            assert attempt.until is not None
            assert in_a_row >= refusals
            now, tries = attempt.until, tries + 1
            continue
        part = parts.pop()
        if not any(part):
            verdict: Verdict = Delivered()
        elif len(part) > 1:
            verdict = Split("no")
            parts += [part[len(part) // 2 :], part[: len(part) // 2]]
        else:
            verdict = REFUSED
        assert choice.weigh(attempt, verdict) == verdict
        choice.settle(attempt, verdict, now)
        if verdict == REFUSED:
            in_a_row += 1
            assert in_a_row <= refusals + tries
        elif verdict == Delivered():
            delivered, in_a_row, tries = delivered + len(part), 0, 0
    assert delivered == sum(count for bad, count in runs if not bad)
