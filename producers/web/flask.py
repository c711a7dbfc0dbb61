"""Tracking in a Flask app."""

from typing import Any

from flask import Flask, Response, has_request_context, request, request_started

from .endpoint import scope_of
from .page import contexts_json
from .tracked_request import current_request
from .tracking import Tracking
from .wsgi import WsgiTracking


def install(app: Flask, tracking: Tracking) -> None:
    """Give each request of the app a tracker, its templates `contexts_json`, and the app the tracking's endpoint.

    User ids and contexts are asked for with Flask's request. Not by Flask's own `teardown_request`: that comes before
    the client has its answer.
    """
    wsgi_app: Any = WsgiTracking(app.wsgi_app, tracking, request=lambda _: _request(), is_mounted=True)
    app.wsgi_app = wsgi_app  # type: ignore[method-assign]  # as Flask's documentation has it

    def remember(_: Flask, **__: Any) -> None:
        """Have the request by when a stream tracks something: Flask is done with it then."""
        current = current_request()
        if tracked := current.of(tracking) if current else None:
            tracked.request = _request()

    request_started.connect(remember, app, weak=False)
    app.jinja_env.globals["contexts_json"] = contexts_json
    if (endpoint := tracking.endpoint) is not None:

        def take() -> Response:
            scope = scope_of(request.environ)
            status, headers, body = endpoint.answer(scope, request.stream.read, tracking.background)
            return Response(body, status, headers)

        app.add_url_rule(endpoint.path, "snowbus_tracking", take, methods=["GET", "HEAD", "POST", "OPTIONS"])


def _request() -> Any:
    """The request itself, not what stands for whichever there is."""
    return request._get_current_object() if has_request_context() else None  # type: ignore[attr-defined]  # noqa: SLF001
