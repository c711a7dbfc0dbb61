"""What a stream has had, so that nothing is given twice when it connects again."""

from collections import OrderedDict
from collections.abc import Iterator

from snowbus.bus.event import TopicPartition

Position = tuple[TopicPartition, int]

MOST_REMEMBERED = 10_000


class Passed:
    """How far a stream has come in each partition. Offsets rise there, so what lies below was had before."""

    def __init__(self) -> None:
        self._next: dict[TopicPartition, int] = {}
        self._floor: dict[TopicPartition, int] = {}

    def reconnect(self) -> None:
        """From now on another connection counts, which may repeat what the one before it gave."""
        self._floor = dict(self._next)

    def is_new(self, partition: TopicPartition, offset: int) -> bool:
        """Whether an event has not been had; now it has."""
        if offset < self._floor.get(partition, 0):
            return False
        self._next[partition] = offset + 1
        return True

    def skip(self, partition: TopicPartition, offset: int) -> None:
        """After a gap the partition goes on at this offset: a lower one, when the log began anew."""
        self._floor.pop(partition, None)
        self._next[partition] = offset


class Ledger:
    """What became of a group's events.

    An acknowledgement that is under way when a connection is lost may have arrived or not. So those of earlier
    connections are remembered, `most` of them: what comes again all the same was handled. Each is forgotten when that
    has happened once, as the next time somebody asked for it.
    """

    def __init__(self, *, most: int = MOST_REMEMBERED) -> None:
        self._most = most
        self._given: OrderedDict[tuple[int, str], Position] = OrderedDict()
        self._acked: OrderedDict[Position, int] = OrderedDict()

    def is_new(self, connection: int, cursor: str, position: Position) -> bool:
        """Whether an event that comes on a connection has to be handled; then it counts as given."""
        acked_on = self._acked.pop(position, connection)
        if acked_on < connection:
            return False
        self._given.pop((connection, cursor), None)  # one that comes again stands at the end
        self._given[connection, cursor] = position
        while len(self._given) > self._most:
            self._given.popitem(last=False)
        return True

    def is_given(self, connection: int, cursor: str) -> bool:
        """Whether an event was given on this connection, and nothing has been said of it since."""
        return (connection, cursor) in self._given

    def ack(self, connection: int, cursor: str, *, only: bool) -> None:
        """An event is done, with those given before it on its connection, or alone."""
        for key in [(connection, cursor)] if only else list(self._up_to(connection, cursor)):
            if (position := self._given.pop(key, None)) is not None:
                self._acked[position] = connection
                self._acked.move_to_end(position)
        while len(self._acked) > self._most:
            self._acked.popitem(last=False)

    def nack(self, connection: int, cursor: str) -> None:
        """An event is to come again."""
        self._given.pop((connection, cursor), None)

    def _up_to(self, connection: int, cursor: str) -> Iterator[tuple[int, str]]:
        last = (connection, cursor)
        for key in self._given if last in self._given else ():
            if key[0] == connection:
                yield key
            if key == last:
                return
