"""Tracks the same few events with each of the official trackers, as an app of that name and for one user."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from playwright.sync_api import Browser
from snowplow_tracker import Emitter, PageView, SelfDescribing, SelfDescribingJson, Subject, Tracker
from support.collector_double import CollectorDouble
from support.node import node_package, run_node

from snowbus.bus.iglu.config import own_config_file
from snowbus.producers.emitters import BusEmitter

USER = "u-ü 481"
PAGE_URL = "https://shop.example/checkout?step=2"
CART = "iglu:dev.snowbus.demo/add_to_cart/jsonschema/1-0-0"
PRODUCT = "iglu:dev.snowbus.demo/product/jsonschema/1-0-0"


class Servers(NamedTuple):
    """All roles as they run, and what they stand between."""

    url: str
    ingest: str
    log: str
    collector: CollectorDouble


def added_to_cart(sku: str, quantity: Any) -> dict[str, Any]:
    """A self-describing event, with a product as its entity."""
    data = {"sku": sku, "quantity": quantity, "unit_price": 9.5}
    entity = {"schema": PRODUCT, "data": {"sku": sku, "name": "Käse 🧀"}}
    return {"event": {"schema": CART, "data": data}, "entities": [entity]}


EVENTS = ({"url": PAGE_URL, "entities": []}, added_to_cart("A-113", 2), added_to_cart("A-114", "two"))
"""A page view, and two events of which the second is wrong in one field."""

Track = Callable[[Servers, Browser, str], None]
"""Tracks EVENTS, as an app of the name that is given last."""


def with_python(emitter: Any, app_id: str, *events: dict[str, Any]) -> None:
    """The Python tracker, with an emitter."""
    tracker = Tracker("ns", [emitter], app_id=app_id)
    for tracked in events:
        subject = Subject().set_user_id(USER)
        context = [SelfDescribingJson(**entity) for entity in tracked["entities"]]
        if "url" in tracked:
            tracker.track(PageView(tracked["url"], event_subject=subject))
        else:
            event = SelfDescribingJson(**tracked["event"])
            tracker.track(SelfDescribing(event, context=context, event_subject=subject))
    tracker.flush()


def over_http(servers: Servers) -> Emitter:
    """The Python tracker's own emitter, which posts to ingest."""
    return Emitter(urlsplit(servers.ingest).netloc, protocol="http", batch_size=1)


def python_over_http(servers: Servers, _browser: Browser, app_id: str) -> None:
    """The Python tracker as it is."""
    with_python(over_http(servers), app_id, *EVENTS)


def python_over_the_bus(servers: Servers, _browser: Browser, app_id: str) -> None:
    """The Python tracker with our emitter, which appends to the log."""
    emitter = BusEmitter(servers.log, iglu_resolver=str(own_config_file()))
    with_python(emitter, app_id, *EVENTS)
    emitter.close()


def node(servers: Servers, _browser: Browser, app_id: str) -> None:
    """The Node tracker."""
    assert run_node("track_events.cjs", servers.ingest, app_id, USER, json.dumps(EVENTS)) == []


def browser(servers: Servers, browser: Browser, app_id: str) -> None:
    """The browser tracker, in a page of a shop, which is another origin than ingest."""
    with _shop() as url:
        page = browser.new_page()
        page.goto(url)
        page.add_script_tag(url="index.umd.min.js")
        page.evaluate(_IN_THE_BROWSER, {"ingest": servers.ingest, "appId": app_id, "userId": USER, "events": EVENTS})
        page.close()


_IN_THE_BROWSER = """async ({ ingest, appId, userId, events }) => {
    const { newTracker, setCustomUrl, setUserId, trackPageView, trackSelfDescribingEvent } = snowplowBrowserTracking;
    let taken, refused;
    const onRequestSuccess = () => taken();
    const onRequestFailure = (failure) => refused(failure);
    newTracker("ns", ingest, { appId, contexts: { webPage: false }, onRequestSuccess, onRequestFailure });
    setUserId(userId);
    for (const { url, event, entities } of events) {
        const answered = new Promise((resolve, reject) => [taken, refused] = [resolve, reject]);
        if (url) setCustomUrl(url);
        if (url) trackPageView();
        else trackSelfDescribingEvent({ event, context: entities });
        await answered; // so that the next one is a request of its own
    }
}"""


@contextmanager
def _shop() -> Iterator[str]:
    """Serves what the package of the browser tracker has for pages without a bundler; the address."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    folder = node_package("@snowplow/browser-tracker") / "dist"
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
