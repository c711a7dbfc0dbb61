"""A plan: which events are expected, which must never come, and in which order, as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from snowbus.bus.filters import Filter

from .conditions import Condition
from .counts import AT_LEAST_ONE, Count

Validity = Literal["not_invalid", "valid", "invalid", "any"]


@dataclass(frozen=True, kw_only=True)
class EntityWanted:
    """Entities of a `schema` (an Iglu URI, perhaps with `*`) whose data is as asked for, so many of them."""

    schema: str
    data: Mapping[str, Condition] = field(default_factory=dict)
    count: Count = AT_LEAST_ONE


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What an event is to be.

    `which` tells which events are meant at all; what else is asked for decides whether such an event is right:
    `schemas` (of which it has one; the version counts), `where` (canonical fields), `data`, `entities`, `validity`.
    """

    name: str
    which: Filter = field(default_factory=Filter)
    schemas: tuple[str, ...] = ()
    where: Mapping[str, Condition] = field(default_factory=dict)
    data: Mapping[str, Condition] = field(default_factory=dict)
    entities: tuple[EntityWanted, ...] = ()
    validity: Validity = "any"


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """An event that is expected so many times; whether others of its kind, that are not right, are ignored."""

    wanted: Wanted
    count: Count = AT_LEAST_ONE
    ignores_others: bool = False

    @property
    def name(self) -> str:
        """What the plan calls it."""
        return self.wanted.name


@dataclass(frozen=True, kw_only=True)
class Order:
    """Names of expectations in the order in which each is seen first; with `by`, for each value of that field."""

    names: tuple[str, ...]
    by: str = ""

    def __str__(self) -> str:
        return " → ".join(self.names) + (f" by {self.by}" if self.by else "")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A plan; `only` says which events it is about, all unless given; `forbids_others`, that none of them may come that
    no expectation means.
    """

    name: str = "plan"
    only: Filter = field(default_factory=Filter)
    expectations: tuple[Expectation, ...] = ()
    never: tuple[Wanted, ...] = ()
    orders: tuple[Order, ...] = ()
    forbids_others: bool = False

    @property
    def expects_something(self) -> bool:
        """Whether there is anything that it waits for."""
        return any(expectation.count.minimum for expectation in self.expectations)
