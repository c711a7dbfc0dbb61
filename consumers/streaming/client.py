"""Reads the events of a gateway, and connects again by itself: nothing is lost, and nothing given twice."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from inspect import isawaitable
from types import TracebackType
from typing import Any, Literal, Self, Unpack

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from snowbus.bus import json_text
from snowbus.bus.backoff import Backoff
from snowbus.bus.diagnostics import Diagnostics
from snowbus.bus.errors import StreamError, StreamUnavailableError
from snowbus.bus.filters import Filter, Filters, parse_filter
from snowbus.bus.sparingly import SparingDiagnostics

from .address import Asked, filter_pairs
from .connecting import Token, TryAgainError, open_connection
from .memory import Ledger, Passed
from .messages import (
    DeliveryMessage,
    ErrorMessage,
    EventMessage,
    GapMessage,
    HeartbeatMessage,
    HelloMessage,
    Message,
    SubscriptionMessage,
    parse_message,
)
from .replies import Replies

OnGap = Callable[[GapMessage], Awaitable[None] | None]
OnDeliveries = Callable[[DeliveryMessage], Awaitable[None] | None]

_FIRST_WAIT_SECONDS = 0.25
_LONGEST_WAIT_SECONDS = 30.0
_CLOCKS_DIFFER = timedelta(minutes=1)
_REFUSED = ("bad_message", "unknown_message")


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """How a stream behaves; `stream` says what each means."""

    token: Token
    acks: Literal["auto", "manual"]
    on_gap: OnGap | None
    on_deliveries: OnDeliveries | None
    silence: float
    give_up_after: float | None


class EventStream:
    """A stream of events. Use it in `async with`, which connects and closes it, or directly in `async for`.

    It keeps no task: it reads while somebody waits for an event or a reply, and what is not read yet stays with the
    gateway, but for a few messages.
    """

    def __init__(self, asked: Asked, behaviour: Behaviour) -> None:
        self._asked = asked
        self._behaviour = behaviour
        self._filter = asked.filter
        self._start = asked.start
        self._is_paused = False
        self._connection: ClientConnection | None = None
        self._number = 0
        self._reading = asyncio.Lock()
        self._closed = asyncio.Event()
        self._entered = False
        self._ahead: deque[Message] = deque()
        self._replies = Replies()
        self._given: EventMessage | None = None
        self._cursor: str | None = None
        self._delivery_time = ""
        self._passed = Passed()
        self._ledger = Ledger()
        self._diagnostics = SparingDiagnostics(Diagnostics(__name__))
        self._backoff = Backoff(_FIRST_WAIT_SECONDS, maximum=_LONGEST_WAIT_SECONDS)
        self.subscription: Mapping[str, Any] = {}

    @property
    def cursor(self) -> str | None:
        """Where the stream stands: behind the event that it gave last. Keep it, and begin there again with `start=`.

        None before anything came, and in a group, which keeps its place on the log.
        """
        return None if self._asked.group else self._cursor

    async def __aenter__(self) -> Self:
        if self._closed.is_set() or self._entered:
            raise StreamError("a stream is opened once; make another one with stream(…)")
        self._entered = True
        async with self._reading:
            await self._connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                await self._acknowledge_given()
            elif issubclass(kind, Exception):
                await self._ask_again_for_given()
        finally:
            await self.close()

    def __aiter__(self) -> AsyncIterator[EventMessage]:
        return self if self._entered else self._alone()

    async def _alone(self) -> AsyncIterator[EventMessage]:
        async with self:
            async for event in self:
                yield event

    async def __anext__(self) -> EventMessage:
        await self._acknowledge_given()
        while True:
            while not self._ahead:
                async with self._reading:
                    if self._closed.is_set():
                        raise StopAsyncIteration
                    if not self._ahead:
                        await self._pull()
            if (event := await self._give(self._ahead.popleft())) is not None:
                return event

    async def filter(self, **filters: Unpack[Filters]) -> Mapping[str, Any]:
        """Replace the filter; returns the subscription that is in force then. Events that are under way still come.

        Raises FilterError for a filter that is none, and StreamRequestError when the gateway refuses it.
        """
        before, self._filter = self._filter, parse_filter(filter_pairs(filters))
        try:
            return await self._request(self._filter_message())
        except StreamError:
            self._filter = before
            raise

    async def pause(self) -> Mapping[str, Any]:
        """Ask for no more events until `resume`; returns the subscription. Events that are under way still come."""
        self._is_paused = True
        return await self._request({"type": "pause"})

    async def resume(self) -> Mapping[str, Any]:
        """Go on after `pause`, from where it was; returns the subscription."""
        self._is_paused = False
        return await self._request({"type": "resume"})

    async def close(self) -> None:
        """Close it; whoever waits for an event sees the end."""
        self._closed.set()
        connection, self._connection = self._connection, None
        if connection is None:
            return
        closing = asyncio.create_task(connection.close(), name="snowbus-stream-close")
        try:
            async with self._reading:  # the gateway's goodbye stands behind what was not read
                with suppress(ConnectionClosed):
                    while True:
                        await connection.recv(decode=False)
        except BaseException:
            connection.transport.abort()
            raise
        finally:
            await closing

    # Connecting

    async def _connect(self) -> None:
        """Connect, however long it takes."""
        loop = asyncio.get_running_loop()
        since, patience = loop.time(), self._behaviour.give_up_after
        while not self._closed.is_set():
            wanted = self._filter
            try:
                connection, hello = await open_connection(self._url(), token=self._behaviour.token)
            except TryAgainError as error:
                waited = loop.time() - since
                if patience is not None and waited >= patience:
                    raise StreamUnavailableError(
                        self._asked.base, seconds=round(waited, 1), reason=str(error)
                    ) from None
                wait = self._backoff.next_wait()
                wait = wait if patience is None else min(wait, patience - waited)
                self._diagnostics.warning(
                    "the gateway is away", url=self._asked.base, reason=str(error), next_try=round(wait, 1)
                )
                await self._wait(wait)
            else:
                if self._closed.is_set():
                    await connection.close()
                    return
                await self._begin(connection, hello, wanted)
                return

    def _url(self) -> str:
        deliveries = "false"
        if self._behaviour.on_deliveries is not None:
            deliveries = self._delivery_time or "true"
        return self._asked.url(start=self._start, wanted=self._filter, deliveries=deliveries)

    async def _begin(self, connection: ClientConnection, hello: HelloMessage, wanted: Filter) -> None:
        """Go on with another connection, whose URL asked for a filter that may be another one by now."""
        self._connection = connection
        self._number += 1
        self._passed.reconnect()
        self.subscription = hello.subscription
        self._come_to(hello.cursor)
        if hello.cursor is None and not self._asked.group and self._start in ("", "latest"):
            self._start = hello.time  # what comes between now and the next connection is new
        if not self._ahead:
            self._cursor = hello.cursor or self._cursor
        unsaid = ["filter"] * (self._filter != wanted) + ["pause"] * self._is_paused
        for kind in self._replies.begin_anew(unsaid):
            await self._say(self._filter_message() if kind == "filter" else {"type": kind})

    async def _drop(self, reason: str) -> None:
        connection, self._connection = self._connection, None
        if connection is None or self._closed.is_set():
            return
        wait = self._backoff.next_wait()
        self._diagnostics.info("a connection is lost", url=self._asked.base, reason=reason, next_try=round(wait, 1))
        connection.transport.abort()
        await self._wait(wait)

    async def _wait(self, seconds: float) -> None:
        """Wait before the next try, unless the stream is closed meanwhile."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closed.wait()

    def _come_to(self, cursor: str | None) -> None:
        """The next connection begins here, as what came before will be given."""
        if cursor is not None and not self._asked.group:
            self._start = cursor

    # Reading

    async def _pull(self) -> None:
        """Take one message, or connect; by whoever holds the lock."""
        connection = self._connection
        if connection is None:
            await self._connect()
            return
        try:
            async with asyncio.timeout(self._behaviour.silence):
                text = await connection.recv(decode=True)
        except TimeoutError:
            await self._drop(f"nothing came for {self._behaviour.silence:g} s, not even a heartbeat")
        except ConnectionClosed as error:
            await self._drop(str(error))
        else:
            settle = partial(self._settle, self._number) if self._asked.group else None
            await self._take(parse_message(text, settle))

    async def _take(self, message: Message) -> None:
        """Put a message with what is to be given, unless it says nothing new."""
        match message:
            case EventMessage() if not self._is_new(message):
                if self._asked.group:
                    await self._say({"type": "ack", "cursor": message.cursor, "only": True})
                return
            case EventMessage() | HeartbeatMessage():
                self._backoff.reset()
            case GapMessage():
                self._passed.skip(message.topic_partition, message.end)
            case SubscriptionMessage():
                self.subscription = message.subscription
                self._replies.arrive()
            case ErrorMessage():
                self._take_error(message)
                return
            case _:
                pass
        self._come_to(getattr(message, "cursor", None))
        self._ahead.append(message)

    def _is_new(self, event: EventMessage) -> bool:
        if self._asked.group:
            return self._ledger.is_new(self._number, event.cursor, (event.topic_partition, event.offset))
        return self._passed.is_new(event.topic_partition, event.offset)

    def _take_error(self, error: ErrorMessage) -> None:
        if error.code in _REFUSED and self._replies.refuse(error.code, error.message):
            return
        self._diagnostics.warning("the gateway says that something is wrong", code=error.code, reason=error.message)

    async def _give(self, message: Message) -> EventMessage | None:
        """Hand over a message whose turn it is; an event is for the caller."""
        match message:
            case GapMessage() if self._behaviour.on_gap is not None:
                await _call(self._behaviour.on_gap(message))
            case GapMessage():
                place = f"{message.topic}/{message.partition}"
                offsets = f"{message.start} to {message.end - 1}"
                self._diagnostics.warning("events are missing", partition=place, offsets=offsets, reason=message.reason)
            case DeliveryMessage() if self._behaviour.on_deliveries is not None:
                await _call(self._behaviour.on_deliveries(message))
                self._delivery_time = _a_little_before(message.time)
            case _:
                pass
        self._cursor = getattr(message, "cursor", None) or self._cursor
        if not isinstance(message, EventMessage):
            return None
        self._given = message
        return message

    # Saying

    async def _request(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """Say something that has a reply, and read until it is there, or until another connection has said it."""
        kind = message["type"]
        if self._closed.is_set() or not self._entered:
            raise StreamError(f"the stream is not open: ask for the {kind} inside its `async with`")
        done = self._replies.expect(kind)
        await self._say(message)
        try:
            while not done.done():
                async with self._reading:
                    if self._closed.is_set():
                        raise StreamError(f"the stream was closed before it had an answer to the {kind}")
                    if not done.done():
                        await self._pull()
        finally:
            done.cancel()  # the reply is nobody's when we were cancelled
        await done
        return self.subscription

    def _filter_message(self) -> dict[str, Any]:
        return {"type": "filter", "filters": {name: list(values) for name, values in self._filter.conditions}}

    async def _say(self, message: Mapping[str, Any]) -> None:
        if self._connection is not None:
            with suppress(ConnectionClosed):  # reading it says so, too
                await self._connection.send(json_text.dumps(message))

    async def _acknowledge_given(self) -> None:
        event, self._given = self._given, None
        if event is not None and self._asked.group and self._behaviour.acks == "auto":
            await event.ack()

    async def _ask_again_for_given(self) -> None:
        """It could not be handled: that counts, so that it is a dead letter once it has been so often enough."""
        event, self._given = self._given, None
        if event is not None and self._asked.group and self._behaviour.acks == "auto":
            await event.nack()

    async def _settle(self, number: int, cursor: str, delay: float | None, only: bool) -> None:
        """Tell the gateway what became of an event of the connection with this number: done, or again after `delay`."""
        if not self._ledger.is_given(number, cursor):
            return
        message: dict[str, Any] = {"type": "ack", "cursor": cursor} | ({"only": True} if only else {})
        if delay is None:
            self._ledger.ack(number, cursor, only=only)
        else:
            self._ledger.nack(number, cursor)
            message = {"type": "nack", "cursor": cursor, "delay": delay}
        if number == self._number:
            await self._say(message)


async def _call(answer: Awaitable[None] | None) -> None:
    if isawaitable(answer):
        await answer


def _a_little_before(time: str) -> str:
    return (datetime.fromisoformat(time) - _CLOCKS_DIFFER).isoformat().replace("+00:00", "Z")
