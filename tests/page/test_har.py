"""The HAR files of the page are those of the gateway, whatever was sent."""

import json
import re
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from support.page_server import PageServer, rows, saved

from snowbus.bus.envelope import encode_event
from snowbus.bus.event import EVENTS_TOPIC, Event, Record
from snowbus.bus.payload import dump_payload
from snowbus.consumers.gateway.frames import message_text
from snowbus.consumers.gateway.inspector_shapes import har_document, har_entry
from snowbus.consumers.reading import Reading

pytestmark = pytest.mark.browser

HOSTILE = '=cmd("x"), \u202e\n<img src=x onerror=alert(1)>'
DEEP = "[" * 60 + "]" * 60


def described(data: Any) -> str:
    return json.dumps({"schema": "iglu:a/outer/jsonschema/1-0-0", "data": data})


def inner(data: Any) -> dict[str, Any]:
    return {"schema": "iglu:a/inner/jsonschema/1-0-0", "data": data}


def base64(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode()


PAYLOADS: list[dict[str, str]] = [
    {"e": "pv", "url": "https://a/ü?b#c", "dl": "nowhere", "refr": "/any", "dtm": "1700000000123"},
    {"e": "pv", "url": "//x/y", "page": HOSTILE, HOSTILE: '{"schema":5,"data":1}', "__proto__": "x"},
    {"stm": "soon", "_gid": "x", "page": "there is no e", "a": DEEP, "b": "[" * 901, "c": '{"a": ["\u202e"]}'},
    {"e": "ue"},
    {"e": "ue", "ue_pr": "{", "cx": "not base64 ü", "co": "[]", "d": '{"schema":null,"data":null}'},
    {"e": "ue", "ue_pr": described(inner({"a": [HOSTILE, 12345678901234567890, DEEP, "ü" * 2000]}))},
    {"e": "ue", "ue_pr": described(inner(list(range(6000)))), "co": described([inner(1), inner("two")])},
    {
        "e": "ue",
        "ue_px": base64(described(5)),
        "cx": base64(described([inner({"schema": 5, "data": "ä🧀"}), inner(1)])),
    },
    {
        "e": "ue",
        "ue_px": base64("{"),
        "co": described([inner(1), 5]),
        "cx": base64(described([inner(json.loads(DEEP))])),
    },
    {"e": "pv", "co": "🧀" * 2000},
]


def test_the_page_and_the_gateway_write_the_same_har_file(gateway: PageServer, open_page: Callable[..., Page]) -> None:
    now = round(time.time() * 1000)
    events = [Event("", 0, text, {"user_agent": HOSTILE}) for text in [*map(dump_payload, PAYLOADS), "no payload"]]
    records = [
        Record(EVENTS_TOPIC, 0, offset, now + offset, b"", encode_event(event), ())
        for offset, event in enumerate(events)
    ]
    readings = [Reading(record) for record in records]
    gateway.publish(*(json.loads(message_text(b"event", b"c", reading.body())) for reading in readings))
    page = open_page("?from=earliest")
    expect(rows(page)).to_have_count(len(events))
    theirs = json.loads(saved(page, "HAR"))["log"]
    ours = json.loads(har_document([har_entry(each, None) for each in readings]))["log"]
    assert theirs.pop("creator") == {"name": "snowbus", "version": "test"}
    assert set(ours.pop("creator")) == {"name", "version"}
    for one, other in zip(theirs["entries"], ours["entries"], strict=True):
        assert sent_in(one) == sent_in(other)
    assert theirs == ours


def sent_in(entry: dict[str, Any]) -> dict[str, Any]:
    """Take out of an entry what was sent, with JSON read, which may be written in several ways."""
    request = entry["request"]
    body = request["postData"].pop("text")
    assert request.pop("bodySize") == len(body.encode())
    (payload,) = json.loads(body)["data"]
    for code in ("ue_pr", "ue_px", "co", "cx"):
        if text := payload.get(code):
            text = urlsafe_b64decode(text + "==").decode("ascii") if code in ("ue_px", "cx") else text
            payload[code] = json.loads(text, object_hook=alike)
    return alike(payload)


def alike(found: dict[str, Any]) -> dict[str, Any]:
    """Without the words of parsers, of which each has its own for what is wrong."""
    words = re.compile(r"(not (?:JSON|base64 of UTF-8 text))[^;]*")
    return found | {name: words.sub(r"\1", found[name]) for name in ("problem", "snowbus_changed") if name in found}
