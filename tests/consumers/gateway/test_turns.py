"""Whose turn it is in a group, whoever comes, goes, is late or full."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from snowbus.consumers.gateway.turns import Turns


class Member:
    """A connection with room, or without."""

    def __init__(self) -> None:
        self.has_room = True


MEMBERS = tuple(Member() for _ in range(4))
SOME = st.sampled_from(MEMBERS)


class Machine(RuleBasedStateMachine):
    """A model beside it: who is there and who is late."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = Turns[Member]()
        self.there: set[Member] = set()
        self.late: set[Member] = set()
        for member in MEMBERS:
            member.has_room = True

    @rule(member=SOME)
    def join(self, member: Member) -> None:
        self.there.add(member)
        self.turns.join(member)

    @rule(member=SOME)
    def leave(self, member: Member) -> None:
        self.there.discard(member)
        self.late.discard(member)
        self.turns.leave(member)

    @rule(member=SOME)
    def is_full(self, member: Member) -> None:
        member.has_room = False  # which nobody tells

    @rule(member=SOME)
    def has_room(self, member: Member) -> None:
        member.has_room = True
        self.turns.on_room(member)

    @rule(member=SOME)
    def is_late(self, member: Member) -> None:
        if member in self.there:
            self.late.add(member)
        self.turns.on_late(member)

    @rule(member=SOME)
    def answers(self, member: Member) -> None:
        self.late.discard(member)
        self.turns.on_answer(member)

    @invariant()
    def each_who_may_get_something_gets_their_turn(self) -> None:
        in_time = self.there - self.late
        may = {member for member in in_time or self.late if member.has_room}
        taken = []
        for _ in may:
            member = self.turns.next()
            assert member is not None
            taken.append(member)
            self.turns.on_room(member)
        assert set(taken) == may
        if not may:
            assert self.turns.next() is None


TestTurns = Machine.TestCase
