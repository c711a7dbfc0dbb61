"""Events saved as files, and files looked at."""

import csv
import io
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from support.page_server import Message, PageServer, an_event, rows, saved

from snowbus.bus.canonical import canonical_view, decode
from snowbus.bus.event import Event
from snowbus.bus.payload import UNSTRUCT_EVENT_SCHEMA, dump_payload
from snowbus.consumers.gateway.inspector import safe_text
from snowbus.consumers.gateway.tables import csv_row, csv_table

pytestmark = pytest.mark.browser

HOSTILE = '=cmd("x"), \u202e\n<img src=x onerror=alert(1)>'
ORDER = {"schema": "iglu:com.acme/addToCart/jsonschema/2-0-1", "data": {"total": "two", "items": [1, {"a": None}]}}
PAYLOADS: list[dict[str, str]] = [
    {
        "e": "pv",
        "tv": "js-4",
        "p": "web",
        "url": "https://a/b",
        "res": "80x60",
        "vid": "3",
        "f_pdf": "1",
        "dtm": "1700000000123",
    },
    {
        "e": "ue",
        "p": "srv",
        "aid": "a",
        "ue_pr": json.dumps({"schema": UNSTRUCT_EVENT_SCHEMA, "data": ORDER}),
        "uid": "u-1",
    },
    {
        "e": "ue",
        "ue_px": urlsafe_b64encode(json.dumps({"schema": UNSTRUCT_EVENT_SCHEMA, "data": ORDER}).encode()).decode(),
    },
    {"e": "se", "se_ca": "c", "se_va": "1,5", "tnuid": "n", "nuid": "m", "eid": "5A1B2C3D-0000-4000-8000-000000000000"},
    {
        "e": "tr",
        "tr_tt": "12.50",
        "co": json.dumps({"schema": "iglu:c/contexts/jsonschema/1-0-0", "data": [ORDER, ORDER]}),
    },
    {"e": "xx", "p": "moon", "cx": "no base64", "dtm": "-1", "cookie": "yes", "vp": "1x"},
    {"e": "ue", "ue_pr": "{no json"},
    {
        "e": "pv",
        "ip": "10.0.0.1, 10.0.0.2",
        "tid": "+5",
        "vid": "null",
        "vp": "-1x2",
        "ttm": "1e3",
        "dtm": "-62135596800001",
    },
]


def open_file(page: Page, name: str, text: str) -> None:
    file: Any = {"name": name, "mimeType": "text/plain", "buffer": text.encode()}
    page.set_input_files("#file", files=[file])


def test_the_list_is_saved_as_it_is_shown(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    payload = {"e": "pv", "url": "/relative?x=1", "ue_pr": "{no json", "cx": "", "aid": HOSTILE}
    gateway.publish(
        an_event("hidden"),
        {**an_event("order", user_id=HOSTILE), "payload": payload},
        an_event("refund", app_id="back-office", se_value=-2.5, data={"sku": "A-113", "big": 12345678901234567890}),
    )
    page = open_page("?hide=event_name%3Dhidden")
    expect(rows(page)).to_have_count(2)
    expect(rows(page).filter(has_text="refund")).to_contain_text("big 12345678901234567890")
    lines = saved(page, "NDJSON").splitlines()
    assert [json.loads(line) for line in lines] == gateway.messages[1:]
    text = saved(page, "CSV")
    order, refund = csv.DictReader(io.StringIO(text))
    assert order["user_id"] == f"'{safe_text(HOSTILE)}"  # no formula
    assert (refund["app_id"], refund["se_value"], refund["validation"]) == ("back-office", "-2.5", "valid")
    assert refund["unstruct_event_com_acme_x_1"] == '{"sku":"A-113","big":12345678901234567890}'
    entries = json.loads(saved(page, "HAR"))["log"]["entries"]
    assert [entry["response"]["status"] for entry in entries] == [200, 200]
    (sent,) = json.loads(entries[0]["request"]["postData"]["text"])["data"]
    assert sent["url"] == "https://host-unknown.invalid/relative?x=1"
    rows_of_gateway = [csv_row(message["event"], "valid", ()) for message in gateway.messages[1:]]
    assert text.encode() == csv_table(rows_of_gateway).replace(b"\r\n", b"\n")  # as they are read here


def test_payloads_are_decoded_as_the_bus_decodes_them(open_page: Callable[..., Page]) -> None:
    page = open_page()
    shown = page.evaluate(
        "async payloads => { const { decode } = await import('./decode.js'); return payloads.map(decode); }", PAYLOADS
    )
    for payload, result in zip(PAYLOADS, shown, strict=True):
        view = canonical_view(Event(event_id="", ingest_tstamp=0, payload=dump_payload(payload)))
        del view["collector_tstamp"]
        if "eid" not in payload:
            del view["event_id"]
        assert result["event"] == view
        problems = decode(payload).problems
        assert [error["field"] for error in result["errors"]] == [problem.field for problem in problems]
        assert [error["expected"] for error in result["errors"]] == [problem.expected for problem in problems]


def test_a_har_file_is_looked_at_offline_and_left_again(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    gateway.publish(an_event("live"))
    page = open_page()
    expect(rows(page)).to_have_count(1)
    post = {"method": "POST", "url": "https://c/tp2", "headers": [{"name": "User-Agent", "value": HOSTILE}]}
    post |= {
        "postData": {
            "text": json.dumps(
                {"schema": "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4", "data": PAYLOADS[:2]}
            )
        }
    }
    get = {"method": "GET", "url": "https://c/i?e=pv&tv=js-4&url=https%3A%2F%2Fshop.example%2Fcart"}
    entries = [
        {"startedDateTime": f"2026-01-02T03:04:0{n}.000Z", "request": r, "response": {"status": 200}}
        for n, r in enumerate((post, get, {"method": "GET", "url": "https://c/logo.png"}))
    ]
    open_file(page, "session.har", json.dumps({"log": {"entries": entries}}))
    expect(page.locator("#file-banner")).to_contain_text("session.har, 3 events; 1 other entries left out")
    expect(page.locator("#status")).to_have_text("a file")
    expect(rows(page)).to_have_count(3)
    gateway.publish(an_event("meanwhile"))
    rows(page).filter(has_text="addToCart").click()
    expect(page.locator("#details h2")).to_have_text("addToCart")
    expect(page.locator("#panel")).to_contain_text("total")
    page.click("#tab-user")
    expect(page.locator("#panel .user-event")).to_have_count(1)
    page.click("#tab-source")
    expect(page.locator("#panel")).to_contain_text("https://c/tp2")
    page.fill("#search", "/cart")
    expect(rows(page)).to_have_count(1)
    assert len(gateway.subscriptions) == 1
    page.fill("#search", "")
    page.get_by_role("button", name="Back to the stream").click()
    expect(rows(page)).to_have_count(2)
    expect(page.locator("#file-banner")).to_be_hidden()


def bad_row() -> Message:
    report = {"message": "$.total: string found, integer expected", "path": "$.total", "keyword": "type", "targets": []}
    failure = {"schemaKey": ORDER["schema"], "error": {"error": "ValidationError", "dataReports": [report]}}
    data = {
        "processor": {"artifact": "snowplow-stream-enrich", "version": "4"},
        "failure": {"timestamp": "2026-01-02T03:04:05Z", "messages": [failure]},
        "payload": {"enriched": {}, "raw": {"parameters": [{"name": n, "value": v} for n, v in PAYLOADS[1].items()]}},
    }
    return {"schema": "iglu:com.snowplowanalytics.snowplow.badrows/schema_violations/jsonschema/2-0-0", "data": data}


def test_bad_rows_payloads_messages_and_dead_letters_can_be_looked_at(open_page: Callable[..., Page]) -> None:
    page = open_page()
    letter = {k: v for k, v in an_event("letter").items() if k != "type"} | {"reason": "refused", "group": "g"}
    lines = [bad_row(), PAYLOADS[0], an_event("message"), letter, {"nothing": 1}]
    open_file(page, "lines.ndjson", "\n".join([*map(json.dumps, lines), "{no json"]))
    expect(page.locator("#file-banner")).to_contain_text("4 events; 2 other entries left out")
    expect(rows(page)).to_have_count(4)
    rows(page).filter(has_text="addToCart").click()
    expect(page.locator("#panel .error-text")).to_have_text("expected integer, got string")
    rows(page).filter(has_text="letter").click()
    page.click("#tab-source")
    expect(page.locator("#panel")).to_contain_text("refused")


def test_what_is_saved_can_be_looked_at_again(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    error = {"field": "user_id", "schema": "", "path": "", "expected": "fewer letters", "got": "too many"}
    gateway.publish(an_event("order"), an_event("refund") | {"validation": {"status": "invalid", "errors": [error]}})
    page = open_page()
    expect(rows(page)).to_have_count(2)
    for format_ in ("NDJSON", "HAR"):
        open_file(page, "again", saved(page, format_))
        expect(page.locator("#file-banner")).to_contain_text("2 events")
        expect(rows(page).locator(".validity.valid, .validity.invalid")).to_have_count(2)
        page.get_by_role("button", name="Back to the stream").click()
        expect(rows(page)).to_have_count(2)


def test_events_without_a_time_are_shown_without_one(open_page: Callable[..., Page]) -> None:
    page = open_page()
    schema = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"
    data = [{"e": "pv", "tv": "js-4", "uid": "u-1", "url": f"https://a/{n}"} for n in range(2)]
    open_file(page, "no-times.json", json.dumps({"schema": schema, "data": data}))
    expect(rows(page).locator(".time")).to_have_text(["no time", "no time"])
    expect(page.locator("#strip-title")).to_have_text("No times")
    expect(page.locator("#legend")).to_contain_text("2 received")
    rows(page).first.click()
    for tab in ("event", "source", "delivery", "user"):
        page.click(f"#tab-{tab}")
        expect(page.locator("#panel")).not_to_be_empty()
    expect(page.locator("#panel .user-event")).to_have_count(2)
    assert "NaN" not in page.locator("body").inner_text()


def test_a_file_without_events_is_told(open_page: Callable[..., Page]) -> None:
    page = open_page()
    open_file(page, f"{HOSTILE[:20]}.har", '{"log": {"entries": []}}')
    expect(page.locator("#quiet-line")).to_contain_text("was not opened: it holds no events")
    expect(page.locator("#status")).to_contain_text("live")


def test_a_hostile_file_stays_text(open_page: Callable[..., Page]) -> None:
    page = open_page()
    payload = {"e": HOSTILE, "url": HOSTILE, "uid": HOSTILE, "ue_pr": HOSTILE, "__proto__": HOSTILE}
    bad = {"schema": "iglu:com.snowplowanalytics.snowplow.badrows/x/jsonschema/1-0-0", "data": {"failure": HOSTILE}}
    odd = [{"event": None}, {"event": {"user_id": {}, "event": []}, "payload": 5}, {"e": "pv", "co": "[1]", "tv": "1"}]
    open_file(page, f"{HOSTILE[:12]}.ndjson", "\n".join(json.dumps(line) for line in [payload, bad, *odd, 5, [], None]))
    expect(rows(page)).to_have_count(5)
    for number in range(5):
        rows(page).nth(number).click()
        for tab in ("event", "entities", "payload", "source", "user"):
            page.click(f"#tab-{tab}")
            expect(page.locator("#panel")).not_to_be_empty()
    for format_ in ("NDJSON", "CSV", "HAR"):
        assert saved(page, format_)
    assert page.locator("img, iframe, #panel a").count() == 0
