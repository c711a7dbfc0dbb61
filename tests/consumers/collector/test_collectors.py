"""The choice among collectors: the first that takes events, and a probe now and then of one that does not."""

from dataclasses import dataclass, field
from math import inf

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule
from support.choosing import (
    AWAY,
    DENIED_TOGETHER,
    FORBIDDEN,
    PATIENCE,
    REFUSED,
    collectors,
    denied,
    pick,
    send,
    waiting,
)

from snowbus.bus.collector.verdicts import Delivered, Denied, Retry, Split, Stop, Verdict
from snowbus.consumers.collector.collectors import DENIALS, Attempt, Outage, State, Wait

REFUSES = Stop("it refuses everything", supposed=True)
DENIES = Stop("it denies everything", supposed=True)


def test_the_preferred_one_has_all_while_it_takes_events() -> None:
    choice = collectors("a", "b")
    assert [send(choice, Delivered(), now) for now in range(5)] == ["a"] * 5


@pytest.mark.parametrize("verdict", [AWAY, Retry("HTTP 503", 1.0), FORBIDDEN])
def test_the_next_one_takes_over_at_once(verdict: Verdict) -> None:
    choice = collectors("a", "b", "c")
    attempt = pick(choice, 0.0)
    change = choice.settle(attempt, verdict, 0.0)
    assert change is not None
    assert (change.collector.name, change.over, change.instead) == ("a", False, "b")
    assert send(choice, verdict, 0.0) == "b"
    assert send(choice, Delivered(), 0.0) == "c"


@pytest.mark.parametrize("verdict", [Split("no"), REFUSED])
def test_events_that_are_not_taken_are_no_reason_to_change(verdict: Verdict) -> None:
    choice = collectors("a", "b")
    assert [send(choice, each, 0.0) for each in [verdict, verdict, Delivered()] * 5] == ["a"] * 15
    assert choice.outage is None


@pytest.mark.parametrize("verdict", [Delivered(), Split("no"), REFUSED])
def test_any_answer_of_one_that_is_there_brings_it_back(verdict: Verdict) -> None:
    choice = collectors("a", "b")
    send(choice, AWAY, 0.0)
    assert send(choice, Delivered(), 0.5) == "b"
    probe = pick(choice, 1.0)
    change = choice.settle(probe, verdict, 1.0)
    assert change is not None
    assert (change.collector.name, change.over, change.outage.since) == ("a", True, 0.0)
    assert send(choice, Delivered(), 1.0) == "a"


def test_while_it_is_tried_again_the_others_go_on() -> None:
    choice = collectors("a", "b")
    send(choice, AWAY, 0.0)
    probe = pick(choice, 1.0)
    assert probe.collector.name == "a"
    assert [send(choice, Delivered(), 1.0) for _ in range(3)] == ["b"] * 3
    choice.settle(probe, AWAY, 1.5)
    assert send(choice, Delivered(), 3.4) == "b"
    assert send(choice, Delivered(), 3.5) == "a"


def test_one_that_is_spared_is_tried_less_and_less_often() -> None:
    choice = collectors("a", "b")
    probes = []
    for now in range(80):
        attempt = pick(choice, now)
        if attempt.collector.name == "a":
            probes.append(now)
        choice.settle(attempt, AWAY if attempt.collector.name == "a" else Delivered(), now)
    assert probes == [0, 1, 3, 7, 15, 31, 47, 63, 79]


def test_when_all_are_away_the_soonest_is_waited_for() -> None:
    choice = collectors("a", "b")
    send(choice, AWAY, 0.0)
    send(choice, AWAY, 0.5)
    assert waiting(choice, 0.5) == 1.0
    assert send(choice, AWAY, 1.0) == "a"
    assert waiting(choice, 1.0) == 1.5


def test_when_all_are_away_none_is_spared() -> None:
    choice = collectors("a", "b")
    for now in (0.0, 1.0, 3.0, 7.0, 15.0):  # a fails, and b takes what follows
        assert send(choice, AWAY, now) == "a"
        assert send(choice, Delivered(), now) == "b"
    send(choice, AWAY, 16.0)
    assert choice.outage is not None
    assert waiting(choice, 16.0) == 17.0
    attempt = pick(choice, 19.0)
    assert attempt.collector.name == "a"  # 4 seconds after it failed, not 16


def test_when_every_one_is_tried_only_an_outcome_helps() -> None:
    choice = collectors("a", "b")
    send(choice, AWAY, 0.0)
    send(choice, AWAY, 0.0)
    first, second = pick(choice, 1.0), pick(choice, 1.0)
    assert [first.collector.name, second.collector.name] == ["a", "b"]
    assert waiting(choice, 1.0) is None
    choice.settle(second, Delivered(), 2.0)
    assert send(choice, Delivered(), 2.0) == "b"


def test_a_try_that_is_given_up_makes_way_for_the_next() -> None:
    choice = collectors("a")
    send(choice, AWAY, 0.0)
    attempt = pick(choice, 1.0)
    assert waiting(choice, 1.0) is None
    choice.give_up(attempt)
    assert send(choice, Delivered(), 1.0) == "a"
    choice.give_up(attempt)
    assert choice.outage is None


def test_what_was_under_way_when_it_went_away_does_not_lengthen_the_wait() -> None:
    choice = collectors("a")
    attempts = [pick(choice, 0.0) for _ in range(4)]
    changes = [choice.settle(attempt, AWAY, 0.0) for attempt in attempts]
    assert [change is not None for change in changes] == [True, False, False, False]
    assert waiting(choice, 0.0) == 1.0


def test_what_was_under_way_when_it_went_away_does_not_bring_it_back() -> None:
    choice = collectors("a")
    early, late = pick(choice, 0.0), pick(choice, 0.0)
    choice.settle(early, AWAY, 0.0)
    assert choice.settle(late, Delivered(), 0.1) is None
    assert choice.outage is not None


def test_what_was_sent_before_it_came_back_does_not_send_it_away_again() -> None:
    choice = collectors("a")
    slow, quick = pick(choice, 0.0), pick(choice, 0.0)
    choice.settle(quick, AWAY, 0.0)
    send(choice, Delivered(), 1.0)
    assert choice.settle(slow, AWAY, 1.5) is None
    assert choice.outage is None


def test_the_longest_retry_after_counts() -> None:
    choice = collectors("a", "b")
    attempts = [pick(choice, 0.0) for _ in range(3)]
    for attempt, seconds in zip(attempts, (10.0, 40.0, 5.0), strict=True):
        choice.settle(attempt, Retry("busy", seconds), 0.0)
    assert send(choice, Delivered(), 39.9) == "b"
    assert send(choice, Delivered(), 40.0) == "a"


def test_a_retry_after_of_nothing_is_no_invitation_to_hurry() -> None:
    choice = collectors("a")
    send(choice, Retry("busy", 0.0), 0.0)
    assert waiting(choice, 0.0) == 1.0


def test_configuration_is_tried_seldom() -> None:
    choice = collectors("a")
    send(choice, FORBIDDEN, 0.0)
    assert choice.outage == Outage(0.0, "HTTP 401", True, 1, 24.0, 24.0)
    assert waiting(choice, 0.0) == 24.0


def test_one_that_soon_goes_away_again_is_trusted_less_each_time() -> None:
    choice = collectors("a", "b")
    away = []
    now = 0.0
    for _ in range(4):
        send(choice, AWAY, now)
        went = now
        while send(choice, Delivered(), now) == "b":
            now += 0.5
        away.append(now - went)
    assert away == [1.0, 2.0, 4.0, 8.0]
    send(choice, AWAY, now + 60.0)
    assert send(choice, Delivered(), now + 61.0) == "a"


def test_how_they_stand_can_be_told() -> None:
    choice = collectors("a", "b")
    assert choice.states(5.0) == [State("a", "untried", 5.0), State("b", "untried", 5.0)]
    choice.settle(pick(choice, 5.0), Delivered(), 5.0)
    assert choice.states(6.0) == [State("a", "up", 1.0), State("b", "untried", 6.0)]
    choice.settle(pick(choice, 6.0), Retry("busy", 30.0), 6.0)
    assert choice.states(16.0) == [State("a", "down", 10.0, "busy", 20.0), State("b", "untried", 16.0)]
    assert choice.outage is None
    choice.settle(pick(choice, 16.0), FORBIDDEN, 16.0)
    assert choice.states(17.0)[1] == State("b", "refusing", 1.0, "HTTP 401", 23.0)
    assert choice.outage is not None
    assert choice.outage.reason == "busy"


@dataclass
class Naive:
    """What a collector is, told from everything that ever became of requests to it."""

    settled: list[tuple[float, Verdict, bool]] = field(default_factory=list)  # when, what, and whether it was news
    asked: float = 0.0
    trying: bool = False

    @property
    def refused(self) -> int:
        """How many events it has refused since it last took any."""
        count = 0
        for _, verdict, news in reversed(self.settled):
            if news and verdict == Delivered():
                break
            count += news and verdict in (REFUSED, REFUSES)
        return count

    @property
    def since_it_failed(self) -> list[Verdict]:
        """What it has come to since it last failed, from the last delivery on."""
        since: list[Verdict] = []
        for _, verdict, news in reversed(self.settled):
            if news and isinstance(verdict, Retry | Stop):
                break
            since += [verdict] if news else []
            if news and verdict == Delivered():
                break
        return since

    @property
    def takes(self) -> bool:
        return Delivered() in self.since_it_failed

    @property
    def denied(self) -> int:
        """How many events it has denied alone since then."""
        return sum(isinstance(verdict, Denied) for verdict in self.since_it_failed)

    @property
    def telling(self) -> list[tuple[float, Verdict]]:
        """What tells whether it is there: a denial does not."""
        return [(when, each) for when, each, news in self.settled if news and not isinstance(each, Denied)]

    @property
    def news(self) -> list[tuple[float, bool]]:
        return [(when, isinstance(verdict, Retry | Stop)) for when, verdict in self.telling]

    @property
    def up(self) -> bool:
        return not self.news or not self.news[-1][1]

    @property
    def turns(self) -> list[float]:
        """When it went away or came back."""
        states = [False] + [failed for _, failed in self.news]
        whens = [when for when, _ in self.news]
        return [when for when, before, after in zip(whens, states[:-1], states[1:], strict=True) if before != after]

    def next_try(self, *, spared: bool) -> float:
        when, verdict = self.telling[-1]
        failures = 0
        for _, failed in reversed(self.news):
            if not failed:
                break
            failures += 1
        if isinstance(verdict, Stop):
            next_try = when + min(PATIENCE.configuration, 2 ** (failures - 1) if verdict.supposed else inf)
        else:
            assert isinstance(verdict, Retry)
            next_try = when + (verdict.after or min(PATIENCE.maximum, 2 ** (failures - 1)))
        if spared:
            next_try = max(next_try, when + min(PATIENCE.failback, 2 ** (failures + self.relapses - 1)))
        return max(next_try, self.asked)

    @property
    def relapses(self) -> int:
        turns = self.turns
        count = 0
        for went, back in zip(turns[-1::-2], turns[-2::-2], strict=False):
            if went - back >= 60.0:
                break
            count += 1
        return count


class Choosing(RuleBasedStateMachine):
    """Requests begin, end in any order with any verdict, or are given up, while time goes on."""

    sent = Bundle("sent")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.choice = collectors("a", "b", "c", refusals=2)
        self.naive = {name: Naive() for name in "abc"}

    def expected(self) -> str | float | None:
        spared = any(each.up for each in self.naive.values())
        soonest: list[float] = []
        for name, naive in self.naive.items():
            if naive.up:
                return name
            if not naive.trying:
                soonest.append(naive.next_try(spared=spared))
                if soonest[-1] <= self.now:
                    return name
        return min(soonest, default=None)

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 3.0, 8.0, 30.0, 100.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=sent)
    def send(self) -> tuple[Attempt, int, bool] | None:
        expected = self.expected()
        choice = self.choice.pick(self.now)
        if isinstance(choice, Wait):
            assert choice.until == expected
            return None
        name = choice.collector.name
        assert name == expected
        naive = self.naive[name]
        tries = not naive.up
        naive.trying = naive.trying or tries
        spared = any(each.up for each in self.naive.values())
        assert choice.alone == (tries and not spared and naive.telling[-1][1] in (REFUSES, DENIES))
        return choice, len(naive.turns), tries

    @rule(
        sent=consumes(sent),
        verdict=st.sampled_from(
            [Delivered(), *[REFUSED, AWAY, denied()] * 2, denied(2), DENIED_TOGETHER, Retry("busy", 20.0), FORBIDDEN]
        ),
    )
    def settle(self, sent: tuple[Attempt, int, bool] | None, verdict: Verdict) -> None:
        if sent is None:
            return
        attempt, turns, tries = sent
        naive = self.naive[attempt.collector.name]
        news = turns == len(naive.turns)
        if tries:
            naive.trying = False
        if not news and not naive.up and isinstance(verdict, Retry) and verdict.after:
            naive.asked = max(naive.asked, self.now + verdict.after)
        was_up = naive.up
        weighed = self.choice.weigh(attempt, verdict)
        taken_for = self.taken_for(attempt, verdict, news=news)
        assert (weighed != verdict) == self.is_reweighed(attempt, verdict, news=news)
        if news and not isinstance(taken_for, Denied):
            naive.asked = 0.0
        if not isinstance(taken_for, Denied) or taken_for.denials == 1 or (taken_for.denials and not was_up):
            naive.settled.append((self.now, taken_for, news))
        change = self.choice.settle(attempt, weighed, self.now)
        failed = isinstance(taken_for, Retry | Stop)
        assert (change is not None) == (news and (failed or (not was_up and not isinstance(taken_for, Denied))))
        assert change is None or change.over != failed

    def is_reweighed(self, attempt: Attempt, verdict: Verdict, *, news: bool) -> bool:
        naive = self.naive[attempt.collector.name]
        if isinstance(verdict, Denied):
            return not news or not (attempt.alone or naive.takes)
        elsewhere = naive.refused >= 2 and any(each.up for each in self.naive.values())
        return verdict == REFUSED and (not news or elsewhere)

    def taken_for(self, attempt: Attempt, verdict: Verdict, *, news: bool) -> Verdict:
        """What a verdict says of the collector."""
        naive = self.naive[attempt.collector.name]
        if verdict == REFUSED and naive.refused + 1 >= 2:
            return REFUSES
        if isinstance(verdict, Denied):
            counts = verdict.denials == 1 or (verdict.denials and not naive.up)
            if self.is_reweighed(attempt, verdict, news=news) or (counts and naive.denied + 1 >= DENIALS):
                return DENIES
        return verdict

    @rule(count=st.integers(1, DENIALS))
    def deny(self, count: int) -> None:
        """One event after the other."""
        for _ in range(count):
            self.settle(self.send(), denied())

    @rule(sent=consumes(sent))
    def give_up(self, sent: tuple[Attempt, int, bool] | None) -> None:
        if sent is not None:
            attempt, _, tries = sent
            if tries:
                self.naive[attempt.collector.name].trying = False
            self.choice.give_up(attempt)

    @precondition(lambda self: self.expected() is not None)
    @rule()
    def wait_for_the_next(self) -> None:
        expected = self.expected()
        if isinstance(expected, float):
            self.now = expected

    @invariant()
    def what_is_told_is_so(self) -> None:
        assert {state.name: state.state in ("untried", "up") for state in self.choice.states(self.now)} == {
            name: naive.up for name, naive in self.naive.items()
        }
        assert (self.choice.outage is None) == any(naive.up for naive in self.naive.values())


TestChoosing = Choosing.TestCase
TestChoosing.settings = settings(stateful_step_count=30)
