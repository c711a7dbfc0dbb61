"""Whose turn it is: the connections of a group that have room, one after the other, and last those that are late."""

from typing import Generic, Protocol, TypeVar


class HasRoom(Protocol):
    """Somebody who can be sent things."""

    @property
    def has_room(self) -> bool:
        """Whether one more can be sent now."""


M = TypeVar("M", bound=HasRoom)


class Turns(Generic[M]):
    """The members of a group, in turn. Those that are late, having left something unanswered, get nothing while there
    are others, until they answer: what they would get might wait as long again.
    """

    def __init__(self) -> None:
        self._members: dict[M, None] = {}
        self._late: set[M] = set()
        self._ready: dict[M, None] = {}  # in turn; more than there are, when somebody lost their room

    @property
    def members(self) -> tuple[M, ...]:
        """Everybody."""
        return tuple(self._members)

    def join(self, member: M) -> None:
        """Somebody is new."""
        self._members[member] = None
        self.on_room(member)

    def leave(self, member: M) -> None:
        """Somebody is gone."""
        self._members.pop(member, None)
        self._late.discard(member)
        self._ready.pop(member, None)
        self._look_at_late()

    def on_room(self, member: M) -> None:
        """Somebody may have got room."""
        if self._may_get(member):
            self._ready.setdefault(member)

    def on_late(self, member: M) -> None:
        """Somebody has not answered in time."""
        if member in self._members:
            self._late.add(member)
            self._look_at_late()

    def on_answer(self, member: M) -> None:
        """Somebody answers, perhaps for the first time since they were late."""
        self._late.discard(member)
        self.on_room(member)

    def next(self) -> M | None:
        """Whose turn it is, or None when nobody can get anything; the others come before they have their next."""
        while self._ready:
            member = next(iter(self._ready))
            del self._ready[member]
            if self._may_get(member):
                return member
        return None

    def _may_get(self, member: M) -> bool:
        only_late = len(self._late) == len(self._members)
        return member in self._members and member.has_room and (only_late or member not in self._late)

    def _look_at_late(self) -> None:
        for member in self._late:
            self.on_room(member)
