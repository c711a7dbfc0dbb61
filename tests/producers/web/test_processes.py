"""Tracking over the life of a process: what waits at its end, forks, and servers that fork their workers."""

import json
import signal
import sqlite3
import subprocess
import sys

import pytest
from snowplow_tracker import StructuredEvent
from support.aio import run, soon
from support.django_app import django_app
from support.forwarding import read_all
from support.snowbus import Process
from support.web import asgi_server, fetch, listening, wsgi_server
from support.web_apps import Gate, fastapi_app, flask_app

from snowbus.bus.envelope import decode_event
from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.log import open_log
from snowbus.producers.emitters import BusEmitter
from snowbus.producers.web import Tracking

APP = '''
import json, os, time
from pathlib import Path
import flask
from snowplow_tracker import StructuredEvent
from snowbus.producers.contexts import context
from snowbus.producers.web import Tracking, current_tracker
from snowbus.producers.web.flask import install

class Hanging:
    """Takes nothing until there is a file `go`; then it writes."""

    def input(self, payload):
        while not Path("go").exists():
            time.sleep(0.01)
        with Path("events.ndjson").open("a") as file:
            print(json.dumps({**payload, "tna": os.getpid()}), file=file)

@context("iglu:com.acme/user/jsonschema/1-0-0")
async def user(request):
    return {"path": request.path}

tracking = Tracking([Hanging()], namespace="web", contexts=[user])
app = flask.Flask(__name__)
install(app, tracking)

@app.get("/view/<name>")
def view(name):
    current_tracker().track(StructuredEvent("shop", name))
    return name
'''


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "shop.py").write_text(APP, "utf-8")
    return tmp_path


def written(folder):
    file = folder / "events.ndjson"
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []


def python(folder, script):
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_processes_hand_over_before_they_end_and_a_fork_its_own_events(folder):
    """What waits with the parent is not the child's."""
    script = """
import os
from pathlib import Path
from shop import app, tracking
app.test_client().get("/view/parent")
child = os.fork()
app.test_client().get("/view/child" if not child else "/view/parent")
if child:
    Path("go").touch()
    os.waitpid(child, 0)
"""
    python(folder, script)
    assert sorted(event["se_ac"] for event in written(folder)) == ["child", "parent", "parent"]
    assert all("co" in event for event in written(folder))


def test_a_response_that_is_kept_and_never_closed_hands_over_when_the_process_ends(folder):
    """Its own end comes when no thread can be started any more; in a fork the event is not its own, and is dropped."""
    script = """
import os
from pathlib import Path
from shop import app
Path("go").touch()
kept = app.test_client().get("/view/kept")
if child := os.fork():
    assert os.waitpid(child, 0)[1] == 0
else:
    import logging
    logging.disable()
"""
    python(folder, script)
    assert [event["se_ac"] for event in written(folder)] == ["kept"]


def test_a_view_that_runs_when_the_process_ends_has_its_event_and_its_contexts(folder):
    """A server's threads go on with their views, as gunicorn's do beyond its `graceful_timeout`."""
    (folder / "go").touch()
    script = """
import asyncio, threading
from concurrent.futures import ThreadPoolExecutor
from shop import Hanging, StructuredEvent, Tracking, context, current_tracker, flask, install

begun, ending = threading.Event(), threading.Event()

@context("iglu:com.acme/slow/jsonschema/1-0-0", timeout=20)
async def slow(request):
    begun.set()
    while not ending.is_set():
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    return {}

app = flask.Flask("slow")
install(app, Tracking([Hanging()], namespace="web", contexts=[slow]))

@app.get("/")
def view():
    current_tracker().track(StructuredEvent("shop", "view"))
    return ""

threading._register_atexit(ending.set)
ThreadPoolExecutor().submit(app.test_client().get, "/")
begun.wait()
"""
    python(folder, script)
    (event,) = written(folder)
    assert "com.acme/slow" in event["co"]


def test_a_worker_of_gunicorn_answers_while_the_emitter_hangs_and_hands_over_before_it_ends(folder):
    """The one worker has one thread, and is a fork of a process that has loaded the app."""
    command = ["-m", "gunicorn", "--preload", "--bind", "127.0.0.1:0", "--worker-tmp-dir", str(folder), "shop:app"]
    with Process(*command, program=sys.executable, cwd=folder) as server:
        address = soon(lambda: listening(server))
        for number in range(3):
            assert fetch(address, f"/view/{number}").body == b"%d" % number
        assert written(folder) == []
        (folder / "go").touch()
        assert server.stop() == 0
    events = written(folder)
    assert [event["se_ac"] for event in events] == ["0", "1", "2"]
    assert len({event["tna"] for event in events}) == 1


ASGI_APP = '''
from pathlib import Path
from fastapi import FastAPI
from snowplow_tracker import StructuredEvent
from snowbus.producers.web import AsgiTracking, Tracking, current_tracker
from snowbus.producers.web.starlette import install

class Buffered:
    """Keeps events in memory until it is told to flush."""

    def __init__(self):
        self.payloads = []

    def input(self, payload):
        self.payloads.append(payload)

    def sync_flush(self):
        Path("flushed").write_text(",".join(payload["se_ac"] for payload in self.payloads))

app = FastAPI()
install(app, Tracking([Buffered()], namespace="web"))

@app.get("/view")
def view():
    current_tracker().track(StructuredEvent("shop", "view"))

async def knows_no_lifespan(scope, receive, send):
    if scope["type"] != "http":
        raise ValueError("as Django says")
    current_tracker().track(StructuredEvent("shop", "view"))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})

bare = AsgiTracking(knows_no_lifespan, Tracking([Buffered()], namespace="web"))
'''


@pytest.mark.parametrize("app", ["app", "bare"])
def test_a_server_that_a_signal_ends_has_flushed_its_emitters(app, tmp_path):
    """uvicorn ends by the signal that it got, so that Python's own ways to end do not come about."""
    (tmp_path / "shop.py").write_text(ASGI_APP, "utf-8")
    command = ["-m", "uvicorn", "--port", "0", f"shop:{app}"]
    with Process(*command, program=sys.executable, cwd=tmp_path) as server:
        assert fetch(soon(lambda: listening(server)), "/view").status == 200
        assert server.stop() == -signal.SIGTERM
    assert (tmp_path / "flushed").read_text() == "view"


def test_a_server_that_ends_before_all_events_are_out_says_so(caplog):
    """Its emitters cannot, where it ends by the signal that it got."""
    emitter = BusEmitter("http://127.0.0.1:9")
    tracking = Tracking([emitter], namespace="web")
    run(tracking.aclose(5.0))
    assert caplog.messages == []
    tracking.tracker.track(StructuredEvent("shop", "view"))
    run(tracking.aclose(0.1))
    (told,) = [message for message in caplog.messages if "the server ends" in message]
    assert "waiting=1" in told
    emitter.close(timeout=0)


APPS = {
    "flask": lambda tracking: wsgi_server(flask_app(tracking, Gate())),
    "fastapi": lambda tracking: asgi_server(fastapi_app(tracking, Gate())),
    "django": lambda tracking: wsgi_server(django_app(tracking, Gate(), asgi=False)),
}


@pytest.mark.parametrize("framework", APPS)
def test_views_answer_while_the_log_is_away_and_the_events_arrive_once_it_is_back(framework, tmp_path):
    """Another process has locked the log for itself."""
    url = f"sqlite:///{tmp_path / 'log.db'}"
    emitter = BusEmitter(url)
    emitter.input({"e": "pv", "eid": "first"})
    emitter.flush()
    lock = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    with APPS[framework](Tracking([emitter], namespace="web")) as address:
        for _ in range(20):
            assert fetch(address, "/view").status == 200
        lock.execute("ROLLBACK")
        lock.close()
        assert sum(action == "view" for action in soon(lambda: enough(url, 21))) == 20
    emitter.close()


def enough(url, count):
    """The actions of the events on a log, once there are so many."""

    async def main():
        async with await open_log(url) as log:
            payloads = [json.loads(decode_event(record.value).payload) for record in await read_all(log, EVENTS_TOPIC)]
            return [payload.get("se_ac") for payload in payloads] if len(payloads) >= count else []

    return run(main())
