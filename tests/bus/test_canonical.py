"""The canonical view."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snowbus.bus.canonical import canonical_view, decode
from snowbus.bus.event import Event
from snowbus.bus.payload import dump_payload
from snowbus.bus.tracker_protocol import BY_CODE, TEXT, timestamp_from_ms

any_text = st.text(st.characters(codec=None, exclude_categories=()))
codes = st.sampled_from([*BY_CODE, "ue_pr", "ue_px", "co", "cx"])
UNSTRUCT = "iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0"
CONTEXTS = "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-1"


def view(payload, **source):
    return canonical_view(Event("id", 1_700_000_000_000, dump_payload(payload), source))


def test_an_event_reads_as_the_analytics_sdks_give_it():
    payload = {
        "e": "ue",
        "p": "web",
        "aid": "shop",
        "eid": "C6EF3124-B53A-4B13-A233-0088F79DCBCB",
        "dtm": "1700000000123",
        "vid": "7",
        "res": "1280x720",
        "cookie": "1",
        "ue_pr": json.dumps(
            {"schema": UNSTRUCT, "data": {"schema": "iglu:com.acme/addToCart/jsonschema/2-0-1", "data": {"sku": "A"}}}
        ),
        "co": json.dumps(
            {
                "schema": CONTEXTS,
                "data": [
                    {"schema": "iglu:com.acme.web/product/jsonschema/1-0-0", "data": {"n": 1}},
                    {"schema": "iglu:com.acme.web/product/jsonschema/1-0-3", "data": {"n": 2}},
                ],
            }
        ),
    }
    assert view(payload, ip="192.0.2.1", user_agent="curl") == {
        "event": "unstruct",
        "platform": "web",
        "app_id": "shop",
        "event_id": "c6ef3124-b53a-4b13-a233-0088f79dcbcb",
        "dvce_created_tstamp": "2023-11-14T22:13:20.123Z",
        "collector_tstamp": "2023-11-14T22:13:20.000Z",
        "domain_sessionidx": 7,
        "dvce_screenwidth": 1280,
        "dvce_screenheight": 720,
        "br_cookies": True,
        "user_ipaddress": "192.0.2.1",
        "useragent": "curl",
        "event_vendor": "com.acme",
        "event_name": "addToCart",
        "event_format": "jsonschema",
        "event_version": "2-0-1",
        "unstruct_event_com_acme_add_to_cart_2": {"sku": "A"},
        "contexts_com_acme_web_product_1": [{"n": 1}, {"n": 2}],
    }


@pytest.mark.parametrize(
    ("code", "name", "text", "value"),
    [
        ("se_va", "se_value", "12.50", 12.5),
        ("ev_ca", "se_category", "legacy", "legacy"),
        ("ti_qu", "ti_quantity", "-3", -3),
        ("f_pdf", "br_features_pdf", "0", False),
        ("ttm", "true_tstamp", "0", "1970-01-01T00:00:00.000Z"),
        ("ttm", "true_tstamp", "-1", "1969-12-31T23:59:59.999Z"),
        ("vid", "domain_sessionidx", "+7", 7),
        ("ip", "user_ipaddress", "2001:db8::1", "2001:db8::1"),
        ("ip", "user_ipaddress", "192.0.2.1, 198.51.100.7", "192.0.2.1"),
        ("ip", "user_ipaddress", "unknown", "unknown"),
    ],
)
def test_each_kind_of_parameter_gets_its_type(code, name, text, value):
    decoded = decode({"e": "se", code: text})
    assert decoded.fields[name] == value
    assert not decoded.problems


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("se_va", "12,50"),
        ("se_va", "NaN"),
        ("se_va", "1e999999"),
        ("vid", "7.0"),
        ("vid", "٣"),
        ("dtm", "yesterday"),
        ("dtm", "999999999999999"),
        ("eid", "1234"),
        ("eid", "{c6ef3124-b53a-4b13-a233-0088f79dcb}"),
        ("res", "1280"),
        ("cookie", "true"),
        ("res", "-1x2"),
        ("vp", "+1x2"),
        ("dtm", "-99999999999999"),
        ("tid", "++1"),
        ("p", "fridge"),
    ],
)
def test_a_value_of_the_wrong_type_stays_as_sent_and_is_told(code, text):
    decoded = decode({"e": "se", code: text})
    name = BY_CODE[code].names[0]
    assert decoded.fields[name] == text
    assert [(problem.field, problem.got) for problem in decoded.problems] == [(name, text)]


@pytest.mark.parametrize(
    "payload",
    [
        {"e": "ue"},
        {"e": "ue", "ue_px": "!!!"},
        {"e": "ue", "ue_pr": "{"},
        {"e": "ue", "ue_pr": json.dumps({"schema": UNSTRUCT, "data": {"schema": "com.acme/x", "data": {}}})},
        {"e": "pv", "co": json.dumps({"schema": CONTEXTS, "data": {}})},
        {"e": "pv", "co": json.dumps({"schema": CONTEXTS, "data": [1]})},
    ],
)
def test_what_is_not_self_describing_is_a_problem_and_no_more(payload):
    assert decode(payload).problems
    assert view(payload)["event_id"] == "id"


@pytest.mark.parametrize("nothing", ["", "null", "NULL"])
def test_an_empty_parameter_is_no_parameter_nor_a_number_that_is_null(nothing):
    decoded = decode({"e": "pv", "cx": "", "vid": nothing, "se_va": nothing})
    assert not decoded.problems
    assert not {"domain_sessionidx", "se_value"} & decoded.fields.keys()


def test_tnuid_overrides_nuid_and_both_override_the_cookie():
    assert view({"e": "pv", "nuid": "n", "tnuid": "t"}, network_userid="c")["network_userid"] == "t"
    assert view({"e": "pv", "tnuid": "t", "nuid": "n"}, network_userid="c")["network_userid"] == "t"
    assert view({"e": "pv", "nuid": "n"}, network_userid="c")["network_userid"] == "n"
    assert view({"e": "pv"}, network_userid="c")["network_userid"] == "c"


@given(st.dictionaries(codes, any_text))
def test_nothing_that_is_sent_breaks_the_view(payload):
    """Every payload has a view; a parameter has its type in it, or is a problem."""
    decoded = decode(payload)
    told = {problem.field for problem in decoded.problems}
    for code, text in payload.items():
        kind = BY_CODE[code].kind if code in BY_CODE else TEXT
        if text and kind is not TEXT and decoded.fields.get(BY_CODE[code].names[0]) == text:
            assert BY_CODE[code].names[0] in told or kind.convert(text) == text
    assert view(payload)["event_id"]


@given(st.text())
def test_text_that_is_no_payload_still_has_a_view(text):
    assert canonical_view(Event("id", 0, text))["collector_tstamp"] == "1970-01-01T00:00:00.000Z"


@given(st.integers(0, 253_402_300_799_999))
def test_times_are_written_as_the_sdks_write_them(ms):
    moment = datetime.fromisoformat(timestamp_from_ms(ms))
    assert (moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1) == ms


@pytest.mark.parametrize("ms", [10**17, -(10**17), 253_402_300_800_000])
def test_a_time_that_no_calendar_has_does_not_break_the_view(ms):
    assert canonical_view(Event("id", ms, "{}"))["collector_tstamp"] == str(ms)
