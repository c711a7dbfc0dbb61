"""The same app for Flask and FastAPI (and, in django_app.py, for Django): all answer alike.

Each view tracks an event whose action is the view's name. `stream` waits in the middle of its answer, and `slow` before
it, until the app's `gate` is open.
"""

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import flask
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, StreamingResponse
from jinja2 import Environment
from snowplow_tracker import StructuredEvent

from snowbus.producers.contexts import context
from snowbus.producers.web import Tracking, acontexts_json, contexts_json, current_tracker
from snowbus.producers.web import flask as snowbus_flask
from snowbus.producers.web import starlette as snowbus_starlette

USER = "iglu:com.acme/user/jsonschema/1-0-0"
PAGE = "<script>contexts = {{ contexts_json(request) }}</script>"


def track(action: str) -> None:
    current_tracker().track(StructuredEvent("shop", action))


@context(USER)
def user(request: Any) -> dict[str, str]:
    """Who asks, for a request of any framework."""
    headers = request.headers
    return {"name": headers.get("X-User", "nobody")}


def untracked() -> str:
    return "untracked"


def view() -> str:
    track("view")
    return "view"


async def async_view() -> str:
    track("async")
    return "async"


async def raises() -> str:
    track("raises")
    raise RuntimeError("the view's own")


PLAIN_VIEWS: dict[str, Callable[[], Any]] = {
    "/untracked": untracked,
    "/view": view,
    "/async": async_view,
    "/raises": raises,
}


class Gate:
    """What a view waits for."""

    def __init__(self) -> None:
        self.open = threading.Event()

    def wait(self) -> None:
        assert self.open.wait(60)


def flask_app(tracking: Tracking, gate: Gate) -> flask.Flask:
    app = flask.Flask(__name__)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.logger.disabled = True
    snowbus_flask.install(app, tracking)

    def stream() -> Iterator[bytes]:
        track("stream-first")
        yield b"first"
        gate.wait()
        track("stream-last")
        yield b"last"

    for path, view in PLAIN_VIEWS.items():
        app.get(path)(view)

    @app.get("/stream")
    def streams() -> flask.Response:
        return flask.Response(stream())

    @app.get("/page")
    def page() -> str:
        return flask.render_template_string(PAGE)

    return app


def fastapi_app(tracking: Tracking, gate: Gate) -> FastAPI:
    app = FastAPI()
    snowbus_starlette.install(app, tracking)
    template = Environment(autoescape=True).from_string(PAGE)

    async def stream() -> AsyncIterator[bytes]:
        track("stream-first")
        yield b"first"
        await anyio.to_thread.run_sync(gate.wait)
        track("stream-last")
        yield b"last"

    for path, view in PLAIN_VIEWS.items():
        app.get(path)(view)

    @app.get("/stream")
    def streams() -> StreamingResponse:
        return StreamingResponse(stream())

    @app.get("/page", response_class=HTMLResponse)
    async def page(request: Request) -> str:
        await acontexts_json(request)
        return template.render(request=request, contexts_json=contexts_json)

    return app
