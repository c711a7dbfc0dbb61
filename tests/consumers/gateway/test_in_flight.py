"""What a connection of a group has in flight, whatever is sent and answered in whatever order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from snowbus.consumers.gateway.in_flight import InFlight, UnknownMessageError

MOST = 5
TIMEOUT = 10.0


class Machine(RuleBasedStateMachine):
    """A model beside it: the numbers that are in flight, each with the time it was sent at."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.real = InFlight[str](most=MOST, ack_timeout=TIMEOUT)
        self.model: dict[int, float] = {}
        self.sent = 0

    @precondition(lambda self: self.real.has_room)
    @rule()
    def send(self) -> None:
        self.sent += 1
        assert self.real.send(f"item {self.sent}", now=self.now) == self.sent
        self.model[self.sent] = self.now

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def answer_one(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(1, self.sent))
        expected = f"item {number}" if self.model.pop(number, None) is not None else None
        assert self.real.answer(number) == expected

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def answer_up_to(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(1, self.sent))
        ended = [each for each in self.model if each <= number]
        assert self.real.answer_up_to(number) == [f"item {each}" for each in ended]
        for each in ended:
            del self.model[each]

    @rule(seconds=st.floats(0, 8))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        late = [each for each, at in self.model.items() if at + TIMEOUT <= self.now]
        assert self.real.overdue(self.now) == [f"item {each}" for each in late]
        for each in late:
            del self.model[each]

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(1, self.sent))
        self.model.pop(number, None)
        self.real.withdraw(number)

    @rule()
    def clear(self) -> None:
        assert self.real.clear() == [f"item {each}" for each in self.model]
        self.model.clear()

    @rule(beyond=st.integers(1, 100))
    def answer_what_was_never_sent(self, beyond: int) -> None:
        for number in (self.sent + beyond, 1 - beyond):
            with pytest.raises(UnknownMessageError):
                self.real.answer(number)
            with pytest.raises(UnknownMessageError):
                self.real.answer_up_to(number)

    @invariant()
    def there_is_room_for_the_rest(self) -> None:
        assert len(self.real) == len(self.model) <= MOST
        assert self.real.has_room == (len(self.model) < MOST)


TestInFlight = Machine.TestCase


@given(st.integers(1, 50))
def test_nothing_is_overdue_before_its_time(count: int) -> None:
    in_flight = InFlight[int](most=count, ack_timeout=TIMEOUT)
    for number in range(count):
        in_flight.send(number, now=float(number))
    assert in_flight.overdue(TIMEOUT - 0.5) == []
    assert in_flight.overdue(TIMEOUT) == [0]
