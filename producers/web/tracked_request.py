"""One request, or websocket, of a tracked app: its tracker, and the events that wait until its answer is complete."""

import asyncio
import contextlib
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from snowplow_tracker import Tracker

from snowbus.bus.errors import ConfigurationError
from snowbus.bus.payload import Payload

from ..contexts import Entity, with_entities
from .builder import Builder, Surroundings
from .visitor import UNKNOWN, Visit, subject_of

if TYPE_CHECKING:
    from .tracking import Tracking

T = TypeVar("T")

_MOST_WAITING = 1_000
"""Events of one request that wait for its end; of one that goes on and on they leave earlier."""

_current: "ContextVar[TrackedRequest | None]" = ContextVar("snowbus_request", default=None)


class _Waiting(NamedTuple):
    """An event, and the builders whose entities it still lacks."""

    payload: dict[str, Any]
    lacks: Sequence[Builder]


def current_request() -> "TrackedRequest | None":
    """The request that this code runs for."""
    return _current.get()


def current_tracker() -> Tracker:
    """The official tracker of the request that this code runs for. Raises ConfigurationError where there is none."""
    request = _current.get()
    if request is None:
        raise ConfigurationError("this runs for no tracked request; Tracking.tracker is there everywhere")
    return request.tracker


class TrackedRequest:
    """Is the emitter of its tracker. `visit` and `request` give what they do when the first event needs it.

    `loop` is the app's, where it has one. What is tracked after `complete` leaves at once.
    """

    def __init__(
        self,
        tracking: "Tracking",
        *,
        visit: Callable[[], Visit],
        request: Callable[[], Any],
        loop: asyncio.AbstractEventLoop | None = None,
        clean_up: Callable[[], None] = lambda: None,
    ) -> None:
        self.outer = _current.get()
        self._tracking = tracking
        self._visit = visit
        self._request = request
        self._loop = loop
        self._clean_up = clean_up
        self._lock = threading.RLock()  # the garbage collector may complete a request at any time
        self._waiting: list[_Waiting] = []
        self._is_complete = False
        self._then: list[Callable[[], None]] = []
        self._made: dict[Builder, list[Entity]] = {}

    @cached_property
    def visit(self) -> Visit:
        """What the request tells of its user and its page; nothing, when it cannot be understood."""
        try:
            return self._visit()
        except Exception as error:  # noqa: BLE001 - whatever is in a request, its view must go on
            self._tracking.warn("a request tells nothing", error)
            return UNKNOWN

    @cached_property
    def request(self) -> Any:
        """The request as the framework has it."""
        return self._request()

    @cached_property
    def tracker(self) -> Tracker:
        """The request's tracker."""
        return self._tracking.tracker_of([self], subject_of(self.visit))

    def of(self, tracking: "Tracking") -> "TrackedRequest | None":
        """This request, or the one that it is a part of, as the app with this tracking has it."""
        if self._tracking is tracking:
            return self
        return self.outer.of(tracking) if self.outer else None

    def make_current(self) -> None:
        """Make it what code runs for, for the rest of this context."""
        _current.set(self)

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """Make it what code runs for."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def steps(self, iterator: Iterable[T]) -> Iterator[T]:
        """The same items, each made while this request is the current one."""
        items = iter(iterator)
        while True:
            with self.current():
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item

    async def asteps(self, iterator: AsyncIterator[T]) -> AsyncIterator[T]:
        """As `steps`, for what is async."""
        items = aiter(iterator)
        while True:
            with self.current():
                try:
                    item = await anext(items)
                except StopAsyncIteration:
                    return
            yield item

    def input(self, payload: dict[str, Any]) -> None:
        """Take an event, with what the request tells of it where it says nothing itself."""
        payload = {**self.visit.event, **payload}
        request = self.request  # now, as Flask has none later
        if "uid" not in payload and (user_id := self._tracking.user_id_of(request)):
            payload["uid"] = user_id
        lacks: Sequence[Builder] = ()
        try:
            lacks = self._tracking.builders_for(payload, self.visit.path)
            if lacks and not _is_in_a_loop():
                payload, lacks = with_entities(payload, self.build(lacks, request)), ()
        except Exception as error:  # noqa: BLE001 - the event comes first
            self._tracking.warn("an event has no contexts", error)
        with self._lock:
            self._waiting.append(_Waiting(payload, lacks))
            if not self._is_complete:
                self._tracking.open_requests.add(self)
                if len(self._waiting) < _MOST_WAITING:
                    return
            leaving, self._waiting = self._waiting, []
        self._leave(leaving)

    def flush(self) -> None:
        """Nothing to do: events leave when the answer is complete."""

    sync_flush = async_flush = flush

    def complete(self) -> None:
        """The answer is complete, so its events may go; calling it again does nothing.

        The answer of a mounted app is complete with that of the app around it.
        """
        if self.outer is None or not self.outer.will_complete(self.complete):
            self.complete_now()

    def complete_now(self) -> None:
        """As `complete`, also when the app around a mounted one is not done: the process ends."""
        with self._lock:
            leaving, self._waiting = self._waiting, []
            then, self._then = self._then, []
            self._is_complete = True
        self._tracking.open_requests.discard(self)
        self._leave(leaving)
        for call in then:
            call()

    def will_complete(self, then: Callable[[], None]) -> bool:
        """Whether the answer is still to be completed; if so, `then` is called after it is."""
        with self._lock:
            if not self._is_complete:
                self._then.append(then)
            return not self._is_complete

    @property
    def page_builders(self) -> Sequence[Builder]:
        """The builders whose entities go in the page."""
        return self._tracking.builders_for_page(self.visit.path)

    def build(self, builders: Sequence[Builder], request: Any) -> list[Entity]:
        """The entities of builders, each called once, with the framework's request; for threads that may wait.

        In the thread of a loop async ones can only be left out.
        """
        around = self._surroundings()
        is_in_a_loop = _is_in_a_loop()
        for builder in builders:
            if builder in self._made:
                continue
            if builder.context.is_async and is_in_a_loop:
                builder.leave_out("it is async; `await acontexts_json(request)` before the page is rendered")
            else:
                with _no_request():
                    self._made[builder] = builder.build(request, around)
        return [entity for builder in builders for entity in self._made.get(builder, ())]

    async def abuild(self, builders: Sequence[Builder], request: Any) -> list[Entity]:
        """As `build`, for the loop."""
        around = self._surroundings()
        for builder in builders:
            if builder not in self._made:
                with _no_request():
                    self._made[builder] = await builder.abuild(request, around)
        return [entity for builder in builders for entity in self._made[builder]]

    async def enriched(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Events that came in with the request, with the entities that belong on them."""
        return [
            with_entities(
                payload, await self.abuild(self._tracking.builders_for(payload, self.visit.path), self.request)
            )
            for payload in payloads
        ]

    def _surroundings(self) -> Surroundings:
        return Surroundings(lambda: self._tracking.loop_for(self._loop), self._clean_up)

    def _leave(self, leaving: Sequence[_Waiting]) -> None:
        """Let events go, in their order: later, where one lacks something."""
        if any(each.lacks for each in leaving) and not sys.is_finalizing():
            self._tracking.later(self._build_and_leave(leaving), self._loop)
        else:
            self._tracking.hand_over(each.payload for each in leaving)

    async def _build_and_leave(self, leaving: Sequence[_Waiting]) -> None:
        left = list(leaving)
        try:
            while left:
                entities = await self.abuild(left[0].lacks, self.request)
                self._tracking.hand_over([with_entities(left.pop(0).payload, entities)])
        finally:  # also when the loop ends meanwhile
            self._tracking.hand_over(each.payload for each in left)


@contextlib.contextmanager
def _no_request() -> Iterator[None]:
    """Keep builders from tracking events, which would need builders."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)


def _is_in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
