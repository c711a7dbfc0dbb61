"""Reads request bodies: never more than the limit, never longer than the bound, never too many at once."""

import asyncio
from collections.abc import Awaitable, Generator, MutableMapping
from typing import Any

from snowbus.bus.errors import SnowbusError
from snowbus.bus.http_server import Receive

from .source import Head

KEPT_BYTES = 65_536
"""How much of a body that is too large is kept."""
_LINGER_SECONDS = 5.0
_LINGER_IDLE_SECONDS = 1.0

Message = MutableMapping[str, Any]


class TooLargeError(SnowbusError):
    """A body over the limit: the `first` bytes of it, its whole `size` where known, and whether a rest is `unread`."""

    def __init__(self, first: bytes, *, size: int | None, unread: bool) -> None:
        super().__init__("the body is too large")
        self.first = first
        self.size = size
        self.unread = unread


class StalledError(SnowbusError):
    """A body that did not arrive in time."""


class DisconnectedError(SnowbusError):
    """The sender went away before its request was complete."""


class OverloadedError(SnowbusError):
    """More is being read, or waits for the log, than the settings allow; `unread` says whether a rest is."""

    retriable = True

    def __init__(self, reason: str, *, unread: bool = False) -> None:
        super().__init__(reason)
        self.unread = unread


class Begun(Awaitable[Message]):
    """A coroutine that has run as far as it could without waiting; awaiting it goes on from there.

    Most bodies are there with their head. These cost no timer, which would cost as much as reading them.
    """

    def __init__(self, receiving: Awaitable[Message]) -> None:
        self._steps = receiving.__await__()
        self.result: Message | None = None
        try:
            self._waits_for = next(self._steps)
        except StopIteration as stop:
            self.result = stop.value

    def __await__(self) -> Generator[Any, Any, Message]:
        if self.result is not None:
            return self.result
        try:
            yield self._waits_for
        except BaseException:  # cancelled: let it clean up
            self._steps.close()
            raise
        return (yield from self._steps)


class BodyReader:
    """Reads bodies of at most `limit` bytes in at most `seconds`; of those that come in pieces, at most `max_held`
    bytes are held at once.
    """

    def __init__(self, *, limit: int, seconds: float, max_held: int) -> None:
        self._limit = limit
        self._seconds = seconds
        self._max_held = max_held
        self._held = 0
        self._deadlines: set[asyncio.Timeout] = set()

    async def read(self, receive: Receive, head: Head) -> bytes:
        """The whole body. Raises TooLargeError, StalledError, DisconnectedError, OverloadedError."""
        size = _announced(head)
        oversized = size is not None and size > self._limit
        if oversized and b"expect" in head.headers:
            raise TooLargeError(b"", size=size, unread=True)  # it is asked for first, so it need not be sent
        receiving = Begun(receive())
        if receiving.result is not None and not receiving.result.get("more_body") and not oversized:
            return self._whole(receiving.result)
        pieces = bytearray()
        ended = False
        try:
            async with asyncio.timeout(self._seconds) as deadline:
                self._deadlines.add(deadline)
                message = await receiving
                upto = KEPT_BYTES if oversized else self._limit + 1
                ended = await self._gather(message, receive, pieces, upto=upto)
        except TimeoutError:
            if not oversized:
                raise StalledError("the body did not arrive in time") from None
        finally:
            self._held -= len(pieces)
            self._deadlines.discard(deadline)
        if oversized or len(pieces) > self._limit:
            size = len(pieces) if ended else size
            raise TooLargeError(bytes(pieces[:KEPT_BYTES]), size=size, unread=not ended)
        return bytes(pieces)

    async def discard(self, receive: Receive) -> None:
        """Read what is still coming, for a while: a connection closed while it is sending would lose the answer."""
        try:
            async with asyncio.timeout(_LINGER_SECONDS) as deadline:
                self._deadlines.add(deadline)
                more = True
                while more:
                    async with asyncio.timeout(_LINGER_IDLE_SECONDS):
                        more = (await receive()).get("more_body", False)
        except TimeoutError:
            pass
        finally:
            self._deadlines.discard(deadline)

    def hurry(self, seconds: float) -> None:
        """Give the bodies under way no more than so many seconds; for a stop."""
        latest = asyncio.get_running_loop().time() + seconds
        for deadline in self._deadlines:
            when = deadline.when()
            if when is not None and not deadline.expired():
                deadline.reschedule(min(when, latest))

    def _whole(self, message: Message) -> bytes:
        if message["type"] == "http.disconnect":
            raise DisconnectedError("the sender went away")
        body: bytes = message.get("body", b"")
        if len(body) > self._limit:
            raise TooLargeError(body[:KEPT_BYTES], size=len(body), unread=False)
        return body

    async def _gather(self, message: Message, receive: Receive, pieces: bytearray, *, upto: int) -> bool:
        """Add what arrives to the pieces, up to a size or to the end; says whether that came."""
        while True:
            if message["type"] == "http.disconnect":
                raise DisconnectedError("the sender went away")
            piece = message.get("body", b"")
            if self._held + len(piece) > self._max_held:
                raise OverloadedError("too much is being read at once", unread=True)
            pieces += piece
            self._held += len(piece)
            if not message.get("more_body"):
                return True
            if len(pieces) >= upto:
                return False
            message = await receive()


def _announced(head: Head) -> int | None:
    length = head.headers.get(b"content-length", b"")
    return int(length) if length.isdigit() and len(length) < 20 else None
