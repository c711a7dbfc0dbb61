"""Connects to a gateway once: the handshake, the hello, and what a failure means for the next try."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from inspect import isawaitable

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from snowbus.bus.errors import StreamError, StreamRefusedError
from snowbus.bus.version import version

from .messages import HelloMessage, parse_message

Token = str | Callable[[], str | Awaitable[str]]

_HANDSHAKE_SECONDS = 10.0
_CLOSE_SECONDS = 2.0
_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
_MAX_QUEUED_MESSAGES = 64
_MAY_HEAL = frozenset({408, 425, 429})
_SHOWN = 1000


class TryAgainError(StreamError):
    """There is no connection now, and there may be one later."""


async def open_connection(url: str, *, token: Token) -> tuple[ClientConnection, HelloMessage]:
    """Connect, and take the hello. What is not read stays with the gateway, but for a few messages.

    Raises StreamRefusedError when the gateway refuses and would again, TryAgainError for what may heal.
    """
    shown = token if isinstance(token, str) else token()
    shown = await shown if isawaitable(shown) else shown
    try:
        connection = await connect(
            url,
            additional_headers={"Authorization": f"Bearer {shown}"} if shown else None,
            user_agent_header=f"snowbus/{version()}",
            open_timeout=_HANDSHAKE_SECONDS,
            ping_interval=None,  # a pong waits behind what is not read yet; heartbeats are watched instead
            close_timeout=_CLOSE_SECONDS,
            proxy=None,  # as of all our clients: what the environment says is for others
            max_size=_MAX_MESSAGE_BYTES,
            max_queue=_MAX_QUEUED_MESSAGES,
            logger=_library_logger(),
        )
    except InvalidStatus as error:
        raise _refusal(url, error) from None
    except (OSError, InvalidHandshake, EOFError) as error:  # TimeoutError is an OSError
        raise TryAgainError(str(error) or type(error).__name__) from None
    try:
        return connection, await _hello(connection)
    except BaseException:
        connection.transport.abort()
        raise


async def _hello(connection: ClientConnection) -> HelloMessage:
    try:
        async with asyncio.timeout(_HANDSHAKE_SECONDS):
            hello = parse_message(await connection.recv(decode=True))
    except (TimeoutError, ConnectionClosed) as error:
        raise TryAgainError(f"no hello: {str(error) or 'nothing came in time'}") from None
    if not isinstance(hello, HelloMessage):
        raise StreamError(f"this is no gateway: it greets with {hello}")
    return hello


def _refusal(url: str, error: InvalidStatus) -> StreamRefusedError | TryAgainError:
    status = error.response.status_code
    reason = (error.response.body or b"").decode("utf-8", "replace").strip()[:_SHOWN] or error.response.reason_phrase
    if 400 <= status < 500 and status not in _MAY_HEAL:
        return StreamRefusedError(url.partition("?")[0], status=status, reason=reason)
    return TryAgainError(f"it answers {status}: {reason}")


def _library_logger() -> logging.Logger:
    """The library's own diagnostics, without its debugging: that would show tokens."""
    library = logging.getLogger(f"{__name__}.websockets")
    library.setLevel(logging.WARNING)
    return library
