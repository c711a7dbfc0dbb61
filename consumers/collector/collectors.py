"""Which collector the next request goes to: the first, in order of preference, that takes events.

One that does not is tried again now and then, with one request at a time. So is one that has refused many events in a
row, each sent alone, and taken none: it may be that it, or what stands before it, refuses everything, and then no event
is at fault. Whether one is cannot be told from outside, so each of those tries may cost one event its place: a run of
events that are at fault passes by itself, if slowly, and a collector that refuses everything costs few.

What is denied (403) costs no event its place, so few denials in a row are enough. One that has taken nothing yet is
believed at once. An event that is denied alone is put off, and beyond the next try where there is to be one: the next
try is of another event, or one that is denied for ever would hide that all others are taken.

Pure: outcomes and `now` in, choices out; `now` is in seconds of any clock that never goes back. The edge that uses it
does this for each request:

    choice = collectors.pick(now)
    if isinstance(choice, Wait):
        ...                                     # until choice.until, or until a request is settled; then pick again
    outcome = await choice.collector.sender.post(body, headers)
    verdict = collectors.weigh(choice, judge(outcome, …))
    change = collectors.settle(choice, verdict, now)
    if change is not None:
        ...                                     # say it

and calls `give_up(choice)` in the place of `settle` when the request is cancelled, so that another may try.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import NamedTuple, Protocol

from snowbus.bus.backoff import wait_before_retry
from snowbus.bus.collector.verdicts import Answer, Dead, Delivered, Denied, NoAnswer, Retry, Split, Stop, Verdict

from ..receipts import Standing

STEADY_SECONDS = 60.0
"""One that goes away again within so long of its return is trusted less than one that goes away for the first time."""

DENIALS = 5
"""One that has denied so many events in a row, each sent alone, is taken to deny everything; so many are one try."""

LONGEST_PUT_OFF = 3600.0
"""The most seconds until an event that was denied alone is sent again, while others are taken."""


class Sends(Protocol):
    """What sends a body to one collector."""

    async def post(self, body: bytes, headers: Mapping[str, str]) -> Answer | NoAnswer:
        """Send a body, with headers besides the usual ones, and return what came back."""


@dataclass(slots=True)
class Outage:
    """A collector does not take events: since when, and why the last request to it failed.

    `configuration` says that waiting alone will not heal it; `supposed`, that events may be at fault all the same, so
    that it is tried with one alone. It is tried again at `next_try`, or at `next_try_spared` while another collector
    takes its events.
    """

    since: float
    reason: str = ""
    configuration: bool = False
    failures: int = 0
    next_try: float = 0.0
    next_try_spared: float = 0.0
    supposed: bool = False


@dataclass(slots=True, eq=False)
class Collector:
    """One collector and how it stands. `name` is its URL without what is secret; its state last `changed` then.

    `refused` counts the events that it has refused alone since it last took any, and `denied` those that it has denied
    alone since then or since its last try was over. `takes` says whether it has taken any since it last was away. It is
    `untried` until it has answered, or failed, for the first time.
    """

    name: str
    sender: Sends
    outage: Outage | None = None
    changed: float = 0.0
    changes: int = 0
    relapses: int = 0
    refused: int = 0
    denied: int = 0
    takes: bool = False
    untried: bool = True
    probe: "Attempt | None" = None


@dataclass(slots=True, eq=False)
class Attempt:
    """One request to a collector, which may be with one event only (`alone`); `changes` is how often the collector's
    state had changed when it was sent.
    """

    collector: Collector
    changes: int
    alone: bool = False


class Wait(NamedTuple):
    """No collector is to be tried now: at `until` one is, or (None) when a request under way is settled."""

    until: float | None


class Change(NamedTuple):
    """What is to be said of a collector: that it failed (again), or (`over`) is back, after that outage.

    `instead` names the collector that takes its events now, if one does.
    """

    collector: Collector
    outage: Outage
    over: bool
    instead: str


class State(NamedTuple):
    """How a collector stands, for people, and for how many `seconds`; the next try is so many seconds from now."""

    name: str
    state: Standing
    seconds: float
    reason: str = ""
    next_try_in: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a collector that failed is left alone, in seconds.

    From none to `first`, doubled with each failure, and `maximum` at most; `failback` at most while another takes its
    events; `configuration` where waiting alone will not heal it, and at most where that is only supposed. Retry-After
    goes before the first two.
    """

    first: float
    maximum: float
    failback: float
    configuration: float


class Collectors:
    """Collectors in order of preference, and which of them take events.

    One that has refused so many events in a row as `refusals` says is taken to refuse everything; 0 trusts it for ever.
    `draw` gives numbers from 0 to 1.
    """

    def __init__(
        self,
        collectors: Sequence[tuple[str, Sends]],
        patience: Patience,
        *,
        refusals: int,
        now: float,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._collectors = [Collector(name, sender, changed=now) for name, sender in collectors]
        self._patience = patience
        self._refusals = refusals
        self._draw = draw

    @property
    def outage(self) -> Outage | None:
        """The outage of the preferred collector while no other takes events; else None."""
        return None if self._first_up() else self._collectors[0].outage

    def states(self, now: float) -> list[State]:
        """How each collector stands."""
        spared = self._first_up() is not None
        states = []
        for collector in self._collectors:
            seconds = now - collector.changed
            if (outage := collector.outage) is None:
                states.append(State(collector.name, "untried" if collector.untried else "up", seconds))
            else:
                wait = 0.0 if collector.probe else max(0.0, _next_try(outage, spared=spared) - now)
                state: Standing = "refusing" if outage.configuration else "down"
                states.append(State(collector.name, state, seconds, outage.reason, wait))
        return states

    def pick(self, now: float) -> Attempt | Wait:
        """Where the next request is to go, or until when to wait."""
        spared = self._first_up() is not None
        soonest = inf
        for collector in self._collectors:
            outage = collector.outage
            if outage is None:
                return Attempt(collector, collector.changes)
            if collector.probe is not None:
                continue
            next_try = _next_try(outage, spared=spared)
            if next_try <= now:
                collector.probe = Attempt(collector, collector.changes, alone=outage.supposed and not spared)
                return collector.probe
            soonest = min(soonest, next_try)
        return Wait(None if soonest == inf else soonest)

    def weigh(self, attempt: Attempt, verdict: Verdict) -> Verdict:
        """What a verdict comes to, given how the collector stands: no event dies of a request that was sent before that
        changed, nor at one that refuses everything while another one takes events. Nor is an event looked for that is
        denied, unless others are taken, or it is the one of a try.
        """
        collector, outage = attempt.collector, attempt.collector.outage
        if isinstance(verdict, Denied):
            may_be_the_event = attempt.changes == collector.changes and (attempt.alone or collector.takes)
            return verdict if may_be_the_event else Stop(verdict.reason, supposed=True)
        if not isinstance(verdict, Dead):
            return verdict
        elsewhere = self._refuses(collector) and self._first_up() is not None
        if attempt.changes == collector.changes and not elsewhere:
            return verdict
        return Stop(outage.reason if outage is not None else verdict.reason, supposed=True)

    def settle(self, attempt: Attempt, verdict: Verdict, now: float) -> Change | None:
        """Take in what an attempt has come to, and return what is to be said of it, if anything.

        What was sent before its collector went away, or came back, says nothing of how that stands now; but for how
        long it wants to be left alone.
        """
        self.give_up(attempt)
        collector = attempt.collector
        if attempt.changes != collector.changes:
            if collector.outage and isinstance(verdict, Retry) and verdict.after:
                _leave_alone(collector.outage, now + verdict.after)
            return None
        if isinstance(verdict, Delivered):
            collector.refused, collector.denied, collector.takes = 0, 0, True
        elif isinstance(verdict, Denied):
            collector.denied += _is_evidence(verdict, of_a_try=collector.outage is not None)
            if collector.denied < DENIALS:
                return None
            verdict = Stop(f"it denied {DENIALS} events in a row, each sent alone: {verdict.reason}", supposed=True)
        elif isinstance(verdict, Dead):
            collector.refused += 1
            if self._refuses(collector):
                count = collector.refused
                verdict = Stop(f"it refused {count} events in a row, each sent alone: {verdict.reason}", supposed=True)
        elif isinstance(verdict, Split) and self._refuses(collector):
            return None  # a part of them will tell
        if isinstance(verdict, Retry | Stop):
            return self._failed(collector, verdict, now)
        return self._took(collector, now)

    def put_off(self, attempt: Attempt, verdict: Denied) -> float:
        """Seconds until the event that was denied alone is to be sent again, once the attempt is settled: from
        `maximum` on, doubled with each denial.
        """
        draw = (1 + self._draw()) / 2
        wait = wait_before_retry(verdict.denials, 2 * self._patience.maximum, maximum=LONGEST_PUT_OFF, draw=draw)
        if (outage := attempt.collector.outage) is None:
            return wait
        return max(wait, 2 * self._wait(outage.failures + 1, self._patience.configuration, 1.0))

    def give_up(self, attempt: Attempt) -> None:
        """Forget an attempt that was cancelled. Does nothing to one that is settled."""
        if attempt.collector.probe is attempt:
            attempt.collector.probe = None

    def _failed(self, collector: Collector, verdict: Retry | Stop, now: float) -> Change:
        outage = collector.outage
        if outage is None:
            steady = now - collector.changed >= STEADY_SECONDS
            collector.relapses = 0 if steady or not collector.changes else collector.relapses + 1
            outage = collector.outage = Outage(now)
            collector.untried = False
            collector.changes += 1
            collector.changed = now
        outage.failures += 1
        outage.reason = verdict.reason
        outage.configuration = isinstance(verdict, Stop)
        outage.supposed = isinstance(verdict, Stop) and verdict.supposed
        collector.denied, collector.takes = 0, False
        draw = self._draw()
        match verdict:
            case Stop(supposed=True):
                wait = self._wait(outage.failures, self._patience.configuration, 1.0)
            case Stop():
                wait = self._patience.configuration
            case Retry(after=after):
                wait = after or self._wait(outage.failures, self._patience.maximum, draw)
        outage.next_try = now + wait
        spared = self._wait(outage.failures + collector.relapses, self._patience.failback, draw)
        outage.next_try_spared = max(outage.next_try, now + spared)
        first_up = self._first_up()
        return Change(collector, outage, over=False, instead=first_up.name if first_up else "")

    def _took(self, collector: Collector, now: float) -> Change | None:
        outage = collector.outage
        if collector.untried:
            collector.untried, collector.changed = False, now
        if outage is None:
            return None
        collector.outage = None
        collector.changes += 1
        collector.changed = now
        return Change(collector, outage, over=True, instead="")

    def _wait(self, failures: int, maximum: float, draw: float) -> float:
        return wait_before_retry(failures, self._patience.first, maximum=maximum, draw=draw)

    def _refuses(self, collector: Collector) -> bool:
        return 0 < self._refusals <= collector.refused

    def _first_up(self) -> Collector | None:
        return next((each for each in self._collectors if each.outage is None), None)


def _is_evidence(verdict: Denied, *, of_a_try: bool) -> bool:
    """Whether a denial says something of the collector: not that of several events, nor of one known to be denied. But
    a try has to come to an end.
    """
    return verdict.denials == 1 or (of_a_try and verdict.denials > 1)


def _next_try(outage: Outage, *, spared: bool) -> float:
    return outage.next_try_spared if spared else outage.next_try


def _leave_alone(outage: Outage, until: float) -> None:
    outage.next_try = max(outage.next_try, until)
    outage.next_try_spared = max(outage.next_try_spared, until)
