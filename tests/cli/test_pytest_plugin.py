"""The pytest plugin: a bus in memory for a user's own tests, and assertions that fail with the report."""

import asyncio
import json
import subprocess
import sys

import pytest
from snowplow_tracker import PageView, SelfDescribing, SelfDescribingJson, Tracker

from snowbus.bus.errors import PayloadError, PlanError
from snowbus.bus.iglu.config import own_config_file
from snowbus.bus.metrics import Metrics
from snowbus.bus.settings import Settings
from snowbus.consumers.testing import event
from snowbus.consumers.verify import Events
from snowbus.producers.emitters import BusEmitter
from snowbus.producers.ingest.app import IngestApp

pytest_plugins = ["pytester"]

ADD = "iglu:com.acme/add_to_cart/jsonschema/1-0-1"
CART = "iglu:com.acme/cart/jsonschema/1-0-0"

TESTS = f"""
from snowplow_tracker import PageView, SelfDescribing, SelfDescribingJson, Tracker

def track(events):
    tracker = Tracker("shop", [events.emitter], app_id="shop")
    tracker.track(PageView("https://shop.example/"))
    tracker.track(SelfDescribing(SelfDescribingJson("{ADD}", {{"sku": "A", "quantity": "1"}})))

def test_right(events):
    track(events)
    events.expect("page_view", count=1)
    events.expect("add_to_cart", schema="{ADD}", where={{"app_id": "shop"}}, data={{"sku": "A"}})
    events.none_invalid()

def test_each_test_has_a_bus_of_its_own(events, snowbus_events):
    assert events is snowbus_events
    assert events.all == []

def test_wrong(events):
    track(events)
    events.expect("add_to_cart", data={{"quantity": {{"min": 1}}}})

def test_plan(events):
    track(events)
    events.fits("plan.yaml")
"""


def test_a_users_tests_get_the_fixture_and_the_report(pytester):
    pytester.makepyfile(TESTS)
    pytester.makefile(".yaml", plan="events: [page_view, refund]\nnever: [add_to_cart]")
    result = pytester.runpytest()
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(
        [
            "*AssertionError: expected: does not fit (2 events)",
            "*add_to_cart  wrong: 1 not as expected; 0 of 1 or more seen",
            '*data.quantity: expected 1 or more, got the string "1"',
            "*what came:",
            f"*add_to_cart {ADD}",
            "*AssertionError: plan: does not fit (2 events)",
            "*refund             missing: none of 1 or more seen",
            "*never add_to_cart  came once",
        ]
    )
    assert "verify/events.py" not in result.stdout.str()


def test_a_users_own_fixture_of_that_name_counts(pytester):
    pytester.makeconftest("import pytest\n@pytest.fixture\ndef events():\n    return 'mine'")
    pytester.makepyfile("def test(events, snowbus_events):\n    assert events == 'mine' != snowbus_events")
    pytester.runpytest().assert_outcomes(passed=1)


def test_the_plugin_imports_nothing_that_costs_until_a_test_asks():
    script = "import sys, snowbus.cli.pytest_plugin; print(*(m for m in sys.modules if m.startswith('snowbus.')))"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert set(answer.stdout.split()) == {"snowbus.cli", "snowbus.cli.pytest_plugin"}


CHECKED = """
import asyncio, json
from snowbus.producers.emitters import BusEmitter

def hello(sender, schema="iglu:dev.snowbus.demo/hello/jsonschema/1-0-0"):
    return {"schema": schema, "data": {"from": sender}}

def test_right(events):
    events.publish(hello("me"))
    events.none_invalid()
    assert len(events.expect("hello", valid=True)) == 1

def test_right_in_a_loop(events):
    async def main():
        events.publish(hello("me"))
        events.expect("hello", valid=True)
    asyncio.run(main())

def test_wrong(events):
    events.publish(hello(7))
    events.none_invalid()

def test_unknown(events):
    events.publish(hello("me", "iglu:com.acme/nowhere/jsonschema/1-0-0"))
    events.none_invalid()

def test_wrong_and_put_there_by_others(events):
    emitter = BusEmitter(events.url)
    outer = "iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0"
    nowhere = {"schema": "iglu:com.acme/nowhere/jsonschema/1-0-0", "data": {}}
    emitter.input({"e": "ue", "ue_pr": json.dumps({"schema": outer, "data": nowhere})})
    emitter.close()
    events.none_invalid()
"""


@pytest.mark.parametrize("given", ["ini", "settings"])
def test_events_are_checked_with_the_resolver_that_is_configured(pytester, monkeypatch, given):
    if given == "ini":
        pytester.makeini(f"[pytest]\nsnowbus_iglu_resolver = {own_config_file()}")
    else:
        monkeypatch.setenv("SNOWBUS_IGLU_RESOLVER", str(own_config_file()))
    pytester.makepyfile(CHECKED)
    result = pytester.runpytest()
    result.assert_outcomes(passed=2, failed=3)
    result.stdout.fnmatch_lines(
        [
            "*unstruct_event/from: expected a string, got 7*",
            "*unstruct_event: expected a schema that a registry has, got one that no registry has (Snow*",
            "*unstruct_event: expected a schema that a registry has, got one that no registry has (Snow*",
        ]
    )


def test_what_registries_that_are_away_left_unchecked_is_not_taken_for_valid(tmp_path):
    away = {"name": "Away", "priority": 0, "connection": {"http": {"uri": "http://127.0.0.1:1"}}}
    schema = "iglu:com.snowplowanalytics.iglu/resolver-config/jsonschema/1-0-3"
    config = {"schema": schema, "data": {"cacheSize": 5, "repositories": [away]}}
    (tmp_path / "resolver.json").write_text(json.dumps(config))
    events = Events(iglu_resolver=str(tmp_path / "resolver.json"))
    events.publish({"schema": ADD, "data": {}})
    events.expect("add_to_cart")
    with pytest.raises(AssertionError, match=f"could not be checked, .* gave no answer: add_to_cart {ADD}"):
        events.none_invalid()


def test_what_fits_is_returned(events):
    for number in range(3):
        events.publish({"schema": ADD, "data": {"n": number}, "contexts": [{"schema": CART, "data": {"c": number}}]})
    found = events.expect("add_to_cart", data={"n": {"max": 1}}, entities=(CART,))
    assert [seen.data for seen in found] == [{"n": 0}, {"n": 1}]
    assert found[0].entities_of(CART) == [{"c": 0}]
    assert events.expect(count=3) == events.all
    events.clear()
    assert events.all == []
    with pytest.raises(AssertionError, match="any event  missing: none of 1 or more seen"):
        events.expect()


def test_others_of_the_kind_may_come_unless_they_are_wrong(events):
    events.publish({"schema": ADD, "data": {"sku": "A"}})
    events.publish({"schema": ADD, "data": {"sku": "B"}})
    events.expect("add_to_cart", data={"sku": "A"}, count=1)
    with pytest.raises(AssertionError, match=r'data.sku: expected "A", got "B"'):
        events.expect("add_to_cart", data={"sku": "A"}, others="wrong")


def test_what_must_not_come(events):
    events.publish(event("page_view", user_id="ann"))
    events.never("add_to_cart")
    events.never("page_view", where={"user_id": {"absent": True}})
    events.none_invalid()
    with pytest.raises(AssertionError, match="never page_view  came once"):
        events.never("page_view")
    events.publish({"event": "struct", "se_value": "12,5"})
    with pytest.raises(AssertionError, match="se_value: expected a number, got 12,5"):
        events.none_invalid()


def test_a_plan_may_be_data(events):
    events.publish({"event": "page_view"})
    assert events.fits({"events": ["page_view"]}).fits
    with pytest.raises(AssertionError, match="order  missing: none of 1 or more seen"):
        events.fits({"events": ["order"]})


@pytest.mark.parametrize(
    ("keywords", "told"),
    [({"dta": {}}, "dta: unknown; did you mean data?"), ({"schema": "x"}, "schema: 'x' is not an Iglu URI")],
)
def test_a_keyword_that_is_none_is_told(events, keywords, told):
    with pytest.raises(PlanError, match=told.replace("?", r"\?")):
        events.expect("page_view", **keywords)


def test_what_is_no_event_fails_where_it_is_tracked(events):
    with pytest.raises(PayloadError, match="e: 'zz' is unknown"):
        events.emitter.input({"e": "zz"})


def test_the_emitter_keeps_events_as_they_are_tracked_in_order(events):
    tracker = Tracker("ns", [events.emitter])
    tracker.track(PageView("https://shop.example/"))
    tracker.track(SelfDescribing(SelfDescribingJson(ADD, {"sku": "A"})))
    tracker.flush()
    assert [(seen.name, seen.validation) for seen in events.all] == [
        ("page_view", "unchecked"),
        ("add_to_cart", "unchecked"),
    ]


def test_the_bus_emitter_writes_there(events):
    emitter = BusEmitter(events.url)
    try:
        Tracker("ns", [emitter]).track(PageView("https://shop.example/"))
        emitter.flush()
    finally:
        emitter.close()
    events.expect("page_view", count=1)


def test_ingest_writes_there(events):
    async def main():
        app = IngestApp(events.log, Settings(), Metrics())
        sent = []

        async def receive():
            return {"type": "http.request", "body": b'{"event":"page_view","user_id":"ann"}', "more_body": False}

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/tracking",
            "query_string": b"",
            "headers": [],
            "client": None,
        }
        await app(scope, receive, send)
        await app.close()
        return sent[0]["status"]

    assert asyncio.run(main()) == 200
    events.expect("page_view", where={"user_id": "ann"})
