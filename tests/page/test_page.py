"""The debug page in a real browser, against a gateway that does what the test says."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from support.aio import soon
from support.page_server import Message, PageServer, an_event, down, retrying, rows

from snowbus.bus.tracker_protocol import BY_CODE

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>\u202egpj.exe\u0000\u200b"
HOSTILE_SHOWN = "<img src=x onerror=alert(1)><script>alert(2)</script>\\u202egpj.exe\\u0000\\u200b"


def an_invalid_event() -> Message:
    message = an_event("order", data={"quantity": "two"})
    schema = "iglu:com.acme/order/jsonschema/1-0-0"
    error = {"field": "unstruct_event", "schema": schema, "path": "/quantity", "expected": "integer", "got": '"two"'}
    error |= {"schema_path": "/properties/quantity/type"}
    missing = {**error, "path": "/sku", "expected": "to be there", "got": "", "schema_path": "/required/1"}
    entity = {**error, "field": "contexts[0]", "path": "/host", "expected": "a hostname", "got": '"app-3"'}
    return {**message, "validation": {"status": "invalid", "errors": [error, missing, entity]}}


def field(page: Page, name: str) -> Any:
    return page.locator("#details .field", has=page.locator(f".field-name bdi:text-is('{name}')"))


def test_events_appear_newest_first_and_in_words(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    gateway.publish(an_event("earlier"))
    page = open_page()
    expect(rows(page)).to_have_count(1)
    gateway.publish(
        an_event("page_view", event="page_view", page_url="https://shop.example/checkout?step=2", user_id=None)
    )
    newest = rows(page).filter(has_text="page_view")
    expect(newest.locator(".what")).to_have_text("page_view /checkout")
    expect(newest.locator(".validity")).to_have_text("valid")
    older = rows(page).filter(has_text="earlier")
    expect(older.locator(".what")).to_have_text("earlier sku A-113 · quantity 2")
    expect(older.locator(".who")).to_have_text("u-481")
    expect(older.locator(".time")).to_have_text(re.compile(r"\d\d:\d\d:\d\d\.\d\d\d"))
    assert newest.bounding_box()["y"] < older.bounding_box()["y"]
    expect(page.locator("#legend")).to_contain_text("2 received")


def test_an_error_stands_at_its_field(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    gateway.publish(an_invalid_event())
    page = open_page()
    expect(rows(page).locator(".validity")).to_have_text("3 errors")
    rows(page).click()
    expect(field(page, "quantity").locator(".error-text")).to_have_text('expected integer, got "two"')
    expect(field(page, "sku")).to_contain_text("missing")
    expect(field(page, "sku").locator(".error-text")).to_have_text("expected to be there")
    page.get_by_role("button", name="contexts[0]/host").click()
    expect(page.locator("#tab-entities")).to_have_attribute("aria-selected", "true")
    expect(field(page, "host").locator(".error-text")).to_have_text('expected a hostname, got "app-3"')
    expect(page.locator("#details .entity h3")).to_contain_text("iglu:com.acme/service/jsonschema/1-0-0")


def test_a_press_on_the_number_of_invalid_events_shows_them(
    gateway: PageServer, open_page: Callable[..., Page]
) -> None:
    gateway.publish(an_event("order", data={"long": "x" * 3000}), an_invalid_event())
    page = open_page("?valid=true")
    page.locator("#legend").get_by_role("button", name="1 invalid").click()
    assert page.url.endswith("/?valid=false")
    soon(lambda: gateway.subscription()["valid"] == "false")
    page.go_back()
    expect(page.locator("#axis")).to_have_text(re.compile(r"^(\d\d:\d\d){4} (UTC|GMT.*)$"))
    rows(page).filter(has_text="long").click()
    expect(field(page, "long")).to_contain_text("show all, 2,600 more characters")
    field(page, "long").get_by_role("button").click()
    expect(field(page, "long").locator("bdi.scalar")).to_have_text("x" * 3000)


def test_an_error_leads_to_the_line_of_the_schema(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    properties = {"quantity": {"description": "how many", "type": "integer"}, "sku": {"type": "string"}}
    schema = {"type": "object", "properties": properties, "required": ["quantity", "sku"]}
    gateway.schemas["iglu:com.acme/order/jsonschema/1-0-0"] = schema
    gateway.publish(an_invalid_event())
    page = open_page()
    rows(page).click()
    field(page, "quantity").get_by_role("link").click()
    expect(page.locator(".schema-line.marked")).to_have_text('      "type": "integer"')
    page.keyboard.press("Escape")
    field(page, "sku").get_by_role("link").click()
    expect(page.locator(".schema-line.marked")).to_have_text('  "required": ["quantity", "sku"]')
    expect(page.get_by_role("link", name="as JSON")).to_have_attribute(
        "href", "/schemas/com.acme/order/jsonschema/1-0-0"
    )
    page.get_by_role("button", name="Close", exact=True).click()
    page.click("#tab-entities")
    expect(page.locator("#panel .schema").first).to_be_visible()
    assert page.locator("#panel h3 a").count() == 0  # nobody has the entity's schema


def test_payload_and_source_are_shown_decoded(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    gateway.publish(an_event())
    page = open_page()
    rows(page).click()
    expect(field(page, "dvce_created_tstamp")).to_contain_text("240 ms before it was received")
    page.click("#tab-payload")
    when = page.locator(".parameter", has=page.locator(".code:text-is('dtm')"))
    expect(when).to_contain_text("dvce_created_tstamp")
    expect(when).to_contain_text("2026-01-02T03:04:04.766Z")
    page.click("#tab-source")
    expect(field(page, "ip")).to_contain_text("127.0.0.1")
    expect(field(page, "topic")).to_contain_text("snowbus.events")


def test_the_page_names_parameters_as_the_protocol_does(open_page: Callable[..., Page]) -> None:
    page = open_page()
    shown = page.evaluate(
        "async codes => { const { parameter } = await import('./parameters.js');"
        " return codes.map(code => parameter(code)?.names); }",
        list(BY_CODE),
    )
    assert dict(zip(BY_CODE, shown, strict=True)) == {code: list(row.names) for code, row in BY_CODE.items()}


def test_a_filter_changes_the_subscription_and_the_address(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    gateway.publish(an_event("order"), an_event("refund", app_id="back-office"))
    page = open_page()
    expect(rows(page)).to_have_count(2)
    page.keyboard.press("f")
    page.keyboard.type("app_id=back")
    page.locator("#filter-options").get_by_role("option", name="back-office").click()
    expect(rows(page)).to_have_count(1)
    expect(page.locator(".chip")).to_contain_text("back-office")
    assert gateway.subscription()["app_id"] == "back-office"
    assert page.url.endswith("/?app_id=back-office")
    page.go_back()
    expect(rows(page)).to_have_count(2)
    assert "app_id" not in gateway.subscription()
    page.go_forward()
    page.get_by_role("button", name="Remove filter app_id back-office").click()
    expect(rows(page)).to_have_count(2)
    page.fill("#search", "refund")
    expect(rows(page)).to_have_count(1)
    page.fill("#search", "order")
    expect(rows(page).locator(".name")).to_have_text(["order"])
    assert gateway.subscription()["q"] == "order"
    assert page.url.endswith("/?q=order")
    page.locator("#rows").focus()
    page.go_back()  # from all of what was typed
    expect(rows(page)).to_have_count(2)
    assert page.url.endswith(gateway.url.partition("//")[2])


def test_a_wrong_filter_is_told_where_it_is_written(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    page = open_page()
    expect(page.locator("#status")).to_contain_text("live")
    page.fill("#filter", "colour=red")
    page.keyboard.press("Enter")
    expect(page.locator("#filter-problem")).to_contain_text("colour is not a filter")
    assert len(gateway.subscriptions) == 1


def test_the_address_shows_the_same_view_to_somebody_else(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    gateway.publish(an_event("order", event_id="old"), *[an_event("noise", event_id=f"n{n}") for n in range(250)])
    page = open_page("?app_id=shop&selected=old&tab=source&from=-50")
    expect(rows(page).first).to_be_visible()
    expect(page.locator("#details h2")).to_have_text("order")  # it is older than the rows: looked up
    expect(page.locator("#tab-source")).to_have_attribute("aria-selected", "true")
    expect(page.locator(".chip")).to_have_count(2)
    assert ("event_id", "old") in gateway.subscriptions[-1]


def test_an_event_that_is_not_there_is_not_looked_for_for_ever(
    gateway: PageServer, open_page: Callable[..., Page]
) -> None:
    page = open_page()
    page.clock.install()
    page.goto(f"{gateway.url}?selected=nowhere")
    expect(page.locator("#details")).to_contain_text("Looking for event nowhere")
    expect(page.locator("#status")).to_contain_text("live")
    page.clock.fast_forward(1500)
    page.clock.fast_forward(10_500)
    expect(page.locator("#details")).to_contain_text("Event nowhere was not found")
    gateway.publish(an_event())
    expect(rows(page)).to_have_count(1)
    expect(page.locator("#details")).to_contain_text("Event nowhere was not found")
    gateway.publish(an_event("late", event_id="nowhere"))
    expect(page.locator("#details h2")).to_have_text("late")


def test_pause_loses_nothing(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    page = open_page()
    gateway.publish(an_event("before"))
    expect(rows(page)).to_have_count(1)
    page.keyboard.press("p")
    gateway.publish(*[an_event("during", event_id=f"e{number}") for number in range(7)])
    expect(page.locator("#status")).to_have_text("paused, 7 waiting")
    expect(rows(page)).to_have_count(1)
    page.keyboard.press("p")
    expect(rows(page)).to_have_count(8)
    page.keyboard.press("p")
    page.keyboard.press("t")
    page.keyboard.type("10m ago")
    page.keyboard.press("Enter")
    expect(page.locator("#quiet-line")).to_contain_text("No longer paused")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()


def test_a_long_pause_is_read_again_from_the_log(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    page = open_page()
    expect(page.locator("#status")).to_contain_text("live")
    page.keyboard.press("p")
    gateway.publish(*[an_event("during", event_id=f"e{number}") for number in range(5200)])
    expect(page.locator("#status")).to_have_text("paused, 5,200 waiting")
    page.keyboard.press("p")
    expect(page.locator("#legend")).to_contain_text("5,200 received")
    assert gateway.subscription()["from"] == "c4999"


def test_after_a_cut_it_goes_on_from_its_cursor(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    page = open_page()
    gateway.publish(an_event("first"), an_event("second"))
    expect(rows(page)).to_have_count(2)
    gateway.refusal = (503, "the log is away")
    gateway.cut()
    expect(page.locator("#quiet-line")).to_contain_text("Not connected: the log is away")
    gateway.publish(an_event("missed"))
    gateway.refusal = None
    page.get_by_role("button", name="Try now").click()
    expect(rows(page)).to_have_count(3)
    assert gateway.subscription()["from"] == "c1"
    expect(page.locator("#quiet-line")).to_contain_text("goes on where it stopped")


def test_rows_wait_while_the_list_is_scrolled(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    gateway.publish(*[an_event("old", event_id=f"e{number}") for number in range(150)])
    page = open_page()
    expect(page.locator("#row-150")).to_be_visible()
    page.locator("#scroller").evaluate("scroller => scroller.scrollTop = 480")
    expect(page.locator("#row-130")).to_be_visible()
    before = page.locator("#row-130").bounding_box()
    gateway.publish(an_event("new"), an_event("new"))
    expect(page.locator("#newer")).to_contain_text("2 new")
    assert page.locator("#row-130").bounding_box() == before
    assert rows(page).count() < 60
    page.click("#newer")
    expect(page.locator("#row-152")).to_be_visible()
    options = page.get_by_role("listbox", name="Events, newest first").get_by_role("option").all()
    assert [option.get_attribute("id") for option in options] == [f"row-{152 - n}" for n in range(len(options))]
    assert [option.get_attribute("aria-posinset") for option in options] == [str(n + 1) for n in range(len(options))]
    assert options[0].get_attribute("aria-setsize") == "152"
    expect(page.locator("#newer")).to_be_hidden()


def test_hostile_text_stays_text(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    data = {HOSTILE: HOSTILE, "__proto__": {"a": 1}, "constructor": None, "id": 12345678901234567890}
    data |= {"deep": json.loads("[" * 500 + "]" * 500), "long": "x" * 30_000, "many": list(range(3000))}
    message = an_event(HOSTILE, event_id="hostile", data=data, app_id=HOSTILE, user_id=HOSTILE)
    error = {"field": "unstruct_event", "schema": HOSTILE, "path": "/many/2500", "expected": HOSTILE, "got": HOSTILE}
    message |= {"validation": {"status": "invalid", "errors": [error]}, "source": {HOSTILE: HOSTILE}, "key": HOSTILE}
    message["payload"] |= {HOSTILE: HOSTILE, "cx": HOSTILE}
    gateway.publish(message)
    gateway.publish({"type": "gap", "from": 1, "to": 4, "count": 3, "reason": HOSTILE})
    page = open_page()
    expect(rows(page)).to_have_count(2)
    gateway.say("{no json")
    gateway.say(json.dumps({"type": "delivery", "of": "a later gateway"}))
    expect(rows(page)).to_have_count(3)
    expect(rows(page).filter(has_text="3 events missing here")).to_contain_text(HOSTILE_SHOWN)
    expect(rows(page).filter(has_text="could not be read")).to_be_visible()
    page.locator(".row.event").click()
    expect(page.locator("#details h2")).to_have_text(f"{HOSTILE_SHOWN}")
    expect(field(page, "id")).to_contain_text("12345678901234567890")
    expect(field(page, "2500").locator(".error-text")).to_contain_text(HOSTILE_SHOWN)
    for tab in ("entities", "payload", "source", "delivery", "user"):
        page.click(f"#tab-{tab}")
        expect(page.locator("#panel")).not_to_be_empty()
    expect(page.locator("#panel .user-event .name")).to_have_text(HOSTILE_SHOWN)
    page.get_by_role("button", name=re.compile("Only <img")).click()
    expect(page.locator(".chip")).to_contain_text(HOSTILE_SHOWN)
    assert page.locator("img, script:not([src]), iframe, #panel a").count() == 0


def test_what_is_copied_is_what_was_sent(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    message = an_event(data={"big": 12345678901234567890})
    message["payload"] |= {"e": "pv", "se_la": "it's \u202e $(x)"}
    gateway.publish(message)
    page = open_page()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    rows(page).click()

    def copied(label: str) -> str:
        page.evaluate("navigator.clipboard.writeText('')")
        page.get_by_role("button", name=label).click()
        page.wait_for_function("async () => await navigator.clipboard.readText() !== ''")
        text: str = page.evaluate("navigator.clipboard.readText()")
        return text

    assert json.loads(copied("Copy JSON")) == gateway.messages[0]
    assert json.loads(copied("Copy payload")) == message["payload"]
    assert copied("Copy curl").startswith("curl 'http://127.0.0.1:8080/com.snow")
    expect(page.locator("#quiet-line")).to_contain_text("http://127.0.0.1:8080 is a guess")
    gateway.ingest = "http://0.0.0.0:9090"
    with page.expect_response("**/v1/ingest"):
        page.reload()
    expect(page.locator("#details h2")).to_be_visible()
    assert 'Emitter("127.0.0.1", protocol="http", port=9090)' in copied("Copy Python")
    expect(page.locator("#quiet-line")).to_be_hidden()
    assert copied("Copy curl").startswith("curl 'http://127.0.0.1:9090/com.snow")
    body = re.search(r"--data-raw '([^']*)'$", copied("Copy curl"))
    assert body
    assert body[1].isascii()
    assert json.loads(body[1])["data"] == [message["payload"]]


def test_everything_is_reached_by_keyboard(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    gateway.publish(an_event("third"), an_event("second"), an_event("first"))
    page = open_page()
    expect(rows(page)).to_have_count(3)
    page.keyboard.press("j")
    page.keyboard.press("ArrowDown")
    expect(page.locator(".row.active .name")).to_have_text("second")
    page.keyboard.press("Enter")
    expect(page.locator("#details h2")).to_have_text("second")
    assert "selected=id-second" in page.url
    page.keyboard.press("k")
    expect(page.locator("#details h2")).to_have_text("first")
    page.keyboard.press("Escape")
    expect(page.locator("#details")).to_be_hidden()
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.locator("#help-dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#help-dialog")).to_be_hidden()


def test_clearing_empties_the_list_only(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    gateway.publish(an_event("old"))
    page = open_page()
    expect(rows(page)).to_have_count(1)
    page.click("#clear")
    expect(rows(page)).to_have_count(0)
    expect(page.locator("#empty")).to_contain_text("still on the log")
    gateway.publish(an_event("new"))
    expect(rows(page).locator(".name")).to_have_text("new")
    expect(page.locator("#empty")).to_be_hidden()


def test_empty_lists_teach(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    page = open_page()
    expect(page.locator("#empty")).to_contain_text(f"ws://127.0.0.1:{gateway.port}/v1/events")
    expect(page.locator("#empty")).to_contain_text("curl http://127.0.0.1:8080/tracking")
    expect(page.locator("#empty")).to_contain_text("if ingest is there")
    gateway.ingest = "https://events.example.com"
    page = open_page()
    expect(page.locator("#empty")).to_contain_text("curl https://events.example.com/tracking")
    gateway.publish(an_event())
    page = open_page("?app_id=other")
    expect(page.locator("#empty")).to_contain_text("No event matches")
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(rows(page)).to_have_count(1)


def test_an_unchecked_event_says_why(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    unchecked = {"validation": {"status": "unchecked", "errors": []}}
    bare = an_event(
        "bare", event="page_view", data={}, unstruct_event_com_acme_x_1=None, contexts_com_acme_service_1=None
    )
    gateway.publish(an_event("order") | unchecked, bare | unchecked | {"payload": {"e": "pv"}})
    page = open_page()
    rows(page).filter(has_text="order").click()
    expect(page.locator(".details-head")).to_contain_text("not every schema that it names was known")
    rows(page).filter(has_text="page_view").click()
    expect(page.locator(".details-head")).to_contain_text("It names no schema")


def test_a_refusal_is_told_with_its_reason(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    gateway.refusal = (400, "schema: 'x' is not an Iglu URI")
    page = open_page("?schema=x")
    expect(page.locator("#empty")).to_contain_text("schema: 'x' is not an Iglu URI")
    expect(page.locator("#status")).to_have_text("refused")


def test_a_token_never_stays_in_the_address(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    page = open_page("?app_id=shop#token=secret")
    expect(page.locator("#status")).to_contain_text("live")
    assert gateway.subscription()["token"] == "secret"
    assert page.url.endswith("/?app_id=shop")
    gateway.refusal = (401, "the token has expired")
    page.reload()
    expect(page.locator("#empty")).to_contain_text("the token has expired")
    gateway.refusal = None
    page.fill("[name=token]", "another")
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_contain_text("live")
    assert gateway.subscription()["token"] == "another"
    assert "another" not in page.url


def test_a_narrow_page_never_scrolls_sideways(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    gateway.publish(an_event("long_name_" * 30, data={"k" * 300: "v" * 3000}, user_id="u" * 300), an_invalid_event())
    gateway.tell(retrying(0, 1, attempts=12, error="e" * 500), collectors=[down("http://c.example/" + "c" * 300)])
    page = open_page(width=320, height=640)
    sideways = """[document.body, ...document.querySelectorAll('main, .list, .sheet, .bar, .strip')]
        .some(element => element.scrollWidth > element.clientWidth)"""
    expect(rows(page)).to_have_count(2)
    expect(page.locator("#legend")).to_contain_text("2 received")
    assert not page.evaluate(sideways)
    rows(page).filter(has_text="long_name").click()
    expect(page.locator("#details")).to_be_visible()
    for tab in ("event", "entities", "payload", "source", "delivery", "user"):
        page.click(f"#tab-{tab}")
        assert not page.evaluate(sideways)
    expect(page.locator("#panel .user-event")).to_have_count(1)
    assert not page.evaluate(sideways)
    page.keyboard.press("Escape")
    expect(page.locator("#details")).to_be_hidden()


def test_the_theme_follows_the_system_and_remembers_a_choice(
    gateway: PageServer, open_page: Callable[..., Page]
) -> None:
    page = open_page()
    background = "getComputedStyle(document.documentElement).backgroundColor"
    page.emulate_media(color_scheme="light")
    light = page.evaluate(background)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(background)
    assert light != dark
    page.get_by_role("button", name="Theme: system").click()
    assert page.evaluate(background) == light
    page.reload()
    assert page.evaluate(background) == light


def test_events_can_be_hidden_and_the_address_says_so(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    gateway.publish(an_event("order"), an_event("page_ping", event="page_ping"), an_event("order", event_id="o2"))
    page = open_page()
    rows(page).filter(has_text="page_ping").click()
    page.get_by_role("button", name="Hide", exact=True).click()
    expect(rows(page)).to_have_count(2)
    expect(page.locator(".chip")).to_contain_text("not event")
    assert len(gateway.subscriptions) == 1  # they leave the list in place
    gateway.publish(an_event("page_ping", event="page_ping", event_id="p2"), an_event("refund"))
    expect(rows(page)).to_have_count(3)
    page.keyboard.press("Escape")
    page.fill("#filter", "event_name!=order")
    page.keyboard.press("Enter")
    expect(rows(page).locator(".name")).to_have_text(["refund"])
    page.reload()
    expect(rows(page).locator(".name")).to_have_text(["refund"])
    page.get_by_role("button", name="Remove filter not event page_ping").click()
    expect(rows(page)).to_have_count(3)


def test_an_empty_list_says_which_part_of_the_filter_excludes(
    gateway: PageServer, open_page: Callable[..., Page]
) -> None:
    gateway.publish(*[an_event("order", event_id=f"e{n}", user_id=f"u-{n % 2}") for n in range(30)])
    page = open_page("?app_id=shop&app_id=other&user_id=u-1&event_name=refund&q=order")
    parts = page.locator("#empty .parts li")
    expect(parts.filter(has_text="app_id")).to_contain_text("lets 30 through")
    expect(parts.filter(has_text="user_id")).to_contain_text("lets 15 through")
    guilty = parts.filter(has_text="event_name")
    expect(guilty).to_contain_text("lets none through; without it 15 events would pass")
    expect(page.locator("#empty .parts .excludes")).to_have_count(1)
    guilty.get_by_role("button", name="Remove").click()
    expect(rows(page)).to_have_count(15)
    page = open_page("?hide=app_id%3Dshop")
    expect(page.locator("#empty .parts li")).to_contain_text("not app_idshoplets none through")


def test_an_empty_time_leads_back_to_live(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    gateway.publish(an_event())
    page = open_page("?from=2020-01-01T00:00:00Z&until=2020-01-01T00:30:00Z")
    expect(page.locator("#empty")).to_contain_text("No events in this time")
    page.locator("#empty").get_by_role("button", name="Back to live").click()
    expect(rows(page)).to_have_count(1)
