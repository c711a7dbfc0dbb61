"""How often deliveries of groups' records have failed at this gateway, whichever connections had them."""

from typing import NamedTuple

from ..record import Record


class Failed(NamedTuple):
    """How many deliveries of a record have failed, and why the last did."""

    deliveries: int
    reason: str


class Failures:
    """Counts failures of records that are not done with, of all groups; of too many records, those that failed first
    are forgotten.
    """

    def __init__(self, *, most: int = 10_000) -> None:
        self._most = most
        self._found: dict[tuple[str, object, int], Failed] = {}

    def of(self, group: str, record: Record) -> Failed | None:
        """What has failed of a record."""
        return self._found.get((group, record.place, record.at))

    def add(self, group: str, record: Record, reason: str) -> None:
        """Another delivery has failed."""
        before = self.of(group, record)
        self._found[group, record.place, record.at] = Failed(before.deliveries + 1 if before else 1, reason)
        if len(self._found) > self._most:
            del self._found[next(iter(self._found))]

    def forget(self, group: str, record: Record) -> None:
        """A record is done with."""
        self._found.pop((group, record.place, record.at), None)
