"""What becomes of each event, on the page: beside it, in place, and as a time line."""

import json
import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from support.page_server import PageServer, an_event, delivered, down, receipt, retrying, rows

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=alert(1)>\u202egpj\u0000"
HOSTILE_SHOWN = "<img src=x onerror=alert(1)>\\u202egpj\\u0000"


def state(page: Page, name: str) -> Any:
    """What the row of an event of this name says of its delivery."""
    return rows(page).filter(has_text=name).locator(".delivery")


def steps(page: Page) -> list[str]:
    """The titles of the time line."""
    return page.locator("#panel .step-title").all_inner_texts()


def step(page: Page, title: str) -> Any:
    return page.locator("#panel .step", has=page.locator(f".step-title:text-is('{title}')"))


def open_delivery(page: Page, name: str) -> None:
    rows(page).filter(has_text=name).click()
    page.click("#tab-delivery")


def test_each_event_says_what_became_of_it_and_changes_in_place(
    gateway: PageServer, open_page: Callable[..., Page]
) -> None:
    gateway.publish(*[an_event(name) for name in ("first", "second", "third", "fourth")])
    gateway.tell(delivered(0), retrying(1, 2, attempts=3))
    page = open_page()
    expect(state(page, "first")).to_have_text("delivered")
    expect(state(page, "second")).to_have_text("retrying 3")
    expect(state(page, "fourth")).to_have_text("queued")
    before = rows(page).evaluate_all("rows => rows.map(row => (row.seen = true, row.style.transform))")
    places = "rows => rows.every(row => row.seen) && rows.map(row => row.style.transform)"
    gateway.tell(delivered(1, attempts=4), receipt(2, status="dead", http_status=400), retrying(3))
    expect(state(page, "second")).to_have_text("delivered")
    expect(state(page, "third")).to_have_text("dead")
    expect(state(page, "fourth")).to_have_text("retrying 1")
    assert rows(page).evaluate_all(places) == before
    state(page, "third").hover()
    expect(state(page, "third")).to_have_attribute("title", re.compile("collector: dead, attempt 1, status 400, at "))


def test_states_are_there_after_a_reload_and_for_events_that_come_after_their_receipts(
    gateway: PageServer, open_page: Callable[..., Page]
) -> None:
    gateway.tell(receipt(*range(3), status="done", attempts=None, http_status=None), delivered(1), retrying(2, 3))
    page = open_page("?from=-4")
    gateway.publish(*[an_event(name) for name in ("first", "second", "third", "fourth")])
    for _ in range(2):
        expect(state(page, "first")).to_have_text("done")
        expect(state(page, "second")).to_have_text("delivered")
        expect(state(page, "third")).to_have_text("done")
        expect(state(page, "fourth")).to_have_text("retrying 1")
        page.reload()


def test_without_a_collector_consumer_nothing_is_said_of_deliveries(
    gateway: PageServer, open_page: Callable[..., Page]
) -> None:
    gateway.publish(an_event())
    page = open_page()
    expect(rows(page)).to_have_count(1)
    expect(page.locator(".row .delivery")).to_be_hidden()
    expect(page.locator("#columns")).not_to_contain_text("Delivery", use_inner_text=True)
    open_delivery(page, "add_to_cart")
    expect(page.locator("#panel")).to_contain_text("Nobody has told of deliveries")
    gateway.tell()
    expect(state(page, "add_to_cart")).to_have_text("queued")
    expect(step(page, "Queued")).to_be_visible()


def test_the_way_of_an_event_is_a_time_line_that_grows(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    message = an_event("order")
    gateway.publish(message)
    at = message["timestamp"]
    collector = down(state="up", url="https://collector.example")
    gateway.tell(retrying(0, time=at + 250), collectors=[collector])
    page = open_page()
    open_delivery(page, "order")
    assert steps(page) == ["Tracked", "Received", "On the log", "Attempt 1 failed", "Waiting"]
    expect(step(page, "Received")).to_contain_text("+240 ms")
    expect(step(page, "On the log")).to_contain_text("snowbus.events, partition 0, offset 0")
    expect(step(page, "Attempt 1 failed")).to_contain_text("the collector answered 503")
    expect(step(page, "Attempt 1 failed").locator(".step-lag")).to_have_text("+250 ms")
    expect(page.locator("#panel")).to_contain_text("By group collector")
    expect(page.locator("#panel .collector")).to_contain_text("https://collector.example is up since")
    gateway.tell(retrying(0, attempts=4, time=at + 8_250), delivered(0, attempts=5, time=at + 9_500))
    expect(step(page, "Delivered")).to_be_visible()
    assert steps(page)[3:] == ["Attempt 1 failed", "2 more attempts", "Attempt 4 failed", "Delivered"]
    expect(step(page, "Delivered")).to_contain_text("attempt 5, status 200")
    expect(step(page, "Delivered").locator(".step-lag")).to_have_text("+1.3 s")
    expect(page.locator("#details .facts")).to_contain_text("delivered")
    assert "tab=delivery" in page.url


def test_a_replay_is_told_after_what_was_and_what_is_told_twice_is_told_once(
    gateway: PageServer, open_page: Callable[..., Page]
) -> None:
    gateway.publish(an_event("order"))
    at = round(time.time() * 1000)
    first, again, second = (
        delivered(0, time=at),
        retrying(0, time=at + 5_000),
        delivered(0, attempts=2, time=at + 6_000),
    )
    gateway.tell(first)
    page = open_page()
    open_delivery(page, "order")
    gateway.tell(again)
    expect(state(page, "order")).to_have_text("retrying 1")
    gateway.tell(first, again, second)
    gateway.tell(delivered(0, time=at + 60_000))
    expect(state(page, "order")).to_have_text("delivered")
    expect(page.locator("#panel .step")).to_have_count(7)
    assert steps(page)[3:] == ["Delivered", "Attempt 1 failed", "Delivered", "Delivered"]
    expect(page.locator("#panel .step").last).to_contain_text("told again")


def test_a_dead_event_says_why_and_where_it_is(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    gateway.publish(an_event("order"))
    gateway.tell(receipt(0, status="dead", http_status=400, error=HOSTILE), group=HOSTILE, collectors=[down(HOSTILE)])
    page = open_page()
    open_delivery(page, "order")
    expect(step(page, "Dead")).to_contain_text("snowbus.dead")
    expect(step(page, "Dead").locator(".step-problem")).to_have_text(HOSTILE_SHOWN)
    expect(page.locator("#panel")).to_contain_text(f"By group {HOSTILE_SHOWN}")
    expect(page.locator("#panel .collector")).to_contain_text(HOSTILE_SHOWN)
    state(page, "order").hover()
    expect(state(page, "order")).to_have_attribute("title", re.compile(re.escape(f"{HOSTILE_SHOWN}: dead")))
    page.click("#collectors")
    expect(page.locator("#collectors-panel")).to_contain_text(HOSTILE_SHOWN)
    assert page.locator("img, #panel a").count() == 0


WRONG = [
    {"group": None},
    {"group": "g", "receipts": 7, "collectors": {"url": 1}},
    {"group": "g", "receipts": [None, 1, {"status": "eaten"}, {"status": "dead", "offsets": [[0]]}]},
    {"group": "g", "receipts": [{"status": "dead", "offsets": [[5, 1], [-3, 2], [0.5, 1], [1e300, 1e301], "x"]}]},
    {"group": "g", "receipts": [{"status": "done", "offsets": [[0, 9]]}], "collectors": [None, {"since": "then"}]},
]


def test_no_message_however_wrong_breaks_the_page(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    gateway.publish(an_event("order"))
    page = open_page()
    expect(rows(page)).to_have_count(1)
    for message in WRONG:
        gateway.say(json.dumps({"type": "delivery", **message}))
    expect(state(page, "order")).to_have_text("queued")
    open_delivery(page, "order")
    gateway.tell(delivered(0))
    expect(step(page, "Delivered")).to_be_visible()


def test_a_collector_that_is_down_is_said_in_the_bar_and_moves_nothing(
    gateway: PageServer, open_page: Callable[..., Page]
) -> None:
    gateway.publish(an_event())
    gateway.tell(collectors=[down(state="untried", error="", next_try=None)])
    page = open_page()
    open_delivery(page, "add_to_cart")
    expect(page.locator("#panel .collector")).to_have_text(
        "http://collector.example is untried: it has not answered yet"
    )
    expect(page.locator("#collectors")).to_be_hidden()
    before = rows(page).bounding_box()
    gateway.tell(collectors=[down("https://collector.example")])
    expect(page.locator("#collectors")).to_contain_text("collector down")
    assert rows(page).bounding_box() == before
    page.click("#collectors")
    panel = page.locator("#collectors-panel")
    expect(panel).to_contain_text(
        re.compile(r"https://collector\.example is down since .*: it answered 503\. Next try at")
    )
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    gateway.tell(collectors=[down(state="refusing", next_try=None)])
    expect(page.locator("#collectors")).to_have_text("collector refuses")
    gateway.tell(collectors=[down(state="up")])
    expect(page.locator("#collectors")).to_be_hidden()


def test_of_several_groups_the_one_counts_that_is_worst_off(
    gateway: PageServer, open_page: Callable[..., Page]
) -> None:
    gateway.publish(an_event("first"), an_event("second"), an_event("third"))
    gateway.tell(delivered(0, 1), group="one")
    gateway.tell(delivered(1), retrying(0), group="two")
    page = open_page()
    expect(state(page, "first")).to_have_text("retrying 1")
    expect(state(page, "second")).to_have_text("delivered")
    expect(state(page, "third")).to_have_text("queued")
    open_delivery(page, "first")
    expect(page.locator("#panel h3")).to_contain_text(["To the log", "By group one", "By group two"])


def test_a_group_that_is_gone_does_not_keep_events_queued(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    long_ago = {"type": "delivery", "group": "gone", "time": "2020-01-01T00:00:00.000Z", "receipts": []}
    gateway.told.append(json.dumps(long_ago))
    gateway.publish(an_event("first"))
    page = open_page()
    expect(state(page, "first")).to_have_text("queued")
    open_delivery(page, "first")
    expect(step(page, "Queued")).to_contain_text("Is it running?")
    gateway.tell(delivered(0), group="here")
    expect(state(page, "first")).to_have_text("delivered")


def test_after_a_cut_it_asks_what_became_meanwhile_of_the_events_it_has(
    gateway: PageServer, open_page: Callable[..., Page]
) -> None:
    gateway.publish(an_event("first"))
    gateway.tell(retrying(0))
    page = open_page()
    expect(state(page, "first")).to_have_text("retrying 1")
    assert "deliveries" not in gateway.subscription()
    gateway.cut()
    gateway.tell(delivered(0, attempts=2))
    expect(state(page, "first")).to_have_text("delivered")
    asked = datetime.fromisoformat(gateway.subscription()["deliveries"]).timestamp()
    assert 55 < time.time() - asked < 90


def test_a_log_that_began_anew_has_no_states_yet(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    gateway.publish(an_event("first"))
    gateway.tell(delivered(0))
    page = open_page()
    expect(state(page, "first")).to_have_text("delivered")
    gateway.publish({"type": "gap", "from": 1, "to": 0, "count": None, "reason": "log restarted"})
    expect(page.locator(".row.event .delivery")).to_be_hidden()


def test_an_event_that_is_looked_up_says_what_became_of_it(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    gateway.publish(an_event("order", event_id="old"), *[an_event("noise", event_id=f"n{n}") for n in range(250)])
    gateway.tell(delivered(0))
    page = open_page("?selected=old&tab=delivery&from=-50")
    expect(page.locator("#details h2")).to_have_text("order")
    expect(step(page, "Delivered")).to_be_visible()
