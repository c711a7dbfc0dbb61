"""Tracking in a Django app, under WSGI and ASGI alike."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import (
    AsyncToSync,
    SyncToAsync,
    ThreadSensitiveContext,
    iscoroutinefunction,
    markcoroutinefunction,
    sync_to_async,
)
from django.conf import settings
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path
from django.utils.module_loading import import_string
from django.views.decorators.csrf import csrf_exempt

from snowbus.bus.errors import ConfigurationError

from ..ingest.source import head_of
from .endpoint import scope_of
from .tracked_request import TrackedRequest
from .tracking import Tracking
from .visitor import Visit

Handler = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]


class TrackingMiddleware:
    """The first of `MIDDLEWARE`; the setting `SNOWBUS_TRACKING` names the app's Tracking: `"shop.tracking.tracking"`.

    Events leave when the response is closed, which servers do after they have sent it. User ids and contexts are asked
    for with Django's request.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Handler) -> None:
        self._get_response: Any = get_response
        self._tracking = _tracking()
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Answer a request."""
        if self._is_async:
            return self._answer(request)
        tracked = self._tracked(request, None)
        try:
            with tracked.current():
                response = self._get_response(request)
        except BaseException:
            tracked.complete()
            raise
        return _completing(response, tracked)

    async def _answer(self, request: HttpRequest) -> HttpResponseBase:
        tracked = self._tracked(request, asyncio.get_running_loop())
        try:
            with tracked.current():
                response = await self._get_response(request)
        except BaseException:  # the client is gone, and nobody will close a response
            tracked.complete()
            raise
        return _completing(response, tracked)

    def _tracked(self, request: HttpRequest, loop: asyncio.AbstractEventLoop | None) -> TrackedRequest:
        return TrackedRequest(
            self._tracking,
            visit=lambda: self._visit(request),
            request=lambda: request,
            loop=loop,
            acall=_acall,
            # A thread has connections of its own, which nobody else would close.
            clean_up=connections.close_all,
        )

    def _visit(self, request: HttpRequest) -> Visit:
        scope = scope_of(request.META) | {"path": request.path}
        return self._tracking.visit(head_of(scope), scheme=request.scheme or "http")


def tracking_endpoint() -> URLPattern:
    """The endpoint of the app's Tracking, for `urlpatterns`; an AsgiTracking around the app has `is_mounted` then."""
    tracking = _tracking()
    mounted = tracking.endpoint
    if mounted is None:
        raise ConfigurationError("the Tracking has no endpoint; give it one: Tracking(…, endpoint=IngestEndpoint(…))")

    @csrf_exempt  # type: ignore[untyped-decorator]  # trackers know of no token; and all that comes in is events
    def take(request: HttpRequest) -> HttpResponse:
        status, headers, body = mounted.answer(scope_of(request.META), _reader(request), tracking.background)
        return HttpResponse(body, status=int(status[:3]), headers=dict(headers))

    return path(mounted.path.removeprefix("/"), take)


def _reader(request: HttpRequest) -> Callable[[int], bytes]:
    """Reads the body. Django takes one in chunks for none, also where the server knows its end."""
    read: Callable[[int], bytes] = request.read
    if request.META.get("wsgi.input_terminated") and not request.META.get("CONTENT_LENGTH"):
        read = request.META["wsgi.input"].read
    return read


def _tracking() -> Tracking:
    name = getattr(settings, "SNOWBUS_TRACKING", None)
    tracking = import_string(name) if isinstance(name, str) else None
    if not isinstance(tracking, Tracking):
        raise ConfigurationError(
            'SNOWBUS_TRACKING must name the Tracking of the app: SNOWBUS_TRACKING = "shop.tracking.tracking"'
        )
    return tracking


async def _acall(function: Callable[[Any], Any], request: Any) -> Any:
    """Await an async function, with a thread of its own for what Django does for it in one, as all that asks the
    database: the view's may be the one that waits for the function.
    """
    SyncToAsync.thread_sensitive_context.set(ThreadSensitiveContext())
    AsyncToSync.executors.current = None
    try:
        return await function(request)
    finally:
        await sync_to_async(connections.close_all)()


def _completing(response: Any, tracked: TrackedRequest) -> Any:
    """The response, that completes the request when it is closed, and whose parts are made for it."""
    if response.streaming and getattr(response, "file_to_stream", None) is None:
        steps = tracked.asteps if response.is_async else tracked.steps
        response.streaming_content = steps(response.streaming_content)
    close = response.close

    def close_and_complete() -> None:
        try:
            close()
        finally:
            tracked.complete()

    response.close = close_and_complete
    return response
