"""The event on the log."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snowbus.bus.acceptance import accept
from snowbus.bus.envelope import decode_event, encode_event, event_headers
from snowbus.bus.errors import EnvelopeError
from snowbus.bus.event import Event, FieldError
from snowbus.bus.payload import dump_payload, load_payload

any_text = st.text(st.characters(codec=None, exclude_categories=()))
payloads = st.dictionaries(any_text, any_text)
errors = st.builds(FieldError, st.text(), st.text(), st.text(), st.text(), st.text())
events = st.builds(
    Event,
    event_id=st.text(),
    ingest_tstamp=st.integers(0, 2**62),
    payload=payloads.map(dump_payload),
    source=st.dictionaries(st.text(), st.text()),
    producer=st.text(),
    validation=st.sampled_from(["unchecked", "valid", "invalid"]),
    errors=st.lists(errors, max_size=3).map(tuple),
)


@given(events)
def test_an_event_comes_back_equal(event):
    assert decode_event(encode_event(event)) == event


@given(payloads, any_text)
def test_any_payload_travels_whole(payload, event_id):
    """Lone surrogates in a payload survive; outside of it they become question marks, and never break the event."""
    event = Event(event_id, 1, dump_payload(payload), {"user_agent": event_id})
    decoded = decode_event(encode_event(event))
    assert load_payload(decoded.payload) == payload
    assert decoded.event_id == event_id.encode("utf-8", "replace").decode()


def test_the_framing_is_avro_single_object_encoding():
    """C3 01 and eight bytes of fingerprint, so that other Avro readers know the schema."""
    assert encode_event(Event("e", 1, "{}"))[:2] == b"\xc3\x01"


@given(st.binary(max_size=60))
def test_bytes_that_are_no_event_are_refused(value):
    with pytest.raises(EnvelopeError):
        decode_event(value)


@given(st.data())
def test_a_truncated_event_is_refused(data):
    value = encode_event(Event("0123", 1, '{"e":"pv"}', {"ip": "192.0.2.1"}, "p"))
    with pytest.raises(EnvelopeError):
        decode_event(value[: data.draw(st.integers(0, len(value) - 1))])


def test_headers_tell_enough_to_filter_without_decoding():
    payload = {
        "e": "ue",
        "aid": "shop",
        "ue_pr": '{"schema":"iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0",'
        '"data":{"schema":"iglu:com.acme/add_to_cart/jsonschema/1-0-2","data":{}}}',
    }
    assert dict(event_headers(Event("id", 1, "", validation="valid"), payload)) == {
        "event_id": b"id",
        "event": b"unstruct",
        "app_id": b"shop",
        "schema": b"iglu:com.acme/add_to_cart/jsonschema/1-0-2",
        "valid": b"true",
    }


def test_what_is_unknown_has_no_header():
    assert dict(event_headers(Event("id", 1, ""), {"e": "ue", "ue_pr": "{"})) == {
        "event_id": b"id",
        "event": b"unstruct",
    }


def test_an_accepted_event_is_keyed_by_its_user_and_stamped_with_its_time():
    record = accept({"e": "pv", "p": "web", "tv": "x", "eid": "1", "uid": "u"}, now=123, producer="test/1@here")
    assert (record.key, record.timestamp) == (b"u", 123)
    event = decode_event(record.value)
    assert (event.event_id, event.ingest_tstamp, event.producer) == ("1", 123, "test/1@here")


def test_an_event_with_a_parameter_of_the_wrong_type_is_accepted_and_marked_invalid():
    """Whoever filters by `valid` finds it without decoding, and the reason stands beside it."""
    record = accept({"e": "se", "se_va": "12,50"}, now=1, producer="p")
    assert record.headers[-1] == ("valid", b"false")
    event = decode_event(record.value)
    assert event.validation == "invalid"
    assert event.errors == (FieldError("se_value", "", "", "a number", "12,50"),)
