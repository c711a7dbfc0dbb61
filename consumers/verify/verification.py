"""Holds the events that come against a plan, one after the other, and says what came of it so far."""

from dataclasses import dataclass, field

from snowbus.bus import json_text

from .matching import is_meant, reasons_against
from .outcome import Disorder, ExpectationOutcome, Miss, NeverOutcome, OrderOutcome, Outcome
from .plan import Expectation, Order, Plan, Wanted
from .seen import Seen

_KEPT = 3
"""Of each thing, so many events are kept as examples."""
_MOST_KNOWN = 1_000_000
_OTHERS = Wanted(name="anything else")


@dataclass
class _Expected:
    expectation: Expectation
    fit: int = 0
    wrong: int = 0
    events: list[Seen] = field(default_factory=list)
    misses: list[Miss] = field(default_factory=list)
    nearest: Miss | None = None

    @property
    def is_met(self) -> bool:
        return self.fit >= self.expectation.count.minimum

    def add_miss(self, miss: Miss) -> None:
        self.wrong += 1
        self.misses.append(miss)
        self.misses.sort(key=lambda each: len(each.reasons))
        del self.misses[_KEPT:]

    def see_other(self, miss: Miss) -> None:
        """Take an event that is right for another expectation."""
        if not self.is_met and (self.nearest is None or len(miss.reasons) < len(self.nearest.reasons)):
            self.nearest = miss


@dataclass
class _Never:
    wanted: Wanted
    count: int = 0
    events: list[Seen] = field(default_factory=list)


class Verification:
    """A plan, and what has been seen. It holds a few events of each kind, and what tells repeats of those that matter.

    An event counts for every expectation that it fits. One that is meant by some and fits none is wrong, and counts
    for the one that it is nearest to. An event that comes again, as it may with delivery at least once, counts once.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._events = self._invalid = self._repeats = 0
        self._expected = [_Expected(expectation) for expectation in plan.expectations]
        self._never = [_Never(wanted) for wanted in plan.never]
        self._others = [_Never(_OTHERS)] if plan.forbids_others else []
        self._firsts = [_Firsts(order) for order in plan.orders]
        self._known: dict[int, None] = {}

    def see(self, seen: Seen) -> None:
        """Take an event."""
        candidate = seen.candidate
        if not self.plan.only.matches(candidate):
            return
        meant = [each for each in self._expected if is_meant(each.expectation.wanted, candidate)]
        violated = [
            each for each in self._never if is_meant(each.wanted, candidate) and not reasons_against(each.wanted, seen)
        ]
        if not meant and not violated:
            violated = self._others
        if (meant or violated) and self._is_repeat(seen):
            self._repeats += 1
            return
        self._events += 1
        self._invalid += seen.validation == "invalid"
        for each in violated:
            each.count += 1
            _keep(each.events, seen)
        if meant:
            self._compare(meant, seen)

    @property
    def has_seen_all(self) -> bool:
        """Whether everything that was expected has come, as often as it must at least."""
        return self.plan.expects_something and all(each.is_met for each in self._expected)

    def outcome(self) -> Outcome:
        """What came of it so far."""
        needed = {each.expectation.name for each in self._expected if each.expectation.count.minimum}
        return Outcome(
            plan=self.plan.name,
            events=self._events,
            invalid=self._invalid,
            repeats=self._repeats,
            expectations=tuple(
                ExpectationOutcome(
                    expectation=each.expectation,
                    fit=each.fit,
                    wrong=each.wrong,
                    events=tuple(each.events),
                    misses=tuple(each.misses),
                    nearest=None if each.is_met else each.nearest,
                )
                for each in self._expected
            ),
            never=tuple(
                NeverOutcome(wanted=each.wanted, count=each.count, events=tuple(each.events))
                for each in (*self._never, *self._others)
            ),
            orders=tuple(firsts.outcome(needed) for firsts in self._firsts),
        )

    def _compare(self, meant: list[_Expected], seen: Seen) -> None:
        misses = []
        fits = False
        for each in meant:
            reasons = reasons_against(each.expectation.wanted, seen)
            if reasons:
                misses.append((each, Miss(seen, tuple(reasons))))
                continue
            fits = True
            each.fit += 1
            _keep(each.events, seen)
            self._see_order(each.expectation.name, seen)
        if fits:
            for each, miss in misses:
                each.see_other(miss)
            return
        nearest, miss = min(misses, key=lambda found: (len(found[1].reasons), found[0].is_met))
        nearest.add_miss(miss)
        self._see_order(nearest.expectation.name, seen)  # that it is wrong is told already

    def _see_order(self, name: str, seen: Seen) -> None:
        for firsts in self._firsts:
            firsts.see(name, seen, self._events)

    def _is_repeat(self, seen: Seen) -> bool:
        """Whether the very same event has come before; the time at which a tracker sends it is another each time."""
        if not seen.event_id or not seen.payload:
            return False
        payload = {code: value for code, value in seen.payload.items() if code != "stm"}
        fingerprint = hash(json_text.dumps(payload))
        if fingerprint in self._known:
            return True
        self._known[fingerprint] = None
        if len(self._known) > _MOST_KNOWN:
            del self._known[next(iter(self._known))]
        return False


class _Firsts:
    """When each name of an order was seen first, for each value of `by`."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._firsts: dict[str, dict[str, tuple[tuple[int, int], Seen]]] = {}

    def see(self, name: str, seen: Seen, number: int) -> None:
        """Take an event that counts for the expectation of this name, the `number`th that came."""
        order = self._order
        if name not in order.names or (order.by and seen.event.get(order.by) is None):
            return
        # The log keeps one user's events in order; between users their times tell.
        at = (0 if order.by else seen.timestamp, number)
        firsts = self._firsts.setdefault(str(seen.event.get(order.by, "")), {})
        if name not in firsts or at < firsts[name][0]:
            firsts[name] = at, seen

    def outcome(self, needed: set[str]) -> OrderOutcome:
        """Where the order was broken; of what was never seen at all, only what is `needed` and has a `by` counts."""
        found = [
            disorder
            for by, firsts in self._firsts.items()
            if (disorder := self._disorder(by, firsts, needed)) is not None
        ]
        seen = set().union(*self._firsts.values())
        unseen = [name for name in self._order.names if name not in seen]
        return OrderOutcome(
            order=self._order,
            count=len(found),
            disorders=tuple(found[:_KEPT]),
            missing=tuple(name for name in unseen if name in needed),
            absent=tuple(name for name in unseen if name not in needed),
        )

    def _disorder(self, by: str, firsts: dict[str, tuple[tuple[int, int], Seen]], needed: set[str]) -> Disorder | None:
        names = self._order.names
        for number, earlier in enumerate(names):
            for later in names[number + 1 :]:
                if later not in firsts:
                    continue
                if earlier in firsts:
                    if firsts[later][0] < firsts[earlier][0]:
                        return Disorder(by, later, firsts[later][1], earlier, firsts[earlier][1])
                elif self._order.by and earlier in needed:
                    return Disorder(by, later, firsts[later][1], earlier, None)
        return None


def _keep(events: list[Seen], seen: Seen) -> None:
    if len(events) < _KEPT:
        events.append(seen)
