"""Payloads: flat maps of strings, whatever is sent."""

import base64 as b64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snowbus.bus.errors import PayloadError
from snowbus.bus.payload import (
    checked_payload,
    complete,
    decode_base64,
    dump_payload,
    event_key,
    items_of_payload_data,
    load_payload,
    payload_from_plain_json,
    self_describing,
)

any_text = st.text(st.characters(codec=None, exclude_categories=()))
payloads = st.dictionaries(any_text, any_text)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=10,
)


@given(payloads)
def test_a_payload_survives_its_json_text(payload):
    assert load_payload(dump_payload(payload)) == payload


@given(json_values)
def test_only_flat_objects_of_strings_are_payloads(value):
    is_payload = isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
    if is_payload:
        assert checked_payload(value) == value
    else:
        with pytest.raises(PayloadError):
            checked_payload(value)


@given(
    st.text(),
    st.sampled_from([b64.b64encode, b64.urlsafe_b64encode]),
    st.booleans(),
)
def test_each_base64_flavour_is_read(text, encode, padded):
    """Standard and URL-safe alphabets, with and without padding."""
    encoded = encode(text.encode()).decode()
    assert decode_base64(encoded if padded else encoded.rstrip("=")) == text


@given(st.text())
def test_base64_that_is_none_is_refused(text):
    try:
        decode_base64(text)
    except PayloadError as error:
        assert "base64" in error.reason


@given(json_values)
def test_self_describing_data_comes_out_equal_from_text_and_from_base64(data):
    value = {"schema": "iglu:com.acme/thing/jsonschema/1-0-0", "data": data}
    text = dump_payload(value)
    encoded = b64.urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).decode().rstrip("=")
    assert self_describing({"ue_pr": text}, plain="ue_pr", base64="ue_px") == value
    assert self_describing({"ue_px": encoded}, plain="ue_pr", base64="ue_px") == value


def test_an_empty_parameter_counts_as_absent():
    assert self_describing({"cx": ""}, plain="co", base64="cx") is None


@pytest.mark.parametrize("text", ["[]", "1", "null", "{}", '{"schema":1,"data":{}}', '{"schema":"x"}', "{", "\ud800"])
def test_what_is_not_self_describing_is_refused(text):
    with pytest.raises(PayloadError):
        self_describing({"ue_pr": text}, plain="ue_pr", base64="ue_px")


def test_what_every_event_needs_is_filled_in_and_nothing_else_is_touched():
    payload = {"e": "pv", "url": "https://shop.example/"}
    completed = complete(payload, tracker_version="snowbus-1")
    assert completed.items() >= payload.items()
    assert (completed["p"], completed["tv"]) == ("srv", "snowbus-1")
    assert len(completed["eid"]) == 36
    assert complete(completed, tracker_version="other") == completed


@pytest.mark.parametrize("payload", [{}, {"e": ""}, {"e": "zz"}, {"e": "page_view"}])
def test_an_event_of_no_known_type_is_refused(payload):
    with pytest.raises(PayloadError, match="e: "):
        complete(payload, tracker_version="snowbus-1")


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"e": "se", "se_va": 12.5, "f_pdf": True, "uid": None}, {"e": "se", "se_va": "12.5", "f_pdf": "1"}),
        (
            {"schema": "iglu:com.acme/x/jsonschema/1-0-0", "data": {"a": 1}, "app_id": "shop"},
            {
                "aid": "shop",
                "e": "ue",
                "ue_pr": '{"schema":"iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0",'
                '"data":{"schema":"iglu:com.acme/x/jsonschema/1-0-0","data":{"a":1}}}',
            },
        ),
        ({"event": "page_view", "page_url": "https://x.example/"}, {"e": "pv", "url": "https://x.example/"}),
    ],
)
def test_an_event_written_by_hand_becomes_a_payload(event, expected):
    assert payload_from_plain_json(event) == expected


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ([], "must be a JSON object, not an array"),
        ({}, "not an event"),
        ({"event": "added"}, "event: must be one of"),
        ({"event": "page_view", "colour": "red"}, "colour: not a canonical field"),
    ],
)
def test_an_event_written_wrongly_is_refused_with_the_reason(event, reason):
    with pytest.raises(PayloadError, match=reason):
        payload_from_plain_json(event)


@given(json_values)
def test_plain_json_of_any_kind_is_a_payload_or_a_reason(value):
    try:
        payload = payload_from_plain_json(value)
    except PayloadError as error:
        assert error.reason
    else:
        assert checked_payload(payload) == payload


@pytest.mark.parametrize("data", [None, [], {}, "x"])
def test_payload_data_must_hold_events(data):
    with pytest.raises(PayloadError, match="non-empty array"):
        items_of_payload_data({"schema": "iglu:com.snowplowanalytics.snowplow/payload_data/x/1-0-4", "data": data})


@pytest.mark.parametrize(
    ("payload", "key"),
    [
        ({"uid": "u", "duid": "d", "tnuid": "t", "eid": "e"}, b"u"),
        ({"uid": "", "duid": "d", "tnuid": "t", "eid": "e"}, b"d"),
        ({"tnuid": "t", "eid": "e"}, b"t"),
        ({"eid": "e"}, b"e"),
        ({"uid": "\ud800"}, b"\xed\xa0\x80"),
    ],
)
def test_events_of_one_user_share_a_key(payload, key):
    assert event_key(payload) == key
