"""uvicorn's HTTP protocol with bounds on what it leaves open: how large a request's head may be, and how late.

What is refused here never reaches an app: 400 for what is not HTTP, 414 and 431 for a head that is too large, 408 for
one that does not arrive.
"""

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

MAX_HEAD_BYTES = 65_535
"""The most that httptools parses of a URL, and as much as anyone needs for a head."""

_LINGER_SECONDS = 2.0


class _HeadTooLargeError(Exception):
    pass


class _Answering(asyncio.Transport):
    """A connection as one answer writes to it: its head waits for the beginning of its body, as ASGI allows.

    Each on its own would be a system call and a packet more, which cost as much as all else of a small answer.
    """

    def __init__(self, transport: asyncio.Transport, cycle: RequestResponseCycle) -> None:
        super().__init__()
        self._transport = transport
        self._cycle = cycle
        self._head: bytes | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep the head, or write what there is."""
        if self._head is None and self._cycle.response_started:  # else it is `100 Continue`
            self._head = bytes(data)
        else:
            self._transport.write(self._head + data if self._head else data)
            self._head = self._head and b""

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether the connection is closed, or about to be."""
        return self._transport.is_closing()


class BoundedHttpProtocol(HttpToolsProtocol):
    """Answers 4xx to a head over 64 KiB, or one that is not there after `head_seconds`; closes idle connections."""

    head_seconds = 30.0

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.url = b""
        self._in_head = False
        self._completed_here = False
        self._plain_head = b""
        self._head_bytes = 0
        self._arrived = 0
        self._refusal: tuple[int, str] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Expect a request."""
        super().connection_made(transport)  # type: ignore[arg-type] # a stream's transport
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._stop_timer()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, within the bounds."""
        if self._refusal is not None:
            return
        self._unset_keepalive_if_required()
        self._completed_here = False
        self._arrived = len(data)
        try:
            self._parse(data)
        except httptools.HttpParserUpgrade:  # CONNECT: the app was called, without a body
            self.cycle.keep_alive = False
            self._refusal = (400, "")
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, _HeadTooLargeError):
                self._refuse(*self._too_large())
            else:
                self._refuse(400, "this is not an HTTP request")
        else:
            if self._in_head:
                self._bound_head()
            elif self._unanswered() is None:
                self._expect_request()

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._in_head = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a trailer, which comes after the body, must not pass for one (RFC 9110, 6.5.1)."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """End a head, and call the app unless the head is too large."""
        self._in_head = False
        if self._timer is not None:
            self._stop_timer()
        if self._arrived + self._head_bytes > MAX_HEAD_BYTES:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > MAX_HEAD_BYTES:
                raise _HeadTooLargeError  # the parser stops, and wraps it
        if self.parser.should_upgrade() and any(name == b"upgrade" for name, _ in self.headers):
            self._plain_head = self._head_without_upgrade()
            return
        super().on_headers_complete()
        if self.scope["method"] != "HEAD":  # whose answers have no body
            self.cycle.transport = _Answering(self.transport, self.cycle)

    def on_message_complete(self) -> None:
        """End a request."""
        if self._plain_head:  # it is to begin again
            return
        self._completed_here = True
        super().on_message_complete()

    def _bound_head(self) -> None:
        """The head is not complete yet."""
        if not self._completed_here:  # else some of what arrived was another request's
            self._head_bytes += self._arrived
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(*self._too_large())
        elif self._timer is None:
            self._timer = self.loop.call_later(
                self.head_seconds, self._refuse, 408, f"the head did not arrive within {self.head_seconds:g} seconds"
            )

    def _too_large(self) -> tuple[int, str]:
        if len(self.url) > MAX_HEAD_BYTES // 2:
            return 414, f"the URL is too long; a request's head may have {MAX_HEAD_BYTES} bytes"
        return 431, f"the headers are too large; a request's head may have {MAX_HEAD_BYTES} bytes"

    def _refuse(self, status: int, reason: str) -> None:
        """Answer, and close the connection once the other side does, or a little later: the answer must arrive."""
        self._refusal = (status, reason)
        self._stop_timer()
        cycle = self._unanswered()
        if cycle is not None:
            if not cycle.more_body or cycle.response_started:
                cycle.keep_alive = False  # the request before has its answer still to come; it is the last
                return
            cycle.disconnected = True
            cycle.message_event.set()
        body = reason.encode()
        self.transport.write(
            STATUS_LINE[status]
            + b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            + body
        )
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._timer = self.loop.call_later(_LINGER_SECONDS, self.transport.close)

    def _unanswered(self) -> RequestResponseCycle | None:
        """The latest request that the app was called for, unless it is answered."""
        cycle: RequestResponseCycle | None = self.cycle
        return None if cycle is None or cycle.response_complete else cycle

    def _expect_request(self) -> None:
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _parse(self, data: bytes) -> None:
        """Parse what arrived; of a request that offers to upgrade, the head again without that.

        We may ignore the offer (RFC 9110, 7.8), but httptools drops the body for it. Clients that would rather speak
        HTTP/2 make one with their first request: Java's, and curl's.
        """
        rest = memoryview(data)
        while True:
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                if not self._plain_head:
                    raise
                rest = rest[upgrade.args[0] :]
            else:
                return
            head, self._plain_head = self._plain_head, b""
            self.parser = httptools.HttpRequestParser(self)  # the one before takes nothing after a `Connection: close`
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            self.parser.feed_data(head)

    def _head_without_upgrade(self) -> bytes:
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])
