"""Tracking in an ASGI app: FastAPI, Starlette, Django and others."""

import asyncio
from collections.abc import Callable
from typing import Any

from snowbus.bus.http_server import AsgiApp, Receive, Scope, Send

from ..ingest.source import head_of
from .tracked_request import TrackedRequest, current_request
from .tracking import Tracking
from .visitor import Visit

_BODIES = frozenset({"http.response.body", "http.response.zerocopysend"})
_ENDS = frozenset({"http.response.pathsend", "websocket.accept", "websocket.close"})


class AsgiTracking:
    """The app with a tracker for each request: `app = AsgiTracking(app, tracking)`, around every other middleware.

    Events leave once the last part of the response has been sent; those of a websocket once it is accepted.
    `request` makes what user ids and contexts are asked for with from a scope; unless given, they get the scope.
    Requests for the endpoint of the tracking are answered here, unless `is_mounted` says that the app has it.
    """

    def __init__(
        self,
        app: AsgiApp,
        tracking: Tracking,
        *,
        request: Callable[[Scope], Any] = lambda scope: scope,
        is_mounted: bool = False,
    ) -> None:
        self._app = app
        self._tracking = tracking
        self._request = request
        self._endpoint = None if is_mounted else tracking.endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        current = current_request()
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif scope["type"] not in ("http", "websocket") or (current and current.of(self._tracking)):
            await self._app(scope, receive, send)
        else:
            await self._track(scope, receive, send)

    async def _track(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        request = TrackedRequest(
            self._tracking, visit=lambda: self._visit(scope), request=lambda: self._request(scope), loop=loop
        )
        ends_with_body = True

        async def send_and_see(message: Any) -> None:
            nonlocal ends_with_body
            await send(message)
            kind = message["type"]
            if kind == "http.response.start":
                ends_with_body = not message.get("trailers")
            elif kind in _ENDS or (kind in _BODIES and ends_with_body and not message.get("more_body")):
                # In the next turn of the loop: uvloop writes at the end of one.
                loop.call_soon(request.complete)

        try:
            with request.current():
                app = self._endpoint if self._endpoint and self._endpoint.is_for(scope) else self._app
                await app(scope, receive, send_and_see)
        finally:
            loop.call_soon(request.complete)  # after the server's own answer, where the app raises

    def _visit(self, scope: Scope) -> Visit:
        # Websockets have no method; an app's own path lies below where it is mounted, a page's address does not.
        head = head_of({"method": "GET", **scope, "root_path": ""})
        return self._tracking.visit(head, scheme=scope.get("scheme", "http"))

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Close the tracking at the end of the app's lifespan, also of an app that knows of none, as Django's."""
        is_known = False

        async def receive_and_see() -> Any:
            nonlocal is_known
            is_known = True
            return await receive()

        async def close_and_send(message: Any) -> None:
            if message["type"].startswith("lifespan.shutdown."):
                await self._tracking.aclose()
            await send(message)

        try:
            await self._app(scope, receive_and_see, close_and_send)
        except Exception:
            if is_known:
                raise
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await close_and_send({"type": "lifespan.shutdown.complete"})
