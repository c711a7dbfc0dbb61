"""What a request says: every accepted event equals what was sent, every refused one has its bytes and a reason."""

import base64
import json
from typing import Any
from urllib.parse import quote_from_bytes, quote_plus

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.ingest import PAYLOAD_DATA, payload_data

from snowbus.bus.payload import dump_payload, load_payload
from snowbus.bus.tracker_protocol import EVENTS
from snowbus.producers.ingest.requests import KEPT_APART, Understood, parse_query, understand_body, understand_query

VERSION = "snowbus-test"
FULL = {"e": "pv", "eid": "e-1", "p": "web", "tv": "js-3", "aid": "shop"}

text = st.text(st.characters(codec=None), max_size=30)  # lone surrogates too
payloads = st.dictionaries(text, text, max_size=8).flatmap(
    lambda rest: st.sampled_from(sorted(EVENTS)).map(
        lambda e: {"tv": "js-3", "p": "web", "eid": "1", **{k: v for k, v in rest.items() if k not in FULL}, "e": e}
    )
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)


def body(raw: bytes, *, content_type: str = "application/json", query: bytes = b"", plain: bool = False) -> Understood:
    return understand_body(raw, content_type=content_type, query=query, tracker_version=VERSION, plain=plain)


def dumps(value: Any) -> bytes:
    """JSON with lone surrogates as the escapes that trackers send."""
    return json.dumps(value).encode()


def reasons(understood: Understood) -> list[str]:
    assert not understood.payloads
    return [each.sentence for each in understood.refused]


# Bodies


def test_the_events_of_a_payload_data_come_out_as_they_were_sent() -> None:
    events = [FULL, {**FULL, "e": "pp", "eid": "e-2", "co": '{"a":1.10}'}]
    assert body(payload_data(*events)) == Understood(events, [])


@given(st.lists(payloads, min_size=1, max_size=4))
def test_every_accepted_event_equals_what_was_sent(events: list[dict[str, str]]) -> None:
    understood = body(dumps({"schema": PAYLOAD_DATA, "data": events}))
    assert understood == Understood(events, [])
    assert [load_payload(dump_payload(payload)) for payload in understood.payloads] == events


@given(st.lists(json_values, min_size=1, max_size=5))
def test_every_event_is_accepted_or_refused_with_its_value_and_a_reason(events: list[Any]) -> None:
    understood = body(dumps({"schema": PAYLOAD_DATA, "data": events}))
    assert len(understood.payloads) + len(understood.refused) == len(events)
    for each in understood.refused:
        position = int(each.where.removeprefix("data[").removesuffix("]"))
        assert json.loads(each.value) == events[position]
        assert each.reason


@given(st.binary(max_size=200) | json_values.map(dumps), st.booleans(), st.binary(max_size=30))
def test_no_body_is_beyond_an_answer(raw: bytes, plain: bool, query: bytes) -> None:
    understood = body(raw, plain=plain, query=query)
    assert understood.payloads or understood.refused
    assert all(each.reason and isinstance(each.value, bytes) for each in understood.refused)


def test_what_a_tracker_leaves_out_is_filled_in() -> None:
    [payload] = body(payload_data({"e": "pv"})).payloads
    assert payload["tv"] == VERSION
    assert payload["p"] == "srv"
    assert len(payload["eid"]) == 36


@pytest.mark.parametrize(
    ("encode", "flavour"),
    [
        (base64.urlsafe_b64encode, "urlsafe, padded (Python)"),
        (lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"="), "urlsafe, unpadded (JavaScript)"),
        (base64.b64encode, "standard, padded (PHP)"),
    ],
)
def test_base64_is_kept_as_it_was_sent(encode: Any, flavour: str) -> None:
    encoded = encode('{"schema":"iglu:a/b/jsonschema/1-0-0","data":{"ü":"??>>"}}'.encode()).decode()
    event = {**FULL, "e": "ue", "ue_px": encoded, "cx": ""}
    assert body(payload_data(event)).payloads == [event], flavour


def test_of_a_repeated_key_the_last_counts() -> None:
    raw = b'{"schema":"%s","data":[{"e":"pv","e":"se","eid":"1","p":"web","tv":"t"}]}' % PAYLOAD_DATA.encode()
    assert body(raw).payloads == [{"e": "se", "eid": "1", "p": "web", "tv": "t"}]


def test_an_event_that_holds_more_than_strings_is_refused_alone_and_its_numbers_are_kept() -> None:
    number = "123456789012345678901234567890.10"
    raw = b'{"schema":"%s","data":[%s,{"e":"pv","n":%s},{"e":"pv","n":null}]}' % (
        PAYLOAD_DATA.encode(),
        orjson.dumps(FULL),
        number.encode(),
    )
    understood = body(raw)
    assert understood.payloads == [FULL]
    assert [each.sentence for each in understood.refused] == [
        "data[1]: n: must be a string, not a number",
        "data[2]: n: must be a string, not null",
    ]
    assert json.loads(understood.refused[0].value)["n"] == float(number)
    big = raw.replace(number.encode(), b"123456789012345678901234567890")
    assert b"123456789012345678901234567890" in body(big).refused[0].value


@pytest.mark.parametrize(
    ("raw", "kind", "reason"),
    [
        (b"", "not_json", "the body is empty"),
        (b"{", "not_json", "not JSON"),
        (b'{"schema": NaN}', "not_json", "NaN"),
        (b"\xff\xfe", "not_json", "not UTF-8: byte 0"),
        (b"[" * 100_000, "not_json", "not JSON"),
        (b"[]", "not_payload_data", "must be a self-describing JSON"),
        (b'{"data":[{}]}', "not_payload_data", "must be a self-describing JSON"),
        (b'{"schema":"iglu:a/b/jsonschema/1-0-0","data":[{}]}', "not_payload_data", "is not payload_data"),
        (payload_data(FULL, schema=PAYLOAD_DATA.replace("1-0-4", "2-0-0")), "not_payload_data", "is not payload_data"),
        (payload_data(), "not_payload_data", "must be a non-empty array"),
        (b'{"schema":"%s","data":{}}' % PAYLOAD_DATA.encode(), "not_payload_data", "must be a non-empty array"),
        (payload_data({}), "not_an_event", "e: is missing"),
        (payload_data({"e": "xx"}), "not_an_event", "e: 'xx' is unknown"),
        (payload_data("pv"), "not_an_event", "must be a JSON object, not a string"),
    ],
)
def test_a_body_that_is_not_understood_is_refused_with_the_reason(raw: bytes, kind: str, reason: str) -> None:
    understood = body(raw)
    assert reason in reasons(understood)[0]
    assert [each.kind for each in understood.refused] == [kind]


def test_every_payload_data_of_the_first_model_is_taken() -> None:
    for version in ("1-0-0", "1-0-4", "1-2-0"):
        assert body(payload_data(FULL, schema=PAYLOAD_DATA.replace("1-0-4", version))).payloads == [FULL]


def test_a_byte_order_mark_does_no_harm() -> None:
    assert body(b"\xef\xbb\xbf" + payload_data(FULL)).payloads == [FULL]


@pytest.mark.parametrize("depth", [200, 500, 900, 990, 1010, 5000])
def test_deep_nesting_is_refused_not_a_crash(depth: int) -> None:
    for value in (b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth):
        for plain in (False, True):
            understood = body(b'{"schema":"%s","data":[%s]}' % (PAYLOAD_DATA.encode(), value), plain=plain)
            assert reasons(understood)
        assert body(b'{"e":"pv","co":%s}' % value, plain=True)


def test_a_reason_is_short_however_long_what_was_sent() -> None:
    for raw in (payload_data({"e": "x" * 100_000}), payload_data({"k" * 100_000: 1})):
        assert len(reasons(body(raw))[0]) < 400


# Content types


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON;charset=UTF-8",
        'application/json; charset="utf-8"',
        "application/vnd.api+json",
        "text/plain;charset=UTF-8",
        "",
    ],
)
def test_json_is_taken_by_its_names_and_by_those_that_avoid_a_preflight(content_type: str) -> None:
    assert body(payload_data(FULL), content_type=content_type).payloads == [FULL]


@pytest.mark.parametrize(
    "content_type",
    ["application/x-www-form-urlencoded", "application/json; charset=utf-16", "text/html", "multipart/form-data", ";;"],
)
def test_other_content_types_are_refused(content_type: str) -> None:
    understood = body(payload_data(FULL), content_type=content_type)
    assert "content type" in reasons(understood)[0]
    assert understood.refused[0] == understood.refused[0]._replace(kind="content_type", value=payload_data(FULL))


# Query strings


@given(payloads)
def test_an_event_in_a_query_string_equals_what_was_sent(event: dict[str, str]) -> None:
    event = {
        name.encode("utf-8", "replace").decode(): text.encode("utf-8", "replace").decode()
        for name, text in event.items()
    }
    query = "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in event.items()).encode()
    assert understand_query(query, tracker_version=VERSION) == Understood([event], [])


@given(st.binary(max_size=60))
def test_bytes_that_are_not_utf_8_are_kept(value: bytes) -> None:
    query = b"e=pv&eid=1&p=web&tv=t&page=" + quote_from_bytes(value).encode()
    [payload] = understand_query(query, tracker_version=VERSION).payloads
    assert load_payload(dump_payload(payload)).get("page", "").encode("utf-8", "surrogateescape") == value


@given(st.binary(max_size=200))
def test_no_query_string_is_beyond_an_answer(query: bytes) -> None:
    understood = understand_query(query, tracker_version=VERSION)
    assert len(understood.payloads) + len(understood.refused) == 1
    assert all(each.reason and each.value == query for each in understood.refused)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"page=a+b%20c%2B", {"page": "a b c+"}),
        (b"page=caf%C3%A9", {"page": "café"}),
        (b"page=caf\xc3\xa9", {"page": "café"}),
        (b"page=%zz%", {"page": "%zz%"}),
        (b"cx=&flag&&=x", {"cx": "", "flag": "", "": "x"}),
        (b"a=1&a=2", {"a": "2"}),
        (b"url=http%3A%2F%2Fx%2F%3Fa%3Db%26c&ue_px=eyJ=", {"url": "http://x/?a=b&c", "ue_px": "eyJ="}),
    ],
)
def test_query_strings_are_read_as_forms_are(query: bytes, expected: dict[str, str]) -> None:
    assert parse_query(query) == expected


def test_an_empty_query_string_is_no_event() -> None:
    assert "empty" in reasons(understand_query(b"", tracker_version=VERSION))[0]


def test_parameters_of_the_query_string_are_merged_into_every_event_and_win() -> None:
    understood = body(payload_data(FULL, {**FULL, "aid": "other"}), query=b"aid=kiosk&cs=UTF-8")
    assert understood.payloads == [{**FULL, "aid": "kiosk", "cs": "UTF-8"}] * 2


# Plain events


def test_a_plain_event_is_taken_where_they_are() -> None:
    assert body(b'{"e":"se","se_va":1.5,"eid":"1","p":"web","tv":"t"}', plain=True).payloads == [
        {"e": "se", "se_va": "1.5", "eid": "1", "p": "web", "tv": "t"}
    ]


def test_an_array_of_plain_events_is_taken_each_for_itself() -> None:
    understood = body(b'[{"event":"page_view","page_url":"http://x/"},{"what":1},7]', plain=True)
    assert [payload["url"] for payload in understood.payloads] == ["http://x/"]
    assert [(each.where, each.value) for each in understood.refused] == [("[1]", b'{"what":1}'), ("[2]", b"7")]


def test_a_payload_data_is_taken_among_plain_events_too() -> None:
    assert body(payload_data(FULL), plain=True).payloads == [FULL]


def test_a_plain_event_that_is_refused_is_kept_as_it_came() -> None:
    raw = b'{"what": 1.0}'
    understood = body(raw, plain=True)
    assert [each.value for each in understood.refused] == [raw]
    assert "empty" in reasons(body(b"[]", plain=True))[0]


@pytest.mark.parametrize("plain", [True, False])
def test_of_very_many_refused_events_the_first_are_kept_apart(plain: bool) -> None:
    """What is kept of the others does not grow with them: a body of numbers holds half a million."""
    numbers = [*range(KEPT_APART + 500)]
    understood = body(dumps(numbers if plain else {"schema": PAYLOAD_DATA, "data": numbers}), plain=plain)
    assert len(understood.refused) == len(numbers)
    assert [each.value for each in understood.refused[:KEPT_APART]] == [b"%d" % number for number in range(KEPT_APART)]
    assert len({id(each) for each in understood.refused[KEPT_APART:]}) == 1
