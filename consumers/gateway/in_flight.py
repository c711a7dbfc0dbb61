"""What one connection of a group has in flight: messages that were sent to it and are not answered, in their order."""

from typing import Generic, TypeVar

from snowbus.bus.errors import SnowbusError

T = TypeVar("T")


class UnknownMessageError(SnowbusError):
    """A connection answers a message that it has never been sent."""

    def __init__(self, number: int) -> None:
        super().__init__(f"message {number} has never been sent on this connection")
        self.number = number


class InFlight(Generic[T]):
    """At most `most` items, numbered from 1 on as they are sent; each is to be answered within `ack_timeout` seconds.

    What has been answered, is overdue or was withdrawn is in flight no more, and another answer to it changes nothing:
    it may have crossed with what ended it. Times are in the caller's clock, and never go back.
    """

    def __init__(self, *, most: int, ack_timeout: float) -> None:
        self._most = most
        self._ack_timeout = ack_timeout
        self._sent = 0
        self._items: dict[int, tuple[T, float]] = {}  # by number, with when it is overdue: both only grow

    def __len__(self) -> int:
        return len(self._items)

    @property
    def has_room(self) -> bool:
        """Whether one more may be sent."""
        return len(self._items) < self._most

    def send(self, item: T, *, now: float) -> int:
        """An item is sent; returns its number."""
        self._sent += 1
        self._items[self._sent] = (item, now + self._ack_timeout)
        return self._sent

    def answer(self, number: int) -> T | None:
        """The item that an answer to this message alone ends; None when it is in flight no more. Raises
        UnknownMessageError.
        """
        self._check(number)
        found = self._items.pop(number, None)
        return None if found is None else found[0]

    def answer_up_to(self, number: int) -> list[T]:
        """The items that an answer to this message and all before it ends, in their order. Raises
        UnknownMessageError.
        """
        self._check(number)
        ended = []
        for each in self._items:
            if each > number:
                break
            ended.append(each)
        return [self._items.pop(each)[0] for each in ended]

    def overdue(self, now: float) -> list[T]:
        """The items that should have been answered by now, in their order; they are in flight no more."""
        late = []
        for number, (_, due) in self._items.items():
            if due > now:
                break
            late.append(number)
        return [self._items.pop(number)[0] for number in late]

    def withdraw(self, number: int) -> None:
        """An answer is no longer waited for."""
        self._items.pop(number, None)

    def clear(self) -> list[T]:
        """All items, in their order; none is in flight any more."""
        items = [item for item, _ in self._items.values()]
        self._items.clear()
        return items

    def _check(self, number: int) -> None:
        if not 1 <= number <= self._sent:
            raise UnknownMessageError(number)
