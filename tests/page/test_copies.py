"""Events taken out of the page: as calls of a tracker."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import snowplow_tracker
from playwright.sync_api import Page, expect
from support.page_server import Message, PageServer, an_event, rows

pytestmark = pytest.mark.browser

TRICKY = 'it\'s """ \\ {x} \n \u202e 😀 ${y} #\ud800'


class Recorder:
    """Stands for the tracker's emitter, and keeps what it is given."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.payloads: list[dict[str, Any]] = []
        recorders.append(self)

    def input(self, payload: dict[str, Any]) -> None:
        self.payloads.append(dict(payload))

    def flush(self) -> None: ...

    def sync_flush(self) -> None: ...


recorders: list[Recorder] = []


def sent_by(page: Page, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The payload that the copied program sends."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate("navigator.clipboard.writeText('')")
    page.get_by_role("button", name="Copy Python").click()
    page.wait_for_function("async () => await navigator.clipboard.readText() !== ''")
    program: str = page.evaluate("navigator.clipboard.readText()")
    assert program.isascii()
    recorders.clear()
    monkeypatch.setattr(snowplow_tracker, "Emitter", Recorder)
    exec(compile(program, "copied", "exec"), {})  # noqa: S102 - it is what a user does with it
    (payload,) = recorders[0].payloads
    return payload


def with_payload(**payload: str) -> Message:
    message = an_event()
    return {**message, "payload": payload}


def test_a_self_describing_event_is_copied_as_a_call_of_the_python_tracker(
    gateway: PageServer, open_page: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = {TRICKY: [TRICKY, None, True, 1.5, 12345678901234567890, {}, []]}
    event = {"schema": "iglu:com.acme/order/jsonschema/1-0-0", "data": data}
    entity = {"schema": "iglu:com.acme/service/jsonschema/1-0-0", "data": {"name": TRICKY}}
    payload = {
        "e": "ue",
        "aid": TRICKY,
        "p": "srv",
        "uid": "u-1",
        "ue_pr": json.dumps({"schema": "iglu:u/unstruct_event/jsonschema/1-0-0", "data": event}),
        "co": json.dumps({"schema": "iglu:c/contexts/jsonschema/1-0-1", "data": [entity]}),
    }
    gateway.publish(with_payload(**payload))
    page = open_page()
    rows(page).click()
    sent = sent_by(page, monkeypatch)
    assert {name: sent[name] for name in ("e", "aid", "p", "uid")} == {
        name: payload[name] for name in sent if name in ("e", "aid", "p", "uid")
    }
    assert json.loads(sent["ue_pr"])["data"] == event
    assert json.loads(sent["co"])["data"] == [entity]


def test_other_types_are_calls_too_as_far_as_the_tracker_has_them(
    gateway: PageServer, open_page: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    payloads = [
        {"e": "pv", "url": "https://shop.example/a?b='c'", "page": "A", "refr": "https://shop.example/"},
        {"e": "se", "se_ca": "shop", "se_ac": "add", "se_la": "x", "se_pr": "y", "se_va": "2.5"},
        {"e": "pp", "url": "https://shop.example/", "pp_miy": "10", "pp_may": "90"},
    ]
    gateway.publish(*[with_payload(**payload) for payload in payloads])
    page = open_page()
    for number, payload in enumerate(payloads, 1):
        page.locator(f"#row-{number}").click()
        sent = sent_by(page, monkeypatch)
        assert {name: str(sent[name]) for name in payload} == payload
    gateway.publish(with_payload(e="tr", tr_id="1"))
    page.locator("#row-4").click()
    page.evaluate("navigator.clipboard.writeText('')")
    page.get_by_role("button", name="Copy Python").click()
    page.wait_for_function("async () => (await navigator.clipboard.readText()).includes('no call for events')")
    expect(page.locator("#announcer")).to_have_text("Copied Python")
