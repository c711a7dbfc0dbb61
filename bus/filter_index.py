"""Which of many filters want a record, at a cost that does not grow with the filters that do not."""

from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

from .filters import Candidate, Check, Filter

Item = TypeVar("Item", bound=Hashable)

_KEYS: dict[str, Callable[[Candidate], object]] = {
    "event_id": lambda candidate: candidate.headers.get("event_id"),
    "app_id": lambda candidate: candidate.headers.get("app_id"),
    "schema": lambda candidate: candidate.unversioned_schema,
    "event_name": lambda candidate: candidate.event_name,
    "valid": lambda candidate: candidate.headers.get("valid"),
    "user_id": lambda candidate: candidate.view.get("user_id"),
    "domain_userid": lambda candidate: candidate.view.get("domain_userid"),
    "platform": lambda candidate: candidate.view.get("platform"),
}
"""What a record is looked up by, for each condition that wants equal values; the best to look up by first."""


class FilterIndex(Generic[Item]):
    """Filters, each with an item that stands for whoever has it.

    A filter is kept under the values of one of its conditions, so that a record finds it by a look-up; the rest of it
    is checked then. Filters without such a condition are checked one by one.
    """

    def __init__(self) -> None:
        self._tables: dict[str, dict[object, dict[Item, Check]]] = {}
        self._places: dict[Item, tuple[str, set[str]]] = {}
        self._others: dict[Item, Check] = {}

    def __bool__(self) -> bool:
        return bool(self._places or self._others)

    def add(self, item: Item, wanted: Filter) -> None:
        """Take an item, which must not be there yet."""
        conditions = dict(wanted.conditions)
        name = next((name for name in _KEYS if name in conditions), None)
        if name is None:
            self._others[item] = wanted.check
            return
        values = {value.rpartition("/")[0] if name == "schema" else value for value in conditions[name]}
        self._places[item] = name, values
        table = self._tables.setdefault(name, {})
        for value in values:
            table.setdefault(value, {})[item] = wanted.check

    def remove(self, item: Item) -> None:
        """Forget an item, if it is there."""
        self._others.pop(item, None)
        name, values = self._places.pop(item, ("", ()))
        for value in values:
            table = self._tables[name]
            del table[value][item]
            if not table[value]:
                del table[value]
            if not table:
                del self._tables[name]

    def matching(self, candidate: Candidate) -> Iterator[Item]:
        """The items whose filters want this record, each once."""
        for name, table in self._tables.items():
            if items := table.get(_KEYS[name](candidate)):
                for item, check in items.items():
                    if check(candidate):
                        yield item
        for item, check in self._others.items():
            if check(candidate):
                yield item
