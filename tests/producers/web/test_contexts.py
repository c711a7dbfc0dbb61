"""Builders of contexts: declared, attached by rule, and never the end of an event."""

import asyncio
import json
import threading

import pytest
from snowplow_tracker import PageView, SelfDescribing, SelfDescribingJson, StructuredEvent
from support.aio import run, soon
from support.web import Recorder

from snowbus.bus.errors import ConfigurationError
from snowbus.producers.contexts import context
from snowbus.producers.web import IngestEndpoint, Tracking, WsgiTracking, acontexts_json, contexts_json
from snowbus.producers.web.asgi import AsgiTracking

USER = "iglu:com.acme/user/jsonschema/1-0-0"
ADDED = "iglu:com.acme/add_to_cart/jsonschema/1-0-0"


@context(USER)
def user(request):
    return {"name": "ann"}


def wsgi_request(view, contexts, *, path="/"):
    """What a view's events become in a WSGI app with these builders."""
    emitter = Recorder()
    tracking = Tracking([emitter], namespace="web", contexts=contexts)

    def app(environ, start_response):
        start_response("200 OK", [])
        view(tracking.tracker)
        return []

    WsgiTracking(app, tracking)({"REQUEST_METHOD": "GET", "PATH_INFO": path}, lambda *_: None).close()
    assert tracking.flush()
    return emitter.payloads


def asgi_request(view, contexts):
    """As `wsgi_request`, for an async view."""
    emitter = Recorder()
    tracking = Tracking([emitter], namespace="web", contexts=contexts)

    async def app(scope, receive, send):
        await view(tracking.tracker)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    async def send(message):
        pass

    async def main():
        scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
        await AsgiTracking(app, tracking)(scope, None, send)
        await asyncio.sleep(0)
        await tracking.aclose()

    run(main())
    assert tracking.flush()
    return emitter.payloads


def takes_nothing():
    return {}


def schemas_of(payload):
    return [entity["schema"] for entity in json.loads(payload["co"])["data"]] if "co" in payload else []


def track_view(tracker):
    tracker.track(StructuredEvent("shop", "view"))


async def atrack_view(tracker):
    track_view(tracker)


@pytest.mark.parametrize(
    "declare",
    [
        lambda: context("com.acme/user/jsonschema/1-0-0"),
        lambda: context("iglu:com.acme/user/jsonschema/1-0"),
        lambda: context("iglu:com.acme/user/avro/1-0-0"),
        lambda: context(USER, event_nam="x"),
        lambda: context(USER, event="pv"),
        lambda: context(USER, timeout=0),
        lambda: context(USER)("no function"),
        lambda: context(USER)(takes_nothing),
        lambda: Tracking([Recorder()], namespace="web", contexts=[lambda _: {}]),
        lambda: Tracking([], namespace="web"),
        lambda: Tracking(["sqlite:///log.db"], namespace="web"),
        lambda: Tracking([Recorder], namespace="web"),
        lambda: IngestEndpoint(None),
        lambda: IngestEndpoint("amqp://host"),
        lambda: IngestEndpoint("memory:", path="t"),
        lambda: IngestEndpoint("memory:", path=""),
        lambda: Tracking([Recorder()], namespace="web", trusted_proxies=["nonsense"]),
    ],
)
def test_what_cannot_work_is_told_where_it_is_declared(declare):
    with pytest.raises(ConfigurationError):
        declare()


def test_a_builder_can_be_called_as_the_function_it_was():
    assert user(None) == {"name": "ann"}


def test_entities_go_on_the_events_that_the_rules_name():
    everything = context("iglu:com.acme/a/jsonschema/1-0-0")(lambda _: {})
    by_name = context("iglu:com.acme/b/jsonschema/1-0-0", event_name="add_to_cart")(lambda _: {})
    by_schema = context("iglu:com.acme/c/jsonschema/1-0-0", schema="iglu:com.acme/add_to_cart/jsonschema/1-*-*")(
        lambda _: {}
    )
    by_type = context("iglu:com.acme/d/jsonschema/1-0-0", event="page_view")(lambda _: {})
    by_path = context("iglu:com.acme/e/jsonschema/1-0-0", path="/checkout/*")(lambda _: {})

    def view(tracker):
        tracker.track(SelfDescribing(SelfDescribingJson(ADDED, {"sku": "A"})))
        tracker.track(PageView("https://shop.example/"))

    builders = [everything, by_name, by_schema, by_type, by_path]
    names = lambda payloads: ["".join(uri.split("/")[1] for uri in schemas_of(each)) for each in payloads]  # noqa: E731
    assert names(wsgi_request(view, builders)) == ["abc", "ad"]
    assert names(wsgi_request(view, builders, path="/checkout/pay")) == ["abce", "ade"]


@pytest.mark.parametrize("is_base64", [True, False])
def test_entities_stand_beside_those_that_the_event_has(is_base64):
    own = [SelfDescribingJson(ADDED, {"sku": "A"}), SelfDescribingJson(USER, {"name": "bob"})]
    other = context("iglu:com.acme/other/jsonschema/1-0-0")(lambda _: [{"n": 1}, {"n": 2}])

    def view(tracker):
        tracker.encode_base64 = is_base64
        tracker.track(StructuredEvent("shop", "view", context=own))

    (payload,) = wsgi_request(view, [user, other])
    assert "cx" not in payload
    assert [entity["data"] for entity in json.loads(payload["co"])["data"]] == [
        {"sku": "A"},
        {"name": "bob"},  # the event's own; the builder of this schema adds none
        {"n": 1},
        {"n": 2},
    ]


def raising(request):
    raise RuntimeError("the builder's own")


async def araising(request):
    raise RuntimeError("the builder's own")


def exiting(request):
    raise SystemExit


async def aexiting(request):
    raise SystemExit


def hanging(request):
    threading.Event().wait()


async def ahanging(request):
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.05)  # takes its time
            raise


@pytest.mark.parametrize(
    "function",
    [
        raising,
        araising,
        exiting,
        aexiting,
        hanging,
        ahanging,
        lambda _: "text",
        lambda _: 1,
        lambda _: [1],
        lambda _: {"n": object()},
        lambda _: {"text": "x" * 200_000},
        lambda _: [{"text": "x" * 20_000}] * 10,
        lambda _: None,
    ],
    ids=[
        "raises",
        "async raises",
        "exits",
        "async exits",
        "hangs",
        "async hangs",
        "text",
        "number",
        "list",
        "not JSON",
        "huge",
        "huge together",
        "none",
    ],
)
def test_whatever_a_builder_does_the_event_arrives_without_it(function):
    failing = context("iglu:com.acme/failing/jsonschema/1-0-0", timeout=0.1)(function)
    for payloads in (wsgi_request(track_view, [failing, user]), asgi_request(atrack_view, [failing, user])):
        assert [schemas_of(payload) for payload in payloads] == [[USER]]


def test_a_builder_is_called_once_for_a_request():
    calls = []
    counting = context(USER)(lambda request: calls.append(request) or {"n": len(calls)})

    def view(tracker):
        contexts_json({})
        track_view(tracker)
        track_view(tracker)

    assert [schemas_of(payload) for payload in wsgi_request(view, [counting])] == [[USER], [USER]]
    assert len(calls) == 1


@pytest.mark.parametrize("is_async", [False, True])
def test_a_builder_that_hangs_is_not_called_again_until_it_has_rested(is_async):
    calls, go_on = [], threading.Event()

    def slow(request):
        calls.append(request)
        go_on.wait()
        return {}

    async def aslow(request):
        calls.append(request)
        await asyncio.sleep(0 if go_on.is_set() else 60)
        return {}

    builder = context(USER, timeout=0.05)(aslow if is_async else slow)

    emitter = Recorder()
    tracking = Tracking([emitter], namespace="web", contexts=[builder])

    def app(environ, start_response):
        track_view(tracking.tracker)
        return []

    def ask():
        WsgiTracking(app, tracking)({"REQUEST_METHOD": "GET"}, None).close()
        assert tracking.flush()
        return schemas_of(emitter.payloads[-1])

    assert [ask(), ask()] == [[], []]
    assert len(calls) == 1
    go_on.set()
    soon(lambda: ask() == [USER])


def test_a_builder_that_tracks_does_not_call_itself():
    emitter = Recorder()

    @context(USER)
    def tracks(request):
        track_view(tracking.tracker)
        return {}

    tracking = Tracking([emitter], namespace="web", contexts=[tracks])

    def app(environ, start_response):
        track_view(tracking.tracker)
        return []

    WsgiTracking(app, tracking)({"REQUEST_METHOD": "GET"}, None).close()
    assert sorted(map(schemas_of, emitter.wait(2))) == [[], [USER]]


def test_the_page_gets_what_is_for_it():
    secret = context("iglu:com.acme/risk/jsonschema/1-0-0", page=False)(lambda _: {})
    of_event = context("iglu:com.acme/line/jsonschema/1-0-0", event_name="add_to_cart")(lambda _: {})
    elsewhere = context("iglu:com.acme/step/jsonschema/1-0-0", path="/checkout")(lambda _: {})
    rendered = []
    builders = [user, secret, of_event, elsewhere]
    wsgi_request(lambda _: rendered.append(contexts_json({})), builders)

    async def view(_):
        rendered.append(await acontexts_json({}))

    asgi_request(view, builders)
    assert [json.loads(text) for text in rendered] == [[{"schema": USER, "data": {"name": "ann"}}]] * 2


def test_an_event_has_its_entities_when_the_loop_ends_before_its_builder():
    emitter, begun = Recorder(), []

    @context(USER)
    async def slow(request):
        begun[0].set()
        await asyncio.sleep(60 if len(begun) == 1 else 0)
        return {}

    tracking = Tracking([emitter], namespace="web", contexts=[slow])

    async def app(scope, receive, send):
        track_view(tracking.tracker)

    async def main():
        begun.append(asyncio.Event())
        await AsgiTracking(app, tracking)({"type": "http", "path": "/"}, None, None)
        await begun[0].wait()
        begun.append(None)

    run(main())
    (payload,) = emitter.wait(1)
    assert schemas_of(payload) == [USER]


def test_a_page_outside_of_requests_has_no_contexts():
    assert contexts_json({}) == "[]"


def test_an_async_builder_is_for_pages_of_async_views_once_it_was_awaited():
    @context(USER)
    async def later(request):
        await asyncio.sleep(0)
        return {"name": "ann"}

    rendered = []

    async def view(_):
        rendered.append(json.loads(contexts_json({})))
        await acontexts_json({})
        rendered.append(json.loads(contexts_json({})))

    asgi_request(view, [later])
    assert [len(entities) for entities in rendered] == [0, 1]
    wsgi_request(lambda _: rendered.append(json.loads(contexts_json({}))), [later])
    assert len(rendered[-1]) == 1
