"""One try to deliver the first events of an outbox, in order: what will not be taken is narrowed down by halves."""

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from snowbus.bus import tracing
from snowbus.bus.collector.verdicts import Dead, Delivered, Denied, Retry, Split, Stop, Verdict

from .destination import Destination
from .tracked import Tracked


class Fate(NamedTuple):
    """What became of an event: delivered, unless there is a reason why it will never be."""

    refused: str = ""


_DELIVERED = Fate()


class Delivery:
    """The try. Cut off at any time, `fates` says for the first events what has become of them."""

    def __init__(self, events: Sequence[Tracked], destination: Destination[Any]) -> None:
        self._events = events
        self._destination = destination
        self._fates: list[Fate | None] = [None] * len(events)
        self._denied: dict[int, str] = {}
        self._items: list[tuple[int, Any]] = []
        for index, event in enumerate(events):
            try:
                self._items.append((index, destination.prepare(event)))
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one event must not keep the others
                self._fates[index] = Fate(str(error) or type(error).__name__)

    @property
    def fates(self) -> list[Fate]:
        """What has become of the first events, up to the first of which it is not known."""
        known: list[Fate] = []
        for index, fate in enumerate(self._fates):
            if fate is None and index in self._denied and _DELIVERED in self._fates:
                fate = Fate(self._denied[index])  # noqa: PLW2901 - others are taken, so it is about this one
            if fate is None:
                break
            known.append(fate)
        return known

    async def run(self) -> Retry | Stop | None:
        """Send everything; returns why the rest must wait, if it must.

        A 403 for one event means that one where others are taken, and everything where none is.
        """
        parts: deque[list[tuple[int, Any]]] = deque()
        start = 0
        for count in self._destination.requests([item for _, item in self._items]):
            parts.append(self._items[start : start + count])
            start += count
        while parts:
            part = parts.popleft()
            match await self._send(part):
                case Delivered():
                    self._settle(part, _DELIVERED)
                case Split() | Denied() if len(part) > 1:
                    half = len(part) // 2
                    parts.extendleft((part[half:], part[:half]))
                case Denied(reason):
                    self._denied[part[0][0]] = reason
                case Dead(reason) | Split(reason):
                    self._settle(part, Fate(reason))
                case Retry() | Stop() as wait:
                    return wait
        if self._denied and _DELIVERED not in self._fates:
            return Stop(next(iter(self._denied.values())))
        return None

    async def _send(self, part: Sequence[tuple[int, Any]]) -> Verdict:
        traces = [self._events[index].traceparent for index, _ in part]
        name = f"send {self._destination.name}"
        with tracing.span(name, traces, kind="PRODUCER", attributes=lambda: self._told_of(part)) as span:
            verdict = await self._destination.send([item for _, item in part])
            if not isinstance(verdict, Delivered):
                span.fail(type(verdict).__name__)
        return verdict

    def _told_of(self, part: Sequence[object]) -> tracing.Attributes:
        return {
            "messaging.system": self._destination.system,
            "messaging.operation.name": "send",
            "messaging.operation.type": "send",
            "messaging.destination.name": self._destination.name,
            "messaging.batch.message_count": len(part),
        }

    def _settle(self, part: Sequence[tuple[int, Any]], fate: Fate) -> None:
        for index, _ in part:
            self._fates[index] = fate
