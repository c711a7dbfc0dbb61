"""The durable groups of a gateway: each is there while it has a connection, and all its connections want the same."""

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass, field

from snowbus.bus.log.interface import Log
from snowbus.bus.metrics import Metrics
from snowbus.bus.start import Earliest

from .access import Refusal
from .failures import Failures
from .group import Group, GroupOptions
from .subscription import GroupTerms, Subscription

MOST_GROUPS = 100
"""Groups at once; each is a member of the log's own groups, and reads ahead."""


@dataclass
class _Entry:
    group: Group
    task: asyncio.Task[None]
    windows: dict[Hashable, int] = field(default_factory=dict)  # by connection, how many records it may have in flight


class Groups:
    """Starts a group with its first connection and stops it with its last.

    What the connections of a group may have in flight together is no more than the group may, so that no client can
    take the room of another.
    """

    def __init__(self, log: Log, metrics: Metrics, options: GroupOptions) -> None:
        self._log = log
        self._metrics = metrics
        self._options = options
        self._failures = Failures()
        self._entries: dict[str, _Entry] = {}
        self._of_connection: dict[Hashable, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def reason_to_refuse(self, subscription: Subscription) -> Refusal | None:
        """Why a connection with this subscription cannot be in its group now, or None when it can."""
        terms, most = subscription.group, self._options.in_flight
        if terms is None:
            return None
        if terms.max_in_flight > most:
            return Refusal(400, f"max_in_flight: {terms.max_in_flight:,} is more than the {most:,} of a group here")
        entry = self._entries.get(terms.name)
        if entry is not None:
            return self._reason_not_to_join(entry, subscription, terms)
        if len(self._tasks) >= MOST_GROUPS:
            return Refusal(503, f"group: {MOST_GROUPS} groups have connections here, and no more may; try again later")
        return None

    def _reason_not_to_join(self, entry: _Entry, subscription: Subscription, terms: GroupTerms) -> Refusal | None:
        if entry.group.filter != subscription.filter:
            there = " ".join(f"{name}={value}" for name, values in entry.group.filter.conditions for value in values)
            return Refusal(409, f"group: all connections of a group have one filter, which is {there or 'empty'} here")
        most = self._options.in_flight
        room = most - sum(entry.windows.values())
        if terms.max_in_flight > room:
            return Refusal(
                503,
                f"group: its connections here may have {most - room:,} of {most:,} events in flight already; "
                f"ask for max_in_flight={room} or less, or connect to another gateway",
            )
        return None

    def enter(self, connection: Hashable, subscription: Subscription) -> None:
        """Count a connection in, which `reason_to_refuse` lets in, until it leaves; starts its group if it is the
        first.
        """
        terms = subscription.group
        if terms is None:
            return
        entry = self._entries.get(terms.name)
        if entry is None:
            entry = self._entries[terms.name] = self._start(terms, subscription)
        entry.windows[connection] = terms.max_in_flight
        self._of_connection[connection] = terms.name

    def leave(self, connection: Hashable) -> None:
        """Count a connection out, if it was in a group; stops the group if it was the last."""
        name = self._of_connection.pop(connection, None)
        entry = self._entries.get(name) if name is not None else None
        if entry is None or name is None or entry.windows.pop(connection, None) is None:
            return
        if not entry.windows:
            del self._entries[name]
            entry.group.stop()

    def of(self, connection: Hashable) -> Group | None:
        """The group that a connection is in."""
        name = self._of_connection.get(connection)
        entry = self._entries.get(name) if name is not None else None
        return entry.group if entry is not None and connection in entry.windows else None

    async def close(self) -> None:
        """Stop all groups, and wait until they have committed and left."""
        for entry in self._entries.values():
            entry.group.stop()
        self._entries.clear()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _start(self, terms: GroupTerms, subscription: Subscription) -> _Entry:
        group = Group(
            terms.name,
            subscription.filter,
            self._log,
            self._metrics,
            auto_offset_reset="earliest" if isinstance(subscription.start, Earliest) else "latest",
            options=self._options,
            failures=self._failures,
        )
        task = asyncio.create_task(group.run(), name=f"snowbus-gateway-group-{terms.name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return _Entry(group, task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A group is over; one that failed makes room for another of its name."""
        self._tasks.discard(task)
        for name, entry in list(self._entries.items()):
            if entry.task is task:
                del self._entries[name]
