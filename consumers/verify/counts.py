"""How often something may be seen: `1` (exactly), `1..` (at least), `0..3`, `..3`."""

import re
from dataclasses import dataclass
from typing import Any

from snowbus.bus.errors import PlanError

_RANGE = re.compile(r"([0-9]{0,9})\.\.([0-9]{0,9})")


@dataclass(frozen=True, slots=True)
class Count:
    """From `minimum` to `maximum` times, both included; without end when that is None."""

    minimum: int
    maximum: int | None

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and number >= self.minimum and not self.is_exceeded_by(number)

    def is_exceeded_by(self, number: int) -> bool:
        """Whether so many are too many."""
        return self.maximum is not None and number > self.maximum

    @property
    def words(self) -> str:
        """As people say it."""
        if self.minimum == self.maximum:
            return str(self.minimum)
        if self.maximum is None:
            return f"{self.minimum} or more"
        return f"{self.minimum} to {self.maximum}" if self.minimum else f"at most {self.maximum}"

    def __str__(self) -> str:
        """As a plan says it."""
        if self.minimum == self.maximum:
            return str(self.minimum)
        return f"{self.minimum}..{'' if self.maximum is None else self.maximum}"


AT_LEAST_ONE = Count(1, None)


def parse_count(value: Any, place: str) -> Count:
    """The count that a plan's value is. Raises PlanError."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return Count(value, value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return Count(int(value), int(value))
    found = _RANGE.fullmatch(value) if isinstance(value, str) else None
    if found is None or found[0] == "..":
        raise PlanError(place, f"{value!r} is no count; write 1 (exactly), 1.. (at least) or 0..3")
    minimum, maximum = int(found[1] or 0), int(found[2]) if found[2] else None
    if maximum is not None and minimum > maximum:
        raise PlanError(place, f"{value!r} ends before it begins")
    return Count(minimum, maximum)
