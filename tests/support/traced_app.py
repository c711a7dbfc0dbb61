"""A process with a web app under OpenTelemetry that is asked for some pages.

Its arguments are flask or starlette, where its events go, and the pages, PATH[:TRACEPARENT] separated by commas.
`/view` tracks in a span of OpenTelemetry's, `/plain` without one.
"""

import sys

import flask
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from snowplow_tracker import PageView
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from support.web import asgi_server, fetch, wsgi_server

from snowbus.producers.emitters import BusEmitter
from snowbus.producers.web import Tracking, current_tracker
from snowbus.producers.web.flask import install as install_in_flask
from snowbus.producers.web.starlette import install as install_in_starlette


def answer(path: str) -> str:
    event = PageView("https://shop.example/?secret=query")
    if path == "/plain":
        current_tracker().track(event)
    else:
        with trace.get_tracer("shop").start_as_current_span("GET /buy"):
            current_tracker().track(event)
    return "done"


def flask_app(tracking: Tracking) -> flask.Flask:
    app = flask.Flask(__name__)
    install_in_flask(app, tracking)
    app.add_url_rule("/<name>", view_func=lambda name: answer(f"/{name}"), endpoint="page")
    return app


def starlette_app(tracking: Tracking) -> Starlette:
    def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse(answer(request.url.path))

    app = Starlette(routes=[Route("/{name}", page)])
    install_in_starlette(app, tracking)
    return app


def main(framework: str, address: str, pages: str) -> None:
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    tracking = Tracking([BusEmitter(address)], namespace="shop", user_id=lambda _: "ann@shop.example")
    serving = wsgi_server(flask_app(tracking)) if framework == "flask" else asgi_server(starlette_app(tracking))
    with serving as server:
        for page in pages.split(","):
            path, _, traceparent = page.partition(":")
            assert fetch(server, path, **({"traceparent": traceparent} if traceparent else {})).status == 200
    assert tracking.flush(30)
    provider.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
