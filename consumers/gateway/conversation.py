"""What every websocket of the gateway has in common: how it is greeted and told what is wrong, and how it is heard."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from snowbus.bus.clock import now_ms
from snowbus.bus.errors import SnowbusError
from snowbus.bus.metrics import Metrics
from snowbus.bus.tracker_protocol import timestamp_from_ms
from snowbus.bus.version import version

from .frames import json_frame
from .limits import TokenBucket
from .wire import GatewayConnection

_ERRORS_AT_ONCE = 20
_FLOOD = 200


class Conversation:
    """Says things on a connection that is open, counts them, and hears what the client says."""

    def __init__(self, connection: GatewayConnection, metrics: Metrics) -> None:
        self._connection = connection
        self._messages = metrics.gateway_messages
        self._greeted = asyncio.Event()
        self._errors = TokenBucket(_ERRORS_AT_ONCE, now=connection.loop.time())

    def send(self, kind: str, frame: bytes) -> None:
        """Send a frame that holds a message of this type."""
        if self._connection.is_open:
            self._connection.deliver(frame)
            self._messages.labels(kind).inc()

    def send_events(self, frames: Sequence[bytes]) -> None:
        """Send the frames of events, in one write. Only while the connection is open."""
        self._connection.deliver_all(frames)
        self._messages.labels("event").inc(len(frames))

    def say(self, kind: str, **members: Any) -> None:
        """Send a message of this type."""
        self.send(kind, json_frame({"type": kind, **members}))

    def say_hello(self, subscription: Mapping[str, object], cursor: str | None) -> None:
        """Greet, with the subscription as it was understood."""
        now = timestamp_from_ms(now_ms())
        self.say("hello", server=f"snowbus/{version()}", subscription=subscription, cursor=cursor, time=now)
        self._greeted.set()

    def say_error(self, code: str, message: str, cursor: bytes | None = None) -> None:
        """Tell what is wrong."""
        self.say("error", code=code, message=message, cursor=cursor.decode() if cursor else None)

    async def listen(
        self,
        take: Callable[[str | bytes], Awaitable[None]],
        *,
        cursor: Callable[[], bytes | None] = lambda: None,
        decode: bool | None = None,
    ) -> None:
        """Give each message to `take`, once the client is greeted, until it goes. What that raises as a SnowbusError is
        told, unless it comes in a flood, which ends the connection.
        """
        connection = self._connection
        unanswered = 0
        try:
            while True:
                message = await connection.recv(decode=decode)
                if not self._greeted.is_set():
                    await self._until_greeted()
                try:
                    await take(message)
                except SnowbusError as error:
                    if self._errors.take(connection.loop.time()) and connection.is_writable:
                        self.say_error("bad_message", str(error), cursor())
                        continue
                    unanswered += 1
                    if unanswered >= _FLOOD:
                        connection.give_up("too many messages", code=CloseCode.POLICY_VIOLATION)
        except (ConnectionClosed, OSError):
            return

    async def _until_greeted(self) -> None:
        """The stream begins with the hello, whatever a client says before; unless it goes before."""
        waits = [asyncio.create_task(each) for each in (self._greeted.wait(), self._connection.wait_closed())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
