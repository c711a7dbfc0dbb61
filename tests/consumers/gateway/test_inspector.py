"""What the Snowplow Inspector is given of an event: whatever was sent, it can be drawn, and it can be recognised."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.inspector import check_payload, check_view
from support.node import run_node

from snowbus.bus.canonical import canonical_view
from snowbus.bus.event import Event
from snowbus.bus.payload import dump_payload
from snowbus.consumers.gateway.absolute_urls import absolute_url, is_absolute
from snowbus.consumers.gateway.inspector import CHANGED, safe_payload, safe_text, safe_view

DESCRIBED = {"schema": "iglu:com.acme/cart/jsonschema/1-0-0", "data": {"sku": "ä"}}


def outer(data: Any, schema: Any = "iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0") -> str:
    return json.dumps({"schema": schema, "data": data})


def base64(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode()


def deep(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


HOSTILE_JSON = [
    "",
    "{",
    "null",
    "5",
    '"text"',
    "[]",
    "{}",
    outer(None),
    outer(5),
    outer([]),
    outer([None]),
    outer({"schema": 5, "data": 1}),
    outer({"schema": None}),
    outer(DESCRIBED, 7),
    outer({**DESCRIBED, "data": deep(500)}),
    outer({**DESCRIBED, "data": {"schema": {"a": 1}, "data": []}}),
    outer({**DESCRIBED, "data": {"text": '{"schema":5,"data":1}'}}),
    outer({**DESCRIBED, "data": {"text": "a\x00b\u202ec\ud800"}}),
    outer({**DESCRIBED, "data": list(range(20_000))}),
    "[" * 100_000,
    "\ud800",
    "not base64 ü",
]
TEXTS = st.one_of(
    st.text(alphabet=st.characters(), max_size=30),
    st.sampled_from([*HOSTILE_JSON, "/checkout", "//x/y", "http://", "http://a:99999/", "1e9", "-1", "9" * 30]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["schema", "data", "a"]), inner),
        max_leaves=12,
    ).map(json.dumps),
)
CODES = st.sampled_from(
    ["url", "dl", "refr", "page", "dtm", "stm", "ttm", "_gid", "ue_pr", "co", "tid", "t", "cid", "v", "se_va", "aid"]
)
PAYLOADS = st.builds(
    lambda known, encoded, unknown, event: {**unknown, **known, **encoded, "e": event},
    st.dictionaries(CODES, TEXTS),
    st.dictionaries(
        st.sampled_from(["ue_px", "cx"]), TEXTS.map(lambda text: base64(text.encode("utf-8", "replace").decode()))
    ),
    st.dictionaries(st.text(max_size=5), TEXTS, max_size=2),
    st.sampled_from(["ue", "pv", "se", "constructor"]),
)


@given(PAYLOADS)
def test_whatever_was_sent_can_be_drawn(payload: dict[str, str]) -> None:
    check_payload(json.loads(json.dumps(safe_payload(payload))))


@given(PAYLOADS, st.dictionaries(st.sampled_from(["ip", "user_agent", "referer"]), TEXTS))
def test_whatever_was_sent_has_a_view_that_can_be_drawn(payload: dict[str, str], source: dict[str, str]) -> None:
    event = Event("1", 1_700_000_000_000, dump_payload(payload), source)
    check_view(json.loads(json.dumps(safe_view(canonical_view(event)))))


def test_what_is_safe_is_given_as_it_was_sent() -> None:
    payload = {
        "e": "ue",
        "url": "https://shop.example/a?b=ä#c",
        "dtm": "1700000000000",
        "page": "Käse 🧀 \u200d",
        "ue_pr": '{"schema":"iglu:a/b/jsonschema/1-0-0","data":{"schema":"iglu:c/d/jsonschema/1-0-0","data":[1.5]}}',
        "cx": "",
        "note": '{"a": [1, "two"]}',
    }
    assert safe_payload(payload) == payload


def test_base64_is_written_anew_so_that_every_reader_of_it_reads_the_same() -> None:
    safe = safe_payload({"e": "ue", "ue_px": base64(outer(DESCRIBED))})
    written = urlsafe_b64decode(safe["ue_px"] + "==").decode("ascii")
    assert json.loads(written) == json.loads(outer(DESCRIBED))
    assert CHANGED not in safe


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ({"url": "/checkout?step=2"}, {"url": "https://host-unknown.invalid/checkout?step=2"}),
        ({"url": "***"}, {"url": "https://host-unknown.invalid/***"}),
        ({"dtm": "yesterday"}, {}),
        ({"page": "a\x07b\u202ec\n"}, {"page": r"a\u0007b\u202ec\n"}),
        ({"page": '{"schema":5,"data":1}'}, {"page": 'JSON: {"schema":5,"data":1}'}),
    ],
)
def test_what_was_changed_can_be_recognised_and_is_told(sent: dict[str, str], shown: dict[str, str]) -> None:
    safe = safe_payload(sent)
    assert safe.pop(CHANGED).startswith(next(iter(sent)))
    assert safe == shown


@pytest.mark.parametrize("code", ["ue_pr", "ue_px", "co", "cx"])
@pytest.mark.parametrize(
    "sent", [text for text in HOSTILE_JSON if text and not text.startswith('{"schema": "iglu:com')]
)
def test_what_is_no_self_describing_json_becomes_one_that_says_so(code: str, sent: str) -> None:
    safe = safe_payload({"e": "pv", code: sent})
    text = urlsafe_b64decode(safe[code] + "==").decode() if code in ("ue_px", "cx") else safe[code]
    inner = json.loads(text)["data"]
    inner = inner[0] if isinstance(inner, list) else inner
    assert inner["schema"] == "iglu:dev.snowbus/not_self_describing/jsonschema/1-0-0"
    assert inner["data"]["parameter"] == code
    assert inner["data"]["sent"].startswith(f"text: {safe_text(sent[:20])}")
    assert code in safe[CHANGED]


def test_a_self_describing_event_without_one_gets_one() -> None:
    check_payload(safe_payload({"e": "ue"}))
    check_payload(safe_payload({"e": "ue", "ue_pr": "", "ue_px": ""}))


URLS = [
    "https://shop.example/a b?c=d#e",
    "http://127.0.0.1:8080/",
    "http://[::1]:1/",
    "file:///index.html",
    "app://localhost/x",
    "android-app://com.acme.shop/",
    "about:blank",
    "localhost:3000/x",
    "HTTPS://SHOP.example./",
    "http://a_b.example:65535",
]
NO_URLS = [
    "",
    "/a",
    "a/b",
    "//a/b",
    "http://",
    "http:///",
    "https://a b/",
    "http://1.2.3.400/",
    "http://a:99999/",
    "http://[::/",
    "http://a%00/",
    "http://xn--a/",
    "app://a b/",
    "app://:80/",
    "C:\\page.html",
    "***",
]


def test_urls_are_told_from_what_is_none() -> None:
    assert [url for url in URLS if not is_absolute(url)] == []
    assert [url for url in NO_URLS if is_absolute(url)] == []


@given(st.text(max_size=20))
@example("https://x")
def test_what_is_made_of_any_text_is_absolute(text: str) -> None:
    assert is_absolute(absolute_url(text))


@pytest.mark.node
def test_a_browser_takes_every_url_that_is_given(tmp_path: Path) -> None:
    hosts = [
        "a",
        "a.b",
        "1",
        "a.1",
        "0x",
        "0x7f.1",
        "1.2.3.4",
        "1.2.3.400",
        "[::1]",
        "[1]",
        "a..b",
        "-a",
        "a:1",
        "a:",
        ":1",
    ]
    hosts += [
        "a@b",
        "a%41",
        "a_b",
        "xn--a",
        "ä",
        "a^b",
        "a|b",
        "a b",
        "",
        ".",
        "a.",
        "1.2.3.4.",
        "a\\b",
        "a<b",
        "[::ffff:1.2.3.4]",
    ]
    schemes = ["http", "https", "ws", "ftp", "file", "app", "HTTP", "a+b-c.d", "1a", "javascript", "data", "blob"]
    separators = [":", ":/", "://", ":///", "", ":\\\\", ":\\"]
    tails = ["", "/", "/%zz", "?q", "#f", "\\x", "/a b\\ü", "/..//"]
    texts = [f"{a}{b}{c}{d}" for a in schemes for b in separators for c in hosts for d in tails]
    texts += [chr(point) + rest for point in range(0x20, 0x2FF) for rest in ("", ":a", "://a", "/a")]
    texts += [f"http://a{chr(point)}b/" for point in range(0x20, 0x2FF)]
    file = tmp_path / "urls.json"
    given_urls = [absolute_url(safe_text(text)) for text in [*URLS, *NO_URLS, *texts]]
    file.write_text(json.dumps(given_urls))
    taken = run_node("urls.cjs", str(file))
    assert [url for url, pathname in zip(given_urls, taken, strict=True) if pathname is None] == []
