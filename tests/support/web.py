"""Web apps on real sockets, clients that read to the last byte, and emitters that tell what they got, and when."""

import http.client
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any, NamedTuple
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import uvicorn
from support.aio import soon
from support.snowbus import Process
from werkzeug import serving

COOKIE = (
    "theme=dark; _sp_id.1fff=4a66d8f9-17f5-4b9e-9d5c-6d8c8f1f0b1a.1700000000.3.1700000100.1699999999."
    "5B24B0C5-5AC4-44C2-9D2E-1A2B3C4D5E6F.undefined.undefined.undefined.7; _sp_ses.1fff=*; sp=network-1"
)


class Answer(NamedTuple):
    status: int
    body: bytes
    headers: Mapping[str, str]


class Recorder:
    """An emitter that keeps what it gets."""

    def __init__(self) -> None:
        self.payloads: list[dict[str, Any]] = []

    def input(self, payload: dict[str, Any]) -> None:
        self.payloads.append(dict(payload))

    @property
    def actions(self) -> list[str]:
        """What tells the events apart: their `se_ac`."""
        return [payload["se_ac"] for payload in self.payloads]

    def wait(self, count: int) -> list[dict[str, Any]]:
        """The events, once there are so many."""
        soon(lambda: len(self.payloads) >= count)
        return self.payloads


class Blocking(Recorder):
    """An emitter that hangs, until it is let go; `called` is set when it begins to."""

    def __init__(self) -> None:
        super().__init__()
        self.called = threading.Event()
        self.let_go = threading.Event()

    def input(self, payload: dict[str, Any]) -> None:
        self.called.set()
        assert self.let_go.wait(60)
        super().input(payload)


def listening(server: Process) -> tuple[str, int] | None:
    """Where a server says that it listens, once it does."""
    for line in server.diagnostics:
        if found := re.search(r"http://([\d.]+):(\d+)", line):
            return found[1], int(found[2])
    return None


def fetch(address: tuple[str, int], path: str = "/", body: bytes | None = None, **headers: str) -> Answer:
    """The answer to a request, read to its last byte on a connection of its own."""
    connection = http.client.HTTPConnection(*address, timeout=20)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET" if body is None else "POST", path, body, named)
        answer = connection.getresponse()
        return Answer(answer.status, answer.read(), dict(answer.getheaders()))
    finally:
        connection.close()


@contextmanager
def asgi_server(app: Any, *, loop: str = "asyncio", lifespan: str = "auto") -> Iterator[tuple[str, int]]:
    """An ASGI app under uvicorn."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(app, loop=loop, lifespan=lifespan, log_config=None, access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            soon(lambda: server.started or not thread.is_alive())
            yield listening.getsockname()
        finally:
            server.should_exit = True
            thread.join()


class _Threading(ThreadingMixIn, WSGIServer):
    """A thread for each request; at its end each has ended, also what comes after its response."""


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


class _QuietWerkzeug(serving.WSGIRequestHandler):
    def log(self, *_: Any) -> None:
        pass


@contextmanager
def wsgi_server(app: Any, kind: str = "werkzeug") -> Iterator[tuple[str, int]]:
    """A WSGI app under the threads of werkzeug, or of the standard library, which speaks HTTP/1.0."""
    if kind == "werkzeug":
        server: Any = serving.make_server("127.0.0.1", 0, app, threaded=True, request_handler=_QuietWerkzeug)
        server.daemon_threads = False  # as of _Threading
    else:
        server = make_server("127.0.0.1", 0, app, server_class=_Threading, handler_class=_Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[:2]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
