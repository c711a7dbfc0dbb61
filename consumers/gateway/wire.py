"""One websocket of the gateway: frames made elsewhere go out in few writes, and what is no handshake gets an answer."""

import asyncio
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import InvalidMessage
from websockets.frames import CloseCode
from websockets.protocol import State

from .deflate import Context, SharedDeflate

REQUEST_SECONDS = 5.0
"""A request that has not ended after so long is answered with that."""

_LINGER_SECONDS = 2.0
_TLS = b"\x16"  # RFC 8446, section 5.1: how a record of its handshake begins


def _refusal(status: bytes, text: bytes) -> bytes:
    return (
        b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (status, len(text), text)
    )


_NO_REQUEST = _refusal(b"400 Bad Request", b"only GET requests over HTTP/1.1, without a body, are answered here\n")
_LATE_REQUEST = _refusal(b"408 Request Timeout", b"the request did not end in time\n")


class GatewayConnection(ServerConnection):
    """A websocket that takes whole frames.

    The library makes the handshake, answers pings and closes; messages are complete text frames, compressed elsewhere
    if at all, so its state needs to know nothing of them. `on_writable` is called when the socket takes more after it
    did not, `on_lost` when it is closed. Times are the event loop's, in seconds.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.on_writable: Callable[[], None] | None = None
        self.on_lost: Callable[[], object] | None = None
        self.is_writable = False
        """Whether messages may be sent, and what was sent before has left, all but a little."""
        self.admitted: Any = None
        self.heard_at = self.sent_at = self.loop.time()
        self._pinged_at: float | None = None
        self._explained = False
        self._early = b""

    @property
    def is_idle(self) -> bool:
        """Whether it has asked for nothing yet."""
        return self.request is None and hasattr(self, "transport")

    @cached_property
    def deflates(self) -> bool:
        """Whether it takes what a Context has compressed. Asked for when the handshake is done."""
        return any(
            isinstance(extension, SharedDeflate) and extension.is_usable for extension in self.protocol.extensions
        )

    @property
    def is_open(self) -> bool:
        """Whether messages may still be sent."""
        return self.protocol.state is State.OPEN and not self.transport.is_closing()

    @property
    def is_lost(self) -> bool:
        """Whether the socket is closed: `on_lost` will not be called any more."""
        return self.protocol.state is State.CLOSED

    @property
    def is_lost_without_goodbye(self) -> bool:
        """Whether the socket was closed, and neither side had said that it would."""
        return self.is_lost and self.protocol.close_rcvd is None and self.protocol.close_sent is None

    def deliver(self, frames: bytes) -> None:
        """Send whole frames, in one write. Only while it is open."""
        self.transport.write(frames)
        self.sent_at = self.loop.time()

    def deliver_all(self, frames: Sequence[bytes]) -> None:
        """As `deliver`, for frames that nobody else is sent together: compressed, when it takes that."""
        self.deliver(Context().deflate(frames) if self.deflates else b"".join(frames))

    def slip_in(self, frames: bytes) -> None:
        """As `deliver`, for messages without a cursor: a stream that has nothing else to say stays silent."""
        self.transport.write(frames)

    def forget_handshake(self) -> None:
        """Free what the handshake's headers take: two kB, and a token maybe."""
        for message in (self.request, self.response):
            if message is not None:
                message.headers.clear()

    def keep_alive(self, *, now: float, silence: float) -> None:
        """Ping a peer that has said nothing for `silence` seconds; give it up after as long again.

        A peer that does not read cannot answer, so time counts only while the socket takes what is sent. A peer that
        is gone then is noticed by TCP.
        """
        if not self.is_writable or self._pinged_at is None or self._pinged_at < self.heard_at:
            self._pinged_at = None
        if not self.is_writable or now - self.heard_at < silence:
            return
        if self._pinged_at is None:
            self._pinged_at = now
            self.protocol.send_ping(b"")
            self.send_data()
        elif now - self._pinged_at >= silence:
            self.give_up("no answer to a ping")

    def give_up(self, reason: str, *, code: int = CloseCode.INTERNAL_ERROR) -> None:
        """Close without waiting for the other side."""
        if self.protocol.state is State.OPEN:
            self.protocol.fail(code, reason)
            self.send_data()
        self.is_writable = False
        self.transport.close()
        self.loop.call_later(_LINGER_SECONDS, self.transport.abort)

    # What asyncio and the library call

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        super().connection_made(transport)
        self._too_late = self.loop.call_later(REQUEST_SECONDS, self._end_late_request)

    def data_received(self, data: bytes) -> None:  # noqa: D102
        self.heard_at = self.loop.time()
        if self.request is None and data.startswith(_TLS):
            data += b"\n"  # it has no lines to wait for
        while data and self.request is None and self.protocol.handshake_exc is None:
            line, end, data = data.partition(b"\n")
            super().data_received(line + end)
        if data and self.request is not None and self.response is None:
            self._early += data  # which the library would take for frames, and not answer the request
            self.transport.pause_reading()
        elif data:
            super().data_received(data)

    def pause_writing(self) -> None:  # noqa: D102
        super().pause_writing()
        self.is_writable = False

    def resume_writing(self) -> None:  # noqa: D102
        super().resume_writing()
        self._look()
        if self.on_writable is not None:
            self.on_writable()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: D102
        super().connection_lost(exc)
        self.is_writable = False
        self._too_late.cancel()
        if self.on_lost is not None:
            self.on_lost()

    def send_data(self) -> None:
        """Send what the library has ready, and before it ends a conversation it did not understand, say why."""
        problem = self.protocol.handshake_exc
        if isinstance(problem, InvalidMessage) and not self.protocol.reader.eof and not self._explained:
            self._explained = True
            self.transport.write(_NO_REQUEST)
        super().send_data()
        self._look()
        if self._early and self.response is not None:
            self.loop.call_soon(self._take_early)

    def _look(self) -> None:
        self.is_writable = not self.paused and self.is_open

    def _end_late_request(self) -> None:
        if self.request is None and self.protocol.handshake_exc is None and not self.transport.is_closing():
            self.transport.write(_LATE_REQUEST)
            self.transport.close()

    def _take_early(self) -> None:
        early, self._early = self._early, b""
        if early and not self.transport.is_closing():
            self.transport.resume_reading()
            super().data_received(early)
