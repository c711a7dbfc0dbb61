"""When events leave, beyond what all frameworks share: mounted apps, websockets, tasks, no request at all."""

import asyncio
import contextlib
import threading
from collections.abc import Sized

import aiohttp
import pytest
from fastapi import BackgroundTasks, FastAPI, WebSocket
from snowplow_tracker import SelfDescribing, SelfDescribingJson, StructuredEvent
from support.aio import run, soon
from support.web import Blocking, Recorder, asgi_server, fetch, wsgi_server
from support.web_apps import track

from snowbus.bus.errors import ConfigurationError
from snowbus.producers.contexts import context
from snowbus.producers.web import AsgiTracking, Tracking, WsgiTracking, current_tracker
from snowbus.producers.web.starlette import install


def tracking_to(*emitters, **options):
    return Tracking(list(emitters), namespace="web", **options)


def event(action):
    return StructuredEvent("shop", action)


def test_outside_of_requests_events_leave_at_once():
    emitter = Recorder()
    tracking_to(emitter).tracker.track(event("job"))
    assert emitter.actions == ["job"]
    with pytest.raises(ConfigurationError, match=r"Tracking\.tracker"):
        current_tracker()


def test_what_cannot_be_tracked_does_not_fail_the_view():
    emitter = Recorder()
    tracker = tracking_to(emitter).tracker
    schema = "iglu:com.acme/thing/jsonschema/1-0-0"
    assert tracker.track(SelfDescribing(SelfDescribingJson(schema, {"thing": object()}))) is None
    assert tracker.track(event("next")) is not None
    assert emitter.actions == ["next"]


async def auser_id(environ):
    return environ["user"]


@pytest.mark.parametrize("user_id", [lambda environ: environ["user"], auser_id, lambda environ: auser_id(environ)])  # noqa: PLW0108 - of what a plain function returns, only the call tells
def test_what_a_request_or_the_app_cannot_tell_is_left_out(user_id):
    """The environ is empty, and the function that knows the user fails, or is not async where it should be."""
    emitter = Recorder()
    tracking = tracking_to(emitter, user_id=user_id)

    def app(environ, start_response):
        track("view")
        return []

    WsgiTracking(app, tracking)({}, None).close()
    (payload,) = emitter.wait(1)
    assert (payload["se_ac"], payload["tna"]) == ("view", "web")
    assert not payload.keys() & {"uid", "url", "ip"}


def test_an_emitter_that_hangs_or_fails_keeps_nothing_from_the_others():
    class Failing:
        def input(self, payload):  # noqa: ARG002 - it fails anyhow
            raise RuntimeError("the emitter's own")

    hanging, recorder = Blocking(), Recorder()
    tracking = tracking_to(hanging, Failing(), recorder, max_waiting=3)
    for number in range(5):
        tracking.hand_over({"se_ac": str(number)}, "")
        recorder.wait(number + 1)
    soon(hanging.called.is_set)
    assert not tracking.flush(timeout=0.01)
    assert tracking.dropped == 1  # of five: one is in the emitter's hands, and three wait
    hanging.let_go.set()
    assert tracking.flush()
    assert hanging.actions == ["0", "1", "2", "3"]


def test_events_of_background_tasks_leave_at_once_and_those_of_the_view_before():
    emitter = Recorder()
    app = FastAPI()
    install(app, tracking_to(emitter))
    gate = threading.Event()

    def task():
        track("task-first")
        gate.wait(60)
        track("task-last")

    @app.get("/")
    def view(tasks: BackgroundTasks):
        track("view")
        tasks.add_task(task)

    with asgi_server(app) as address:
        fetch(address)
        emitter.wait(2)
        assert emitter.actions == ["view", "task-first"]
        gate.set()
        emitter.wait(3)


def test_events_of_a_request_keep_their_order_when_one_waits_for_its_builder():
    """The view's waits for an async builder when a task in a thread tracks the next."""
    emitter = Recorder()
    gate, calls = threading.Event(), []

    @context("iglu:com.acme/user/jsonschema/1-0-0", timeout=60)
    async def slow(request):
        calls.append(request)
        await asyncio.to_thread(gate.wait, 60)
        return {}

    app = FastAPI()
    install(app, tracking_to(emitter, contexts=[slow]))

    def task():
        soon(lambda: calls)
        track("task")
        gate.set()

    @app.get("/")
    async def view(tasks: BackgroundTasks):
        track("view")
        tasks.add_task(task)

    with asgi_server(app) as address:
        fetch(address)
        assert all("co" in payload for payload in emitter.wait(2))
    assert emitter.actions == ["view", "task"]
    assert len(calls) == 1


def test_events_of_a_websocket_leave_once_it_is_accepted():
    emitter = Recorder()
    app = FastAPI()
    install(app, tracking_to(emitter))

    @app.websocket("/ws")
    async def websocket(socket: WebSocket):
        track("before")
        await socket.accept()
        async for text in socket.iter_text():
            track(text)
            await socket.send_text(text)

    async def client(host, port):
        async with aiohttp.ClientSession() as http, http.ws_connect(f"http://{host}:{port}/ws") as socket:
            await asyncio.to_thread(emitter.wait, 1)
            await socket.send_str("message")
            assert await socket.receive_str() == "message"
            await asyncio.to_thread(emitter.wait, 2)

    with asgi_server(app) as address:
        run(client(*address))
    assert emitter.actions == ["before", "message"]
    assert emitter.payloads[0]["url"].endswith("/ws")


@pytest.mark.parametrize("raises", [False, True])
def test_events_leave_in_the_turn_of_the_loop_after_the_last_part_of_the_answer(raises):
    """In that turn uvloop writes, and a server writes an answer of its own when the app has raised."""
    emitter = Recorder()
    tracking = tracking_to(emitter)

    async def app(scope, receive, send):
        track("view")
        if raises:
            raise RuntimeError("the app's own")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    async def send(message):
        pass

    async def main():
        scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
        with contextlib.suppress(RuntimeError):
            await AsgiTracking(app, tracking)(scope, None, send)
        assert tracking.flush()
        assert emitter.payloads == []  # still in the same turn
        await asyncio.sleep(0)
        assert tracking.flush()
        assert emitter.actions == ["view"]

    run(main())


class Holding:
    """A middleware that sends the response when it has all of it, and a gate is open."""

    def __init__(self, app, gate, held):
        self.app, self.gate, self.held = app, gate, held

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        messages = []

        async def keep(message):
            messages.append(message)

        await self.app(scope, receive, keep)
        current_tracker().track(event("outer"))
        for _ in range(3):  # turns of the loop, in which events would leave
            await asyncio.sleep(0)
        self.held.set()
        await asyncio.to_thread(self.gate.wait, 60)
        for message in messages:
            await send(message)


def test_mounted_apps_have_trackers_of_their_own_and_one_moment_to_leave():
    outside, inside = Recorder(), Recorder()
    outer, inner = FastAPI(), FastAPI()
    gate, held = threading.Event(), threading.Event()
    inner_tracking = tracking_to(inside)
    install(outer, tracking_to(outside))
    install(inner, inner_tracking)
    outer.mount("/mounted", inner)
    outer.add_middleware(Holding, gate=gate, held=held)

    @inner.get("/view")
    def view():
        track("inner")

    with asgi_server(outer) as address:
        asking = threading.Thread(target=fetch, args=(address, "/mounted/view"))
        asking.start()
        try:
            assert held.wait(20)  # the inner app is done, and the client has nothing yet
            assert inner_tracking.flush()
            assert (inside.actions, outside.actions) == ([], [])
        finally:
            gate.set()
            asking.join()
        assert inside.wait(1)[0]["url"].endswith("/mounted/view")
        outside.wait(1)
    assert (inside.actions, outside.actions) == (["inner"], ["outer"])


def test_an_app_in_itself_is_tracked_once():
    emitter = Recorder()
    tracking = tracking_to(emitter)

    def app(environ, start_response):
        track("view")
        start_response("200 OK", [("Content-Length", "0")])
        return []

    with wsgi_server(WsgiTracking(WsgiTracking(app, tracking), tracking), "wsgiref") as address:
        fetch(address)
    emitter.wait(1)
    assert tracking.flush()
    assert emitter.actions == ["view"]


def test_what_a_request_left_running_tracks_for_its_user_at_once():
    emitter = Recorder()
    app = FastAPI()
    install(app, tracking_to(emitter))
    gate = asyncio.Event()
    tasks = []

    async def afterwards():
        await gate.wait()
        track("afterwards")

    @app.get("/")
    async def view():
        tasks.append(asyncio.create_task(afterwards()))

    @app.get("/go")
    async def go():
        gate.set()

    with asgi_server(app) as address:
        fetch(address, User_Agent="Browser/1")
        fetch(address, "/go")
        assert emitter.wait(1)[0]["ua"] == "Browser/1"


def test_a_stream_without_end_does_not_gather_events_without_end():
    emitter = Recorder()
    app = FastAPI()
    install(app, tracking_to(emitter))

    @app.get("/")
    def view():
        for _ in range(1_000):
            track("many")
        emitter.wait(1_000)
        return "they have left"

    with asgi_server(app) as address:
        assert fetch(address).status == 200


@pytest.mark.parametrize("parts", [[b"all"], [], iter([b"some", b"more"])], ids=["list", "nothing", "stream"])
def test_a_wsgi_response_has_a_length_where_the_apps_has_one(parts):
    """Servers look whether there is one, and waitress then asks for it: of a stream that has none it made a 500."""
    app = WsgiTracking(lambda *_: parts, tracking_to(Recorder()))
    response = app({"REQUEST_METHOD": "GET"}, None)
    assert isinstance(response, Sized) == isinstance(parts, Sized)
    response.close()
