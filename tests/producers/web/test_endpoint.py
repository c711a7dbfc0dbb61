"""The same-origin endpoint: ingest in a web app, whose builders add to what the browsers send."""

import contextlib
import io
import json
import sqlite3
import time
from contextlib import contextmanager

import pytest
from support.aio import run, soon
from support.django_app import django_app
from support.forwarding import read_all
from support.web import Recorder, asgi_server, fetch, wsgi_server
from support.web_apps import USER, Gate, fastapi_app, flask_app

from snowbus.bus.envelope import decode_event
from snowbus.bus.event import BAD_TOPIC, EVENTS_TOPIC
from snowbus.bus.log import open_log
from snowbus.bus.settings import Settings
from snowbus.producers.contexts import context
from snowbus.producers.web import AsgiTracking, IngestEndpoint, Tracking, WsgiTracking, endpoint

EVENT = {"e": "pv", "p": "web", "tv": "js-4", "eid": "e-1", "url": "https://shop.example/"}
PAYLOAD_DATA = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"


@context(USER)
async def user(request):
    """Whatever the framework's request is: what is asked for is known to all."""
    return {"framework": type(request).__name__}


async def asgi_app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body"})


def wsgi_app(environ, start_response):
    start_response("404 Not Found", [("Content-Length", "0")])
    return []


APPS = {
    "asgi": (lambda tracking: asgi_server(AsgiTracking(asgi_app, tracking)), "dict"),
    "wsgi": (lambda tracking: wsgi_server(WsgiTracking(wsgi_app, tracking), "wsgiref"), "dict"),
    "flask": (lambda tracking: wsgi_server(flask_app(tracking, Gate())), "Request"),
    "fastapi": (lambda tracking: asgi_server(fastapi_app(tracking, Gate())), "Request"),
    "django-wsgi": (lambda tracking: wsgi_server(django_app(tracking, Gate(), asgi=False)), "WSGIRequest"),
    "django-asgi": (
        lambda tracking: asgi_server(AsgiTracking(django_app(tracking, Gate(), asgi=True), tracking, is_mounted=True)),
        "ASGIRequest",
    ),
}


@pytest.fixture(params=APPS)
def serving(request):
    """Serves the app of a framework with an endpoint that writes to a log; gives its address and its request's type."""

    @contextmanager
    def serve(url, settings=None, **options):
        mounted = IngestEndpoint(url, settings=settings)
        tracking = Tracking([Recorder()], namespace="web", contexts=[user], endpoint=mounted, **options)
        serve_app, kind = APPS[request.param]
        with serve_app(tracking) as address:
            yield address, kind
        tracking.end(5.0)

    return serve


def on_the_log(url):
    """The events on a log, and how many bad records."""

    async def main():
        async with await open_log(url) as log:
            events = [decode_event(record.value) for record in await read_all(log, EVENTS_TOPIC)]
            return events, len(await read_all(log, BAD_TOPIC))

    return run(main())


def test_events_of_pages_are_on_the_log_with_the_entities_of_their_request(serving, sqlite_url):
    json_type = {"Content_Type": "application/json", "User_Agent": "Browser/1"}
    with serving(sqlite_url) as (address, kind):
        batch = json.dumps({"schema": PAYLOAD_DATA, "data": [EVENT, EVENT | {"eid": "e-2"}]}).encode()
        answer = fetch(address, "/tracking", batch, **json_type)
        assert (answer.status, answer.body) == (200, b"ok")
        assert "sp=" in {name.lower(): value for name, value in answer.headers.items()}["set-cookie"]
        assert fetch(address, "/tracking?e=pv&p=web&tv=js-4&eid=e-3").status == 200
        assert fetch(address, "/tracking", b"nonsense", **json_type).status == 400
        assert fetch(address, "/tracking", b"x" * 1_100_000, **json_type).status == 413
        assert fetch(address, "/elsewhere").status == 404
    events, bad = on_the_log(sqlite_url)
    assert sorted(event.event_id for event in events) == ["e-1", "e-2", "e-3"]
    assert bad == 2
    for event in events:
        (entity,) = json.loads(json.loads(event.payload)["co"])["data"]
        assert entity == {"schema": USER, "data": {"framework": kind}}
        assert event.source["ip"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("settings", "ip"),
    [(Settings(), "198.51.100.7"), (Settings(ingest_trusted_proxies=("10.0.0.0/8",)), "127.0.0.1")],
    ids=["unless told", "told otherwise"],
)
@pytest.mark.parametrize("serving", ["wsgi", "flask", "django-wsgi"], indirect=True)  # uvicorn looks at it itself
def test_the_proxies_of_the_app_are_those_of_its_endpoint(serving, sqlite_url, settings, ip):
    with serving(sqlite_url, settings, trusted_proxies=["127.0.0.0/8"]) as (address, _):
        assert fetch(address, "/tracking?e=pv", X_Forwarded_For="198.51.100.7").status == 200
    ((event,), _) = on_the_log(sqlite_url)
    assert event.source["ip"] == ip


@pytest.mark.parametrize("serving", sorted(APPS.keys() - {"wsgi"}), indirect=True)
def test_a_body_in_chunks_is_taken_where_the_server_knows_its_end(serving, sqlite_url):
    with serving(sqlite_url) as (address, _):
        answer = fetch(address, "/tracking", iter([b'{"e":', b'"pv"}']), Content_Type="application/json")
        assert (answer.status, answer.body) == (200, b"ok")


def test_the_answer_to_head_has_no_body(sqlite_url):
    tracking = Tracking([Recorder()], namespace="web", endpoint=IngestEndpoint(sqlite_url))
    environ = {"REQUEST_METHOD": "HEAD", "PATH_INFO": "/tracking", "QUERY_STRING": "e=pv", "wsgi.input": io.BytesIO()}
    assert b"".join(WsgiTracking(wsgi_app, tracking)(environ, lambda *_: None)) == b""
    tracking.end(5.0)


def test_while_the_log_is_away_the_sender_is_told_to_come_again(serving, tmp_path):
    """A folder in the log's place stands for whatever keeps a log from being opened."""
    (tmp_path / "log.db").mkdir()
    url = f"sqlite:///{tmp_path / 'log.db'}"
    with serving(url) as (address, _):
        answer = fetch(address, "/tracking", json.dumps(EVENT).encode(), Content_Type="application/json")
        assert answer.status == 503
        assert {name.lower() for name in answer.headers} >= {"retry-after"}
        (tmp_path / "log.db").rmdir()
        answer = fetch(address, "/tracking", json.dumps(EVENT).encode(), Content_Type="application/json")
        assert answer.status == 200


@pytest.mark.parametrize("serving", ["wsgi", "flask", "django-wsgi"], indirect=True)
def test_a_log_that_hangs_does_not_hold_the_threads_of_the_app(serving, tmp_path, monkeypatch):
    """Another process has locked the log for itself; a try would wait for it for ten seconds."""
    monkeypatch.setattr(endpoint, "_PATIENCE_SECONDS", 1.0)
    with serving(f"sqlite:///{tmp_path / 'log.db'}", Settings(ingest_retry_after=1)) as (address, _):
        soon(lambda: fetch(address, "/tracking?e=pv").status == 200)
        with contextlib.closing(sqlite3.connect(tmp_path / "log.db", isolation_level=None)) as lock:
            lock.execute("BEGIN EXCLUSIVE")
            begun = time.monotonic()
            answers = [fetch(address, "/tracking?e=pv") for _ in range(10)]
            assert time.monotonic() - begun < 5
            assert {answer.status for answer in answers} == {503}
            assert {name.lower() for name in answers[-1].headers} >= {"retry-after"}
        soon(lambda: fetch(address, "/tracking?e=pv").status == 200)
