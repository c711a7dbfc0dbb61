"""One request, or websocket, of a tracked app: its tracker, and the events that wait until its answer is complete."""

import asyncio
import contextlib
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from snowplow_tracker import Tracker

from snowbus.bus import tracing
from snowbus.bus.errors import ConfigurationError
from snowbus.bus.payload import Payload

from ..contexts import Entity, with_entities
from .builder import ACall, Builder, Surroundings, is_in_a_loop
from .visitor import UNKNOWN, Visit, subject_of

if TYPE_CHECKING:
    from .tracking import Tracking

T = TypeVar("T")

_MOST_WAITING = 1_000
"""Events of one request that wait for its end; of one that goes on and on they leave earlier."""

_current: "ContextVar[TrackedRequest | None]" = ContextVar("snowbus_request", default=None)


class _Waiting(NamedTuple):
    """An event, whether it still lacks what the app knows of its request, and where in its trace it was tracked."""

    payload: dict[str, Any]
    lacks: bool
    traceparent: str


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
        acall: ACall = lambda function, request: function(request),
        clean_up: Callable[[], None] = lambda: None,
    ) -> None:
        self.outer = _current.get()
        self._tracking = tracking
        self._visit = visit
        self._request = request
        self._loop = loop
        self._acall = acall
        self._clean_up = clean_up
        self._lock = threading.RLock()  # the garbage collector and signal handlers may come in the middle
        self._waiting: list[_Waiting] = []
        self._leaving: deque[_Waiting] = deque()
        self._is_filling = False
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
        lacks = self._tracking.adds_to(payload, self.visit.path)
        if lacks and self._may_fill(payload):
            payload, lacks = self._filled(payload, request), False
        traceparent = tracing.active() or self.visit.traceparent
        with self._lock:
            self._waiting.append(_Waiting(payload, lacks, traceparent))
            if self._is_complete or len(self._waiting) >= _MOST_WAITING:
                self._leave()
            else:
                self._tracking.open_requests.add(self)

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
            then, self._then = self._then, []
            self._is_complete = True
            self._leave()
        self._tracking.open_requests.discard(self)
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

        In the app's loop async ones can only be left out.
        """
        around = self._surroundings()
        may_wait = self._may_wait()
        for builder in builders:
            if builder in self._made:
                continue
            if builder.is_async and not may_wait:
                builder.leave_out("it is async; `await acontexts_json(request)` before the page is rendered")
            else:
                with _no_request():
                    self._made[builder] = builder.call(request, around)
        return [entity for builder in builders for entity in self._made.get(builder, ())]

    async def abuild(self, builders: Sequence[Builder], request: Any) -> list[Entity]:
        """As `build`, for the loop."""
        around = self._surroundings()
        for builder in builders:
            if builder not in self._made:
                with _no_request():
                    self._made[builder] = await builder.acall(request, around)
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
        return Surroundings(lambda coroutine: self._tracking.run(coroutine, self._loop), self._acall, self._clean_up)

    def _may_wait(self) -> bool:
        """Whether only this request waits when the code that runs does; WSGI runs async views in loops of their own."""
        return self._loop is None or not is_in_a_loop() or asyncio.get_running_loop() is not self._loop

    def _may_fill(self, payload: dict[str, Any]) -> bool:
        """Whether an event can have at once what it lacks.

        Not behind one that waits; nor from a plain view if it takes the app's loop: what Django does there waits for
        the thread of that view.
        """
        asked = self._tracking.user_id_for(payload)
        takes_loop = asked is not None and asked.is_async and self._loop is not None
        return self._may_wait() and not takes_loop and not self._is_filling

    def _filled(self, payload: dict[str, Any], request: Any) -> dict[str, Any]:
        """An event with what the app knows of its request, for threads that may wait."""
        if asked := self._tracking.user_id_for(payload):
            with _no_request():
                payload = _with_user_id(payload, asked.call(request, self._surroundings()))
        try:
            return with_entities(payload, self.build(self._tracking.builders_for(payload, self.visit.path), request))
        except Exception as error:  # noqa: BLE001 - the event comes first
            self._tracking.warn("an event has no contexts", error)
            return payload

    async def _afilled(self, payload: dict[str, Any]) -> dict[str, Any]:
        """As `_filled`, for the loop."""
        if asked := self._tracking.user_id_for(payload):
            with _no_request():
                payload = _with_user_id(payload, await asked.acall(self.request, self._surroundings()))
        try:
            (filled,) = await self.enriched([payload])
        except Exception as error:  # noqa: BLE001 - as above
            self._tracking.warn("an event has no contexts", error)
            return payload
        return filled

    def _leave(self) -> None:
        """Let what waits go, in its order: later, where something is lacked. The caller has the lock."""
        self._leaving.extend(self._waiting)
        self._waiting = []
        if self._is_filling:
            return
        if any(each.lacks for each in list(self._leaving)) and not sys.is_finalizing():
            self._is_filling = True
            self._tracking.later(self._fill_and_leave(), self._loop)
        else:
            self._hand_over_leaving()

    async def _fill_and_leave(self) -> None:
        try:
            while self._is_filling:
                payload, lacks, traceparent = self._leaving[0]
                if lacks:
                    payload = await self._afilled(payload)
                with self._lock:
                    self._leaving.popleft()
                    self._tracking.hand_over(payload, traceparent)
                    self._is_filling = bool(self._leaving)
        except asyncio.CancelledError:  # the app's loop ends meanwhile
            self._loop = None
            self._tracking.later(self._fill_and_leave(), None)
            raise
        except BaseException:  # so does the one in the background
            with self._lock:
                self._is_filling = False
                self._hand_over_leaving()
            raise

    def _hand_over_leaving(self) -> None:
        while self._leaving:  # one by one: a signal handler may track in the middle of this
            payload, _, traceparent = self._leaving.popleft()
            self._tracking.hand_over(payload, traceparent)


def _with_user_id(payload: dict[str, Any], user_id: str) -> dict[str, Any]:
    return {**payload, "uid": user_id} if user_id else payload


@contextlib.contextmanager
def _no_request() -> Iterator[None]:
    """Keep builders from tracking events, which would need builders."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)
