"""What holds for each framework, on real servers: order, subject, contexts, and that tracking disturbs no view."""

import asyncio
import http.client
import json
from contextlib import contextmanager

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.utils.asyncio import async_unsafe
from support.aio import soon
from support.django_app import configure, django_app
from support.web import COOKIE, Blocking, Recorder, asgi_server, fetch, wsgi_server
from support.web_apps import USER, Gate, fastapi_app, flask_app, user

from snowbus.producers.contexts import context
from snowbus.producers.web import Tracking

APPS = {
    "flask": lambda tracking, gate: wsgi_server(flask_app(tracking, gate)),
    "flask-wsgiref": lambda tracking, gate: wsgi_server(flask_app(tracking, gate), "wsgiref"),
    "fastapi": lambda tracking, gate: asgi_server(fastapi_app(tracking, gate)),
    "fastapi-uvloop": lambda tracking, gate: asgi_server(fastapi_app(tracking, gate), loop="uvloop"),
    "django-wsgi": lambda tracking, gate: wsgi_server(django_app(tracking, gate, asgi=False)),
    "django-asgi": lambda tracking, gate: asgi_server(django_app(tracking, gate, asgi=True), lifespan="off"),
}


@pytest.fixture(params=APPS)
def serving(request):
    """Serves the app of a framework, with an emitter of a test's choice; gives its address."""

    @contextmanager
    def serve(*emitters, gate=None, **options):
        tracking = Tracking(list(emitters), namespace="web", app_id="shop", **options)
        with APPS[request.param](tracking, gate or Gate()) as address:
            yield address

    return serve


def by_header(request):
    return request.headers["X-User"]


async def aby_header(request):
    await asyncio.sleep(0)
    return by_header(request)


def contexts_of(payload):
    return json.loads(payload["co"])["data"]


@pytest.mark.parametrize(("path", "status"), [("/view", 200), ("/async", 200), ("/raises", 500)])
def test_the_client_has_its_last_byte_while_the_emitter_hangs(serving, path, status):
    """The emitter goes on only when the client has read all; and the next request is served while it hangs."""
    emitter = Blocking()
    with serving(emitter) as address:
        for _ in range(2):
            assert fetch(address, path).status == status
        soon(emitter.called.is_set)
        assert emitter.payloads == []
        emitter.let_go.set()
        assert {payload["se_ac"] for payload in emitter.wait(2)} == {path[1:]}


def test_events_of_a_stream_leave_after_its_end(serving):
    emitter, gate = Recorder(), Gate()
    with serving(emitter, gate=gate) as address:
        connection = http.client.HTTPConnection(*address, timeout=20)
        connection.request("GET", "/stream")
        answer = connection.getresponse()
        assert answer.read(5) == b"first"
        assert emitter.payloads == []
        gate.open.set()
        assert answer.read() == b"last"
        connection.close()
        emitter.wait(2)
        assert emitter.actions == ["stream-first", "stream-last"]


def test_events_of_a_stream_have_the_user_and_the_entities_of_their_request(serving):
    """Also where the view tracked nothing before, and the framework is done with the request when the stream begins."""
    emitter, gate = Recorder(), Gate()
    gate.open.set()
    with serving(emitter, gate=gate, user_id=by_header, contexts=[user]) as address:
        fetch(address, "/stream", X_User="ann")
        for payload in emitter.wait(2):
            assert payload["uid"] == "ann"
            assert contexts_of(payload) == [{"schema": USER, "data": {"name": "ann"}}]


def test_events_leave_when_the_client_is_gone(serving):
    emitter, gate = Recorder(), Gate()
    with serving(emitter, gate=gate) as address:
        connection = http.client.HTTPConnection(*address, timeout=20)
        connection.request("GET", "/stream")
        assert connection.getresponse().read(5) == b"first"
        connection.close()
        gate.open.set()
        assert emitter.wait(1)[0]["se_ac"] == "stream-first"


def test_an_event_has_what_the_request_tells_of_its_user_and_page(serving):
    emitter = Recorder()
    headers = {
        "Cookie": COOKIE,
        "User_Agent": "Browser/1",
        "Accept_Language": "de-CH,de;q=0.9",
        "Referer": "http://shop.example/before",
        "X_Forwarded_For": "198.51.100.7",
        "X_Forwarded_Proto": "https",
        "Host": "shop.example",
        "X_User": "ann",
    }
    with serving(emitter, trusted_proxies=["127.0.0.0/8"], user_id=by_header) as address:
        fetch(address, "/view?q=a%20b", **headers)
        (payload,) = emitter.wait(1)
    expected = {
        "e": "se",
        "p": "srv",
        "tna": "web",
        "aid": "shop",
        "uid": "ann",
        "duid": "4a66d8f9-17f5-4b9e-9d5c-6d8c8f1f0b1a",
        "vid": 3,
        "sid": "5b24b0c5-5ac4-44c2-9d2e-1a2b3c4d5e6f",
        "tnuid": "network-1",
        "ip": "198.51.100.7",
        "ua": "Browser/1",
        "lang": "de-CH",
        "url": "https://shop.example/view?q=a%20b",
        "refr": "http://shop.example/before",
    }
    assert payload | expected == payload


@pytest.mark.parametrize("user_id", [by_header, aby_header])
def test_user_ids_may_be_async_in_plain_and_async_views(serving, user_id):
    emitter = Recorder()
    with serving(emitter, user_id=user_id) as address:
        for path in ("/view", "/async", "/raises"):
            fetch(address, path, X_User="ann")
        assert [payload.get("uid") for payload in emitter.wait(3)] == ["ann"] * 3


def test_a_page_of_django_has_its_entities_where_the_template_is_given_no_request():
    """As when it is rendered to a text; nor do the request's events lose theirs by it."""
    emitter = Recorder()
    app = django_app(Tracking([emitter], namespace="web", contexts=[user]), Gate(), asgi=False)
    with wsgi_server(app) as address:
        assert b'"name":"ann"' in fetch(address, "/text", X_User="ann").body
        (payload,) = emitter.wait(1)
    assert contexts_of(payload) == [{"schema": USER, "data": {"name": "ann"}}]


@pytest.mark.parametrize("asgi", [False, True])
def test_an_async_user_id_may_ask_django_in_plain_views(asgi):
    """Under ASGI what Django's own async functions do waits for the thread of the view."""
    user_id = sync_to_async(by_header)
    emitter = Recorder()
    app = django_app(Tracking([emitter], namespace="web", user_id=user_id), Gate(), asgi=asgi)
    with asgi_server(app, lifespan="off") if asgi else wsgi_server(app) as address:
        fetch(address, "/view", X_User="ann")
        assert emitter.wait(1)[0]["uid"] == "ann"


@pytest.fixture(scope="module")
def shop_user(tmp_path_factory):
    """An async builder that asks Django's database, for a user who is there."""
    configure()
    # These look at the settings when they are imported.
    from django.contrib.auth.models import User  # noqa: PLC0415
    from django.core.management import call_command  # noqa: PLC0415
    from django.db import connection  # noqa: PLC0415

    settings.DATABASES["default"]["NAME"] = str(tmp_path_factory.mktemp("django") / "shop.db")
    call_command("migrate", verbosity=0)
    User.objects.create(username="ann")

    @context(USER)
    async def builder(request):
        return {"name": (await User.objects.aget(username=request.headers["X-User"])).username}

    connection.close()
    return builder


@pytest.mark.parametrize("kind", ["wsgi", "asgi", "asgi with a plain middleware"])
def test_an_async_builder_may_ask_djangos_database_in_plain_and_async_views(shop_user, kind):
    """Under ASGI what Django's own async functions do would wait for the thread of the view, which waits for them."""
    emitter = Recorder()
    tracking = Tracking([emitter], namespace="web", contexts=[shop_user])
    app = django_app(tracking, Gate(), asgi=kind != "wsgi", has_plain_middleware="plain" in kind)
    made = [{"schema": USER, "data": {"name": "ann"}}]
    with wsgi_server(app) if kind == "wsgi" else asgi_server(app, lifespan="off") as address:
        for path in ("/view", "/async"):
            fetch(address, path, X_User="ann")
        page = fetch(address, "/page", X_User="ann").body.decode()
        assert [contexts_of(payload) for payload in emitter.wait(2)] == [made] * 2
    assert json.loads(page.removeprefix("<script>contexts = ").removesuffix("</script>")) == made


@pytest.mark.parametrize("asgi", [False, True])
def test_what_django_lets_no_loop_do_works_in_its_async_views(asgi):
    """As the user of a request, which is read from the database when it is first looked at."""

    @async_unsafe
    def read(request):
        return request.headers["X-User"]

    builder = context(USER, timeout=None)(lambda request: {"name": read(request)})
    emitter = Recorder()
    app = django_app(Tracking([emitter], namespace="web", user_id=read, contexts=[builder]), Gate(), asgi=asgi)
    with asgi_server(app, lifespan="off") if asgi else wsgi_server(app) as address:
        fetch(address, "/async", X_User="ann")
        fetch(address, "/view", X_User="ann")
        for payload in emitter.wait(2):
            assert payload["uid"] == "ann"
            assert contexts_of(payload) == [{"schema": USER, "data": {"name": "ann"}}]


def test_a_builder_makes_the_same_entity_for_events_and_for_the_page(serving):
    emitter = Recorder()
    with serving(emitter, contexts=[user]) as address:
        for path in ("/view", "/async"):
            fetch(address, path, X_User="</script>\u00e9&'")
        page = fetch(address, "/page", X_User="</script>\u00e9&'").body.decode()
        for payload in emitter.wait(2):
            (made,) = contexts_of(payload)
            assert made["schema"] == USER
            assert made["data"]["name"].startswith("</script>")
    text = page.removeprefix("<script>contexts = ").removesuffix("</script>")
    assert json.loads(text) == [made]
    assert not set("<>&'") & set(text)
