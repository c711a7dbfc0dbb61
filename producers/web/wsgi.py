"""Tracking in a WSGI app."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from contextvars import Context, copy_context
from typing import Any

from ..ingest.source import head_of
from .endpoint import scope_of
from .tracked_request import TrackedRequest, current_request
from .tracking import Tracking
from .visitor import Visit

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
WsgiApp = Callable[[Environ, StartResponse], Iterable[bytes]]


class WsgiTracking:
    """The app with a tracker for each request: `app = WsgiTracking(app, tracking)`.

    Events leave when the server closes the response, which it does after it has sent it; that takes microseconds. When
    the app itself raises they leave at once, as nobody tells when the server has sent an answer of its own.
    `request` gives what user ids and contexts are asked for with from an environ; unless given, they get the environ.
    Requests for the endpoint of the tracking are answered here, unless `is_mounted` says that the app has it.
    """

    def __init__(
        self,
        app: WsgiApp,
        tracking: Tracking,
        *,
        request: Callable[[Environ], Any] = lambda environ: environ,
        is_mounted: bool = False,
    ) -> None:
        self._app = app
        self._tracking = tracking
        self._request = request
        self._endpoint = None if is_mounted else tracking.endpoint

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        current = current_request()
        if current and current.of(self._tracking):
            return self._app(environ, start_response)
        request = TrackedRequest(
            self._tracking, visit=lambda: self._visit(environ), request=lambda: self._request(environ)
        )
        # A context of its own: the thread's may already belong to the next request when the response is closed.
        context = copy_context()
        try:
            parts = context.run(self._answer, request, environ, start_response)
            return (_SizedResponse if isinstance(parts, Sized) else _Response)(parts, request, context)
        except BaseException:
            request.complete()
            raise

    def _answer(self, request: TrackedRequest, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        request.make_current()
        if self._endpoint and self._endpoint.is_for(scope := scope_of(environ)):
            status, headers, body = self._endpoint.answer(scope, _body_of(environ), self._tracking.background)
            start_response(status, headers)
            return [body]
        return self._app(environ, start_response)

    def _visit(self, environ: Environ) -> Visit:
        scope = scope_of(environ)
        return self._tracking.visit(head_of({**scope, "root_path": ""}), scheme=scope["scheme"])


class _Response:
    """A response whose parts are made for its request; closing it completes the request."""

    def __init__(self, parts: Iterable[bytes], request: TrackedRequest, context: Context) -> None:
        self._parts = parts
        self._request = request
        self._context = context

    def __iter__(self) -> Iterator[bytes]:
        parts = self._context.run(iter, self._parts)
        while True:
            try:
                part = self._context.run(next, parts)
            except StopIteration:
                return
            yield part

    def __del__(self) -> None:
        self._request.complete()  # test clients of frameworks often close nothing

    def close(self) -> None:
        """Close the response of the app, and let the events go."""
        try:
            if close := getattr(self._parts, "close", None):
                self._context.run(close)
        finally:
            self._context.run(self._request.complete)


class _SizedResponse(_Response):
    """One that knows how many parts it has: servers ask, to know the length of a single part."""

    def __len__(self) -> int:
        return len(self._parts)  # type: ignore[arg-type]

    def __bool__(self) -> bool:
        return True


def _body_of(environ: Environ) -> Callable[[int], bytes]:
    """Reads up to so many bytes of a body. Where its end is not known, to read on would wait for ever."""
    text = environ.get("CONTENT_LENGTH") or ""
    rest = int(text) if text.isdecimal() else sys.maxsize if environ.get("wsgi.input_terminated") else 0
    return lambda most: environ["wsgi.input"].read(min(most, rest))
