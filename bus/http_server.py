"""Serves an ASGI app with uvicorn, inside a running event loop and without touching signals."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

import uvicorn

from .errors import ConfigurationError, ListenError
from .http_protocol import BoundedHttpProtocol

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]


_BACKLOG = 2048


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # whoever owns the loop owns the signals


async def serve_http(
    app: AsgiApp,
    listen: str,
    *,
    own_listen: str = "",
    ready: Callable[[str], None],
    stop: asyncio.Event,
    grace: float = 10.0,
) -> None:
    """Serve until `stop` is set, then let requests under way finish for `grace` seconds.

    `ready` is called with the real address, for example `http://127.0.0.1:8080`, once requests are taken. Who shares
    the port with other processes has an `own_listen`, too, and `ready` gets that. Raises ConfigurationError when an
    address cannot be listened on.
    """
    with bind_all(listen, own_listen) as bound:
        await _serve(app, bound, ready=ready, stop=stop, grace=grace)


async def _serve(
    app: AsgiApp, bound: list[socket.socket], *, ready: Callable[[str], None], stop: asyncio.Event, grace: float
) -> None:
    config = uvicorn.Config(
        app,
        http=BoundedHttpProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=max(1, round(grace)),
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=bound))
    stopping = asyncio.create_task(stop.wait())
    try:
        while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn tells by a flag only
            await asyncio.sleep(0.005)
        if server.started:
            ready(f"http://{address_of(bound[-1])}")
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await serving
    finally:
        stopping.cancel()
        if not serving.done():  # cancelled from outside
            server.force_exit = server.should_exit = True
            await serving


@contextlib.contextmanager
def bind_all(listen: str, own_listen: str) -> Iterator[list[socket.socket]]:
    """Sockets that listen on an address, and on that of whoever shares the first with other processes and has an
    `own_listen`; they are closed at the end. Raises ConfigurationError.
    """
    with contextlib.ExitStack() as stack:
        bound = [stack.enter_context(bind(listen, shared=bool(own_listen)))]
        if own_listen:
            bound.append(stack.enter_context(bind(own_listen)))
        yield bound


def bind(listen: str, *, shared: bool = False, listening: bool = True) -> socket.socket:
    """A socket that listens on `HOST:PORT`; brackets stand around an IPv6 host. Raises ConfigurationError.

    Several processes may listen on a `shared` one, and the kernel spreads connections over them; one that is not
    `listening` only keeps others from the port.
    """
    host, port = split_listen(listen)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named for what it is, TCP: asyncio turns Nagle's delay off only on such sockets.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host, port))
        if listening:
            bound.listen(_BACKLOG)  # now, so that whoever comes second is told
    except OSError as error:
        bound.close()
        raise ListenError(listen, error.strerror or str(error)) from None
    bound.setblocking(False)
    return bound


def split_listen(listen: str) -> tuple[str, int]:
    """The host and port of `HOST:PORT`. Raises ConfigurationError."""
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ConfigurationError(f"{listen!r} is not HOST:PORT, for example 127.0.0.1:8080")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - ":8080" means every address, as everywhere


def address_of(bound: socket.socket) -> str:
    """The `HOST:PORT` that a socket is really bound to."""
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
