"""Which record may be handled next: the oldest whose key is neither being handled nor waiting for a retry."""

import heapq
import itertools
import sys
from collections import Counter, deque
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence

from snowbus.bus.event import TopicPartition

from .record import Record


class KeyOrder:
    """The records that are read and not finished, but for those in hand.

    `take` gives records and holds their keys; later records of a key wait until `release` or, after `put_off` and once
    that is `due`, until its records are taken again. So each key is handled in order, whoever takes. Records without a
    key wait for nobody.
    """

    def __init__(self) -> None:
        self._arrived: deque[Record] = deque()
        self._waiting: dict[Hashable, deque[Record]] = {}  # by the keys that are held, what waits for them
        self._free: deque[Hashable] = deque()  # held keys whose records may be taken
        self._later: dict[Hashable, float] = {}  # keys in hand whose records are put off, and until when
        self._put_off: dict[Hashable, int] = {}  # held keys that wait for their time, and their entries in `due`
        self._due: list[tuple[float, int, Hashable]] = []
        self._count = itertools.count()
        self._kept: Counter[TopicPartition] = Counter()

    def __len__(self) -> int:
        """About how many there are to take; not 0 when there may be one."""
        return len(self._arrived) + len(self._free)

    def kept(self, partition: TopicPartition) -> int:
        """How many records of a partition are put off, or wait behind one that is."""
        return self._kept[partition]

    def offer(self, records: Iterable[Record]) -> None:
        """Add records, in order."""
        self._arrived.extend(records)

    def offer_later(self, record: Record, until: float) -> None:
        """Add a record that is not to be taken before `until`, unless its key waits for something already."""
        key = record.order_key
        if key in self._waiting:
            self._waiting[key].append(record)
            self._kept[record.place] += key in self._put_off
        else:
            self._waiting[key] = deque([record])
            self._schedule(key, until)

    def take(self, limit: int, *, max_bytes: int | None = None) -> list[Record]:
        """At most `limit` records that may be handled now, together, and of their values at most `max_bytes`, but for
        one alone. One that has failed before is alone.
        """
        taken: list[Record] = []
        mine: set[Hashable] = set()
        room = sys.maxsize if max_bytes is None else max_bytes
        while self._free and len(taken) < limit:
            waiting = self._waiting[self._free[0]]
            if taken and (waiting[0].failures or len(waiting[0].raw.value) > room):
                return taken
            mine.add(self._free.popleft())
            if waiting[0].failures:
                return [waiting.popleft()]
            room = _take_some(waiting, taken, limit=limit, room=room)
        arrived, waiting_for = self._arrived, self._waiting
        while arrived and len(taken) < limit:
            record = arrived[0]
            key = record.order_key
            waiting_now = waiting_for.get(key)
            if waiting_now is not None and (waiting_now or key not in mine):
                waiting_now.append(arrived.popleft())
                self._kept[record.place] += key in self._put_off
                continue
            room -= len(record.raw.value)
            if taken and room < 0:
                return taken
            if waiting_now is None:
                waiting_for[key] = deque()
                mine.add(key)
            taken.append(arrived.popleft())
        return taken

    def take_again(self) -> list[Record]:
        """One record that was put off and may be handled now, or none."""
        for key in self._free:
            waiting = self._waiting[key]
            if waiting[0].attempt:
                self._free.remove(key)
                return [waiting.popleft()]
        return []

    def release(self, records: Sequence[Record]) -> None:
        """Records that were taken together are finished or put off; what waits for the others' keys is free."""
        for key in dict.fromkeys([record.order_key for record in records]):
            waiting, until = self._waiting.get(key), self._later.pop(key, None) if self._later else None
            if waiting and until is not None:
                self._schedule(key, until)
            elif waiting:
                self._free.append(key)
            elif waiting is not None:
                del self._waiting[key]

    def put_off(self, records: Sequence[Record], until: float) -> None:
        """Records in hand are to be taken again once they are released, before all others of their keys, but not before
        `until`.
        """
        for record in reversed(records):
            self._waiting[record.order_key].appendleft(record)
            self._later.setdefault(record.order_key, until)

    def _schedule(self, key: Hashable, until: float) -> None:
        entry = self._put_off[key] = next(self._count)
        heapq.heappush(self._due, (until, entry, key))
        self._kept.update([each.place for each in self._waiting[key]])

    def due(self, now: float) -> float | None:
        """Free the keys whose time has come; returns when the next one's comes."""
        while self._due and (self._due[0][0] <= now or self._put_off.get(self._due[0][2]) != self._due[0][1]):
            _, entry, key = heapq.heappop(self._due)
            if self._put_off.get(key) == entry:
                del self._put_off[key]
                self._free.append(key)
                self._kept.subtract([each.place for each in self._waiting[key]])
        return self._due[0][0] if self._due else None

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        """Drop the records of these partitions."""
        self._arrived = deque(record for record in self._arrived if record.place not in partitions)
        free = set(self._free)
        for key, waiting in list(self._waiting.items()):
            kept = deque(record for record in waiting if record.place not in partitions)
            self._waiting[key] = kept
            if not kept and (key in self._put_off or key in free):
                self._put_off.pop(key, None)
                del self._waiting[key]
        self._free = deque(key for key in self._free if key in self._waiting)
        for partition in partitions:
            self._kept.pop(partition, None)

    def __iter__(self) -> Iterator[Record]:
        """All records, in no order."""
        return itertools.chain(self._arrived, *self._waiting.values())

    def heads(self) -> Iterator[Record]:
        """The first record of those that nothing keeps, and the first of each key that is held."""
        return itertools.chain(itertools.islice(self._arrived, 1), (each[0] for each in self._waiting.values() if each))


def _take_some(waiting: deque[Record], taken: list[Record], *, limit: int, room: int) -> int:
    """Take what fits of the records that wait for one key; returns the bytes that are left."""
    while waiting and len(taken) < limit and not waiting[0].failures:
        size = len(waiting[0].raw.value)
        if taken and size > room:
            break
        room -= size
        taken.append(waiting.popleft())
    return room
