"""Tracking in a Starlette or FastAPI app."""

from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.routing import Route
from starlette.types import ASGIApp, Scope

from snowbus.bus.errors import ConfigurationError

from .asgi import AsgiTracking
from .tracking import Tracking


def install(app: Starlette, tracking: Tracking) -> None:
    """Give each request of the app (of FastAPI's, too) a tracker, and the app the tracking's endpoint.

    User ids and contexts are asked for with Starlette's Request. Tracking goes around all middleware, whenever that is
    added: the answer to a view that raised is made by the outermost, and events leave after it. For templates there is
    `templates.env.globals["contexts_json"] = contexts_json`. Raises ConfigurationError when the app serves already.
    """
    if app.middleware_stack is not None:
        raise ConfigurationError("the app has begun to serve; install tracking before")
    build = app.build_middleware_stack

    def build_tracked() -> ASGIApp:
        return AsgiTracking(build(), tracking, request=_request, is_mounted=True)

    app.build_middleware_stack = build_tracked  # type: ignore[method-assign]  # `add_middleware` would go inside
    if tracking.endpoint is not None:
        app.router.routes.insert(0, Route(tracking.endpoint.path, tracking.endpoint, include_in_schema=False))


def _request(scope: Scope) -> HTTPConnection:
    return Request(scope) if scope["type"] == "http" else HTTPConnection(scope)
