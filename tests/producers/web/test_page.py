"""The entities of a page, in a real chromium: the official tracker sends them as the server made them."""

import json

import pytest
from support.django_app import django_app
from support.node import node_package
from support.snowbus import snowbus
from support.web import Recorder, asgi_server, wsgi_server
from support.web_apps import USER, Gate, fastapi_app, flask_app

from snowbus.producers.contexts import context
from snowbus.producers.web import IngestEndpoint, Tracking

HOSTILE = (
    """</script><script>hacked = 1</script><!-- <script> ]]> {{ 7 * 7 }} "'`\\ \u2028\u2029 &amp; <é> 🧀 ${hacked}"""
)

APPS = {
    "flask": lambda tracking: wsgi_server(flask_app(tracking, Gate())),
    "fastapi": lambda tracking: asgi_server(fastapi_app(tracking, Gate())),
    "django": lambda tracking: wsgi_server(django_app(tracking, Gate(), asgi=False)),
}

TRACK = """() => new Promise((resolve, reject) => {
    const { newTracker, addGlobalContexts, trackPageView } = snowplowBrowserTracking;
    newTracker("ns", location.origin, {
        postPath: "/tracking",
        contexts: { webPage: false },
        onRequestSuccess: () => resolve(typeof hacked),
        onRequestFailure: (failure) => reject(failure.message),
    });
    addGlobalContexts(contexts);
    trackPageView();
})"""


@context(USER, path="/page")
def user(request):
    return {"name": HOSTILE, HOSTILE: [HOSTILE]}


@pytest.mark.browser
@pytest.mark.node
@pytest.mark.parametrize("app", APPS)
def test_the_tracker_in_a_page_sends_the_entities_that_the_server_made(browser, app, sqlite_url, tmp_path):
    """Whatever is in them: nothing in it ends the script, or runs, and nothing is changed on the way to the log."""
    tracking = Tracking([Recorder()], namespace="web", contexts=[user], endpoint=IngestEndpoint(sqlite_url))
    bundle = node_package("@snowplow/browser-tracker") / "dist" / "index.umd.min.js"
    with APPS[app](tracking) as (host, port):
        page = browser.new_page()
        page.goto(f"http://{host}:{port}/page")
        page.add_script_tag(path=bundle)
        assert page.evaluate(TRACK) == "undefined"
        page.close()
    tracking.end(5.0)
    told = snowbus("tail", "--log", sqlite_url, "--from", "earliest", "--count", "1", "--json", cwd=tmp_path)
    event = json.loads(told.stdout)
    assert event["event"]["contexts_com_acme_user_1"] == [{"name": HOSTILE, HOSTILE: [HOSTILE]}]
