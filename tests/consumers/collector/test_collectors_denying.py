"""A collector that answers 403: a firewall may mean one event by it, or the collector everything."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.choosing import AWAY, DENIED_TOGETHER, PATIENCE, REFUSED, collectors, denied, pick, send, waiting, weighed

from snowbus.bus.collector.verdicts import Delivered, Denied, Stop, Verdict
from snowbus.consumers.collector.collectors import DENIALS, LONGEST_PUT_OFF, Collectors, Wait


def taking(*names: str, draw: float = 1.0) -> Collectors:
    """A choice whose first collector has taken an event."""
    choice = collectors(*names, draw=draw)
    send(choice, Delivered(), 0.0)
    return choice


def denying(*, draw: float = 1.0) -> Collectors:
    """A choice whose only collector has taken an event and then denied several."""
    choice = taking("a", draw=draw)
    for _ in range(DENIALS):
        send(choice, denied(), 0.0)
    return choice


@pytest.mark.parametrize("verdict", [DENIED_TOGETHER, denied()])
def test_one_that_has_taken_nothing_yet_is_believed_at_once(verdict: Verdict) -> None:
    choice = collectors("a")
    assert weighed(choice, verdict, 0.0) == Stop("HTTP 403", supposed=True)
    assert choice.outage is not None
    assert (choice.outage.configuration, choice.outage.supposed) == (True, True)
    assert waiting(choice, 0.0) == 1.0


def test_one_that_takes_events_may_deny_many_together() -> None:
    choice = taking("a")
    assert [weighed(choice, DENIED_TOGETHER, 0.0) for _ in range(100)] == [DENIED_TOGETHER] * 100
    assert choice.outage is None


def test_one_that_denies_event_after_event_is_taken_to_deny_everything() -> None:
    choice = taking("a")
    assert [weighed(choice, denied(), 0.0) for _ in range(DENIALS)] == [denied()] * DENIALS
    assert choice.outage is not None
    assert choice.outage.configuration
    assert choice.outage.reason == "it denied 5 events in a row, each sent alone: HTTP 403"
    assert waiting(choice, 0.0) == 1.0


def test_a_delivery_between_denials_shows_that_it_takes_events() -> None:
    choice = taking("a")
    for _ in range(10):
        for verdict in [denied()] * (DENIALS - 1) + [DENIED_TOGETHER, Delivered()]:
            send(choice, verdict, 0.0)
    assert choice.outage is None


def test_an_event_that_is_denied_once_more_is_no_new_evidence() -> None:
    choice = taking("a")
    for denials in range(1, 100):
        send(choice, denied(denials), 0.0)
    assert choice.outage is None


def test_it_is_tried_with_single_events_and_a_try_is_over_after_some() -> None:
    choice = denying()
    assert not pick(taking("a"), 0.0).alone
    now: float | None = waiting(choice, 0.0)
    tries = []
    while now is not None and now < 100:
        tries.append(now)
        for denials in range(1, DENIALS + 1):  # those that were denied before count here
            attempt = pick(choice, now)
            assert attempt.alone
            assert choice.weigh(attempt, denied(denials)) == denied(denials)
            choice.settle(attempt, denied(denials), now)
        now = waiting(choice, now)
    assert tries == [1.0, 3.0, 7.0, 15.0, 31.0, 55.0, 79.0]


def test_the_first_event_that_it_takes_brings_it_back() -> None:
    choice = denying()
    send(choice, denied(), 1.0)
    attempt = pick(choice, 1.0)
    change = choice.settle(attempt, Delivered(), 1.0)
    assert change is not None
    assert change.over
    assert weighed(choice, DENIED_TOGETHER, 1.0) == DENIED_TOGETHER
    for _ in range(DENIALS - 1):
        send(choice, denied(), 1.0)
    assert choice.outage is None


@pytest.mark.parametrize("verdict", [AWAY, Stop("HTTP 401")])
def test_one_that_was_away_has_to_take_an_event_before_one_is_looked_for(verdict: Verdict) -> None:
    choice = taking("a")
    send(choice, verdict, 0.0)
    send(choice, REFUSED, 24.0)
    assert choice.outage is None
    assert weighed(choice, DENIED_TOGETHER, 24.0) == Stop("HTTP 403", supposed=True)


def test_what_was_under_way_when_it_was_taken_to_deny_everything_is_not_looked_through() -> None:
    choice = taking("a")
    late = pick(choice, 0.0)
    for _ in range(DENIALS):
        send(choice, denied(), 0.0)
    verdict = choice.weigh(late, DENIED_TOGETHER)
    assert verdict == Stop("HTTP 403", supposed=True)
    assert choice.settle(late, verdict, 0.0) is None
    assert waiting(choice, 0.0) == 1.0


def test_while_another_takes_events_it_is_tried_with_any_and_all_go_there() -> None:
    choice = taking("a", "b")
    for _ in range(DENIALS):
        send(choice, denied(), 0.0)
    assert send(choice, Delivered(), 0.0) == "b"
    probe = pick(choice, 1.0)
    assert (probe.collector.name, probe.alone) == ("a", False)
    for verdict in (DENIED_TOGETHER, denied()):
        assert choice.weigh(probe, verdict) == Stop("HTTP 403", supposed=True)
    choice.settle(probe, Stop("HTTP 403", supposed=True), 1.0)
    assert send(choice, Delivered(), 1.0) == "b"


def test_an_event_is_put_off_for_twice_as_long_each_time_up_to_an_hour() -> None:
    choice = taking("a")
    attempt = pick(choice, 0.0)
    waits = [choice.put_off(attempt, denied(denials)) for denials in range(1, 12)]
    assert waits == [8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, LONGEST_PUT_OFF, LONGEST_PUT_OFF]


@given(st.floats(0, 1), st.integers(1, 100), st.integers(1, 30))
def test_an_event_of_a_try_comes_again_only_after_the_next_try(draw: float, denials: int, tries: int) -> None:
    choice = denying(draw=draw)
    now = waiting(choice, 0.0)
    for _ in range(tries):
        assert now is not None
        attempts, came_at = [], now
        for _ in range(DENIALS):
            attempt = pick(choice, now)
            choice.settle(attempt, denied(denials), now)
            attempts.append(choice.put_off(attempt, denied(denials)))
        now = waiting(choice, now)
        assert now is not None
        assert came_at + min(attempts) > now
        assert max(attempts) <= max(LONGEST_PUT_OFF, 2 * PATIENCE.configuration)


def deliver(
    choice: Collectors, events: list[int], *, most: int, forbids: Callable[[int], bool], tries: int
) -> set[int]:
    """Send events, each of a key of its own, as the runner does, in so many tries; which are taken."""
    now, taken = 0.0, set[int]()
    due = [(0.0, event) for event in events]
    parts: list[list[int]] = []
    denials = dict.fromkeys(events, 0)
    for _ in range(10_000):
        if not parts:
            due.sort(key=lambda each: each[0])
            parts = [[event for when, event in due[:most] if when <= now]]
            due = due[len(parts[0]) :]
            if not parts[0]:
                if len(taken) + len(due) == len(events) and all(map(forbids, (event for _, event in due))):
                    break
                now = due[0][0]
                parts = []
                continue
        attempt = choice.pick(now)
        if isinstance(attempt, Wait):
            assert attempt.until is not None
            due += [(attempt.until, event) for part in reversed(parts) for event in part]
            parts, now, tries = [], attempt.until, tries - 1
            assert tries >= 0
            continue
        part = parts.pop()
        middle = len(part) // 2
        if len(part) > 1 and (attempt.alone or any(denials[event] for event in part)):
            choice.give_up(attempt)
            parts += [part[middle:], part[:middle]]
            continue
        verdict: Verdict = Delivered()
        if any(map(forbids, part)):
            verdict = Denied("HTTP 403", denials[part[0]] + 1 if len(part) == 1 else 0)
        verdict = choice.weigh(attempt, verdict)
        choice.settle(attempt, verdict, now)
        if isinstance(verdict, Delivered):
            taken.update(part)
        elif isinstance(verdict, Denied) and len(part) > 1:
            parts += [part[middle:], part[:middle]]
        elif isinstance(verdict, Denied):
            denials[part[0]] = verdict.denials
            due.append((now + choice.put_off(attempt, verdict), part[0]))
        else:
            parts.append(part)
    return taken


@given(st.lists(st.booleans(), min_size=1, max_size=100), st.integers(1, 64), st.booleans())
def test_every_event_that_is_not_forbidden_is_delivered_whatever_others_there_are(
    forbidden: list[bool], most: int, has_taken: bool
) -> None:
    choice = taking("a") if has_taken else collectors("a")
    events = list(range(len(forbidden)))
    taken = deliver(choice, events, most=most, forbids=lambda event: forbidden[event], tries=2 + sum(forbidden))
    assert taken == {event for event in events if not forbidden[event]}
