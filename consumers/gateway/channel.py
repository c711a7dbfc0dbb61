"""What one filter wants of the ring, decided once for all readers who have it."""

from collections import Counter
from collections.abc import Sequence
from itertools import compress
from typing import TYPE_CHECKING

from snowbus.bus.event import TopicPartition
from snowbus.bus.filters import Filter

from ..masking import Mask
from ..reading import Reading
from .deflate import Context
from .ring import Entry, Ring

if TYPE_CHECKING:
    from .reader import LiveReader

_NOT_WANTED, _WANTED, _UNKNOWN = b"\0", b"\1", 2


class Channel:
    """What one filter wants of the ring; shared by all readers with that filter and that mask, who all inflate or who
    all do not.

    `followers` are those of its readers who have been sent all there was, up to the same place.
    """

    def __init__(self, wanted: Filter, mask: Mask | None, ring: Ring, *, deflates: bool) -> None:
        self.filter = wanted
        self.mask = mask
        self.deflates = deflates
        self.readers = 0
        self.followers: dict[LiveReader, None] = {}
        self.context: Context | None = None
        """The compressor of all that its followers were sent last; None when they have not been sent the same."""
        self._counts: Counter[TopicPartition] | None = None
        self.reset(ring)

    def reset(self, ring: Ring) -> None:
        """Forget everything: the ring is another one."""
        self._ring = ring
        self._verdicts = bytearray([_UNKNOWN]) * ring.capacity if self.filter else None
        self._judged = ring.end
        self.context = None

    def want(self, sequence: int) -> None:
        """Take down that it wants an entry of the ring; those since the last that it wanted are not wanted."""
        if self._verdicts is not None:
            self._not_wanted_to(sequence)
            self._verdicts[sequence % self._ring.capacity] = 1
            self._judged = sequence + 1

    def wants(self, sequence: int, entry: Entry) -> bool:
        """Whether the filter lets an entry of the ring through."""
        return bool(self.wanted(sequence, [entry])[0])

    def wanted(self, sequence: int, entries: Sequence[Entry]) -> Sequence[int]:
        """For each of these entries, from a sequence number on, whether the filter lets it through."""
        verdicts = self._verdicts
        if verdicts is None:
            return _WANTED * len(entries)
        self._not_wanted_to(self._ring.end)
        capacity = self._ring.capacity
        start = sequence % capacity
        found = verdicts[start : start + len(entries)]
        found += verdicts[: len(entries) - len(found)]
        while (place := found.find(_UNKNOWN)) >= 0:
            found[place] = self._verdict(entries[place])
            verdicts[(start + place) % capacity] = found[place]
        return found

    def counts(self, start: int) -> Counter[TopicPartition]:
        """How many events of the ring it wants from `start` on, by partition."""
        entries = self._ring.read(start, self._ring.end - start)
        wanted = compress(entries, self.wanted(start, entries))
        return Counter(entry.partition for entry in wanted if entry.record is not None)

    def count_before(self, start: int) -> Counter[TopicPartition]:
        """How many events it wanted before `start`, which the ring must still have, by partition, as `owed` counts."""
        if self._counts is None:
            self._counts = Counter()
        before = self._counts.copy()
        before.subtract(self.counts(start))
        return before

    @property
    def is_counting(self) -> bool:
        """Whether `count` is to be told of each new entry."""
        return self._counts is not None

    def count(self, sequence: int, entry: Entry) -> None:
        """Count a new entry."""
        if self._counts is not None and entry.record is not None and self.wants(sequence, entry):
            self._counts[entry.partition] += 1

    def owed(self, before: Counter[TopicPartition]) -> Counter[TopicPartition]:
        """How many events it wanted, by partition, since that count; those that have left the ring included."""
        owed = Counter(self._counts)
        owed.subtract(before)
        return +owed

    def _not_wanted_to(self, end: int) -> None:
        """Nothing is wanted of what has come since the last that was, up to `end`."""
        verdicts, capacity = self._verdicts, self._ring.capacity
        count = min(end - self._judged, capacity)
        self._judged = end
        if verdicts is not None and count > 0:
            start = (end - count) % capacity
            first = min(count, capacity - start)
            verdicts[start : start + first] = _NOT_WANTED * first
            verdicts[: count - first] = _NOT_WANTED * (count - first)

    def _verdict(self, entry: Entry) -> bool:
        if entry.record is None:
            return True
        reading = entry.reading or Reading(entry.record)
        return self.filter.check(reading.candidate)
