"""What came of a verification, as frozen values: what was seen, what is missing, what is wrong and why."""

from dataclasses import dataclass
from typing import Literal

from .conditions import Reason
from .plan import Expectation, Order, Wanted
from .seen import Seen

Status = Literal["seen", "missing", "too_few", "too_many", "wrong"]
OrderStatus = Literal["ok", "broken", "not_seen"]


@dataclass(frozen=True, slots=True)
class Miss:
    """An event that was meant and is not right, and why."""

    event: Seen
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectationOutcome:
    """How many events `fit` an expectation, and how many were `wrong`; the first of those, and the nearest of these.

    `nearest` is, while there are too few, the one that would fit best of those that fit another expectation.
    """

    expectation: Expectation
    fit: int
    wrong: int
    events: tuple[Seen, ...]
    misses: tuple[Miss, ...]
    nearest: Miss | None = None

    @property
    def status(self) -> Status:
        """`seen` when all is well, else what is not."""
        count = self.expectation.count
        if count.is_exceeded_by(self.fit):
            return "too_many"
        if self.wrong and (not self.expectation.ignores_others or self.fit < count.minimum):
            return "wrong"
        if self.fit < count.minimum:
            return "too_few" if self.fit else "missing"
        return "seen"

    @property
    def is_met(self) -> bool:
        """Whether as many fit as are expected at least."""
        return self.fit >= self.expectation.count.minimum


@dataclass(frozen=True, slots=True, kw_only=True)
class NeverOutcome:
    """How many events came that never should; the first of them."""

    wanted: Wanted
    count: int
    events: tuple[Seen, ...]


@dataclass(frozen=True, slots=True)
class Disorder:
    """Of one value of the order's `by`: the `later` event came; the `earlier` one after it, or (None) not at all."""

    by: str
    later_name: str
    later: Seen
    earlier_name: str
    earlier: Seen | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderOutcome:
    """How often an order was broken, the first times; and which names it could not be held for, as nothing was seen
    of them: those `missing` had to come, those `absent` need not.
    """

    order: Order
    count: int
    disorders: tuple[Disorder, ...]
    missing: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()

    @property
    def status(self) -> OrderStatus:
        """`ok` when it was kept by all that was seen, and all was that had to be."""
        if self.count:
            return "broken"
        return "not_seen" if self.missing else "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a verification: `events` were looked at, `invalid` of them found so, and `repeats` left out."""

    plan: str
    events: int
    invalid: int
    repeats: int
    expectations: tuple[ExpectationOutcome, ...]
    never: tuple[NeverOutcome, ...]
    orders: tuple[OrderOutcome, ...]

    @property
    def fits(self) -> bool:
        """Whether the events are what the plan wants."""
        return (
            all(each.status == "seen" for each in self.expectations)
            and not any(each.count for each in self.never)
            and all(each.status == "ok" for each in self.orders)
        )
