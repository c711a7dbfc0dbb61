"""Records as messages: whatever a record holds, its message is a valid text frame of valid JSON."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.gateway import numbered
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from snowbus.bus.envelope import decode_event, encode_event, event_record
from snowbus.bus.event import Event, FieldError, ProducerRecord, Record, TopicPartition
from snowbus.bus.filters import parse_filter
from snowbus.bus.payload import dump_payload
from snowbus.bus.start import Gap
from snowbus.consumers.gateway.frames import (
    body_of,
    event_frame,
    gap_frame,
    heartbeat_frame,
    json_frame,
    message_frame,
    text_frame,
)
from snowbus.consumers.masking import mask_of
from snowbus.consumers.reading import Reading

CURSOR = b"snowbus.events~0.43"
MASK = mask_of([], [])


def parsed(data: bytes) -> list[bytes]:
    """The text messages in some frames, read by the library that clients use."""
    stream = StreamReader()
    stream.feed_data(data)
    stream.feed_eof()
    messages = []
    while True:
        try:
            next(Frame.parse(stream.read_exact, mask=False))
        except StopIteration as done:
            frame: Frame = done.value
            assert frame.opcode is Opcode.TEXT
            assert frame.fin
            messages.append(bytes(frame.data))
        except EOFError:
            return messages


def stored(produced: ProducerRecord, **changes: Any) -> Record:
    """A record as if it were on the log."""
    record = Record("snowbus.events", 0, 42, 1_700_000_000_123, produced.key, produced.value, produced.headers)
    return record._replace(**changes)


def message_of(record: Record) -> dict[str, Any]:
    (text,) = parsed(event_frame(CURSOR, Reading(record).body()))
    message: dict[str, Any] = json.loads(text.decode())
    (masked,) = parsed(event_frame(CURSOR, Reading(record).body(MASK)))
    assert json.loads(masked.decode()).keys() == message.keys()
    return message


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536, 200_000])
def test_frames_of_every_length_are_read_by_the_library(length: int) -> None:
    message = b"x" * length
    assert parsed(text_frame(message) + text_frame(b"next")) == [message, b"next"]


@given(st.binary(max_size=20), st.sampled_from([0, 80, 126, 65_530, 70_000]), st.binary(min_size=1, max_size=9))
def test_a_body_comes_back_from_its_frame(body: bytes, padding: int, kind: bytes) -> None:
    body += b"x" * padding
    assert body_of(message_frame(kind, CURSOR, body), kind, CURSOR) == body


def test_an_event_is_shown_decoded_with_its_payload_and_where_it_stands() -> None:
    message = message_of(stored(numbered(7, aid="shop", timestamp=1_700_000_000_000, dtm="1700000000001")))
    assert list(message)[:2] == ["type", "cursor"]
    assert message == {
        "type": "event",
        "cursor": "snowbus.events~0.43",
        "topic": "snowbus.events",
        "partition": 0,
        "offset": 42,
        "timestamp": 1_700_000_000_123,
        "key": "user-0",
        "event": {
            "app_id": "shop",
            "platform": "srv",
            "event": "page_view",
            "event_id": "7",
            "user_id": "user-0",
            "v_tracker": "test-1",
            "dvce_created_tstamp": "2023-11-14T22:13:20.001Z",
            "collector_tstamp": "2023-11-14T22:13:20.000Z",
            "user_ipaddress": "203.0.113.7",
            "event_vendor": "com.snowplowanalytics.snowplow",
            "event_name": "page_view",
            "event_format": "jsonschema",
            "event_version": "1-0-0",
        },
        "payload": {
            "tv": "test-1",
            "p": "srv",
            "e": "pv",
            "eid": "7",
            "uid": "user-0",
            "aid": "shop",
            "dtm": "1700000000001",
        },
        "source": {"ip": "203.0.113.7"},
        "validation": {"status": "invalid", "errors": [problem("event_id", "a hyphenated UUID", "7")]},
        "producer": "",
    }


def problem(field: str, expected: str, got: str) -> dict[str, str]:
    return {"field": field, "schema": "", "path": "", "expected": expected, "got": got, "schema_path": ""}


def event(payload: dict[str, str], **more: Any) -> Record:
    return stored(
        event_record(Event(payload.get("eid", "1"), 1_700_000_000_000, dump_payload(payload), **more), payload)
    )


def self_describing(data: str) -> str:
    """The `ue_pr` of an event whose data is this JSON text."""
    inner = f'{{"schema":"iglu:a/b/jsonschema/1-0-0","data":{data}}}'
    return f'{{"schema":"iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0","data":{inner}}}'


def test_what_an_event_was_found_to_be_goes_before_what_decoding_finds() -> None:
    wrong = {"e": "pv", "eid": "not a uuid"}
    checked = message_of(event(wrong, validation="valid"))
    assert checked["validation"] == {"status": "valid", "errors": []}
    error = FieldError("unstruct_event", "iglu:a/b/jsonschema/1-0-0", "/quantity", "integer", '"two"')
    refused = message_of(event(wrong, validation="invalid", errors=(error,)))
    assert refused["validation"]["status"] == "invalid"
    assert [each["path"] for each in refused["validation"]["errors"]] == ["/quantity"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"", "not an event"),
        (b"hello", "not an event"),
        (encode_event(Event("1", 1, "{}"))[:-3], "not an event"),
    ],
)
def test_a_record_that_is_no_event_is_shown_as_one_that_is_wrong(value: bytes, said: str) -> None:
    message = message_of(stored(numbered(1), value=value, key=b"\xff\x00"))
    assert message["event"] == message["payload"] == message["source"] == {}
    assert message["key"] == "\ufffd\x00"
    assert message["validation"]["status"] == "invalid"
    (error,) = message["validation"]["errors"]
    assert error["expected"] == "an event"
    assert said in error["got"]


def test_a_payload_that_is_none_is_said_to_be_none() -> None:
    message = message_of(stored(numbered(1), value=encode_event(Event("1", 1, "[1]", {"ip": "::1"}))))
    assert message["payload"] == {}
    assert message["source"] == {"ip": "::1"}
    assert message["validation"]["errors"][0]["field"] == "payload"


def test_lone_surrogates_and_numbers_of_any_size_travel_as_valid_json() -> None:
    outer = self_describing(f'{{"n":{"9" * 400},"s":"\\ud800","x":1e999}}')
    message = message_of(event({"e": "ue", "eid": "\ud800", "ue_pr": outer, "page": "\udfff\U0001f9c0"}))
    assert message["payload"]["page"] == "\udfff\U0001f9c0"
    assert message["event"]["unstruct_event_a_b_1"] == {"n": int("9" * 400), "s": "\ud800", "x": "1e999"}


@pytest.mark.parametrize("depth", [200, 500, 900, 960, 985, 1000, 1050, 5000])
def test_json_nested_too_deeply_to_be_written_leaves_the_rest_of_the_event(depth: int) -> None:
    outer = self_describing('{"a":' * depth + "1" + "}" * depth)
    reading = Reading(event({"e": "ue", "eid": "1", "aid": "shop", "ue_pr": outer}))
    (text,) = parsed(event_frame(CURSOR, reading.body()))
    assert b'"app_id":"shop"' in text
    assert parse_filter([("q", "shop")]).matches(reading.candidate)


texts = st.text(st.characters(codec=None, exclude_categories=()), max_size=12)


@given(
    st.dictionaries(texts | st.sampled_from(["e", "ue_pr", "co", "cx", "dtm", "res"]), texts, max_size=8), st.binary()
)
def test_no_payload_and_no_key_makes_an_invalid_message(payload: dict[str, str], key: bytes) -> None:
    message = message_of(event(payload)._replace(key=key))
    assert message["payload"] == payload


@given(st.binary(max_size=60), st.booleans())
def test_no_bytes_make_an_invalid_message(junk: bytes, begins_well: bool) -> None:
    value = encode_event(Event("1", 1, "{}"))[:10] + junk if begins_well else junk
    assert message_of(stored(numbered(1), value=value))["type"] == "event"


def test_an_event_is_decoded_once_for_all_filters_and_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []

    def counting(value: bytes) -> Event:
        decoded.append(value)
        return decode_event(value)

    monkeypatch.setattr("snowbus.consumers.reading.decode_event", counting)
    reading = Reading(stored(numbered(1, aid="shop")))
    assert parse_filter([("app_id", "shop")]).matches(reading.candidate)
    assert not decoded  # the headers were enough
    assert parse_filter([("user_id", "user-1")]).matches(reading.candidate)
    assert not parse_filter([("q", "nothing")]).matches(reading.candidate)
    reading.body()
    reading.body()
    assert len(decoded) == 1


def test_other_messages_look_like_this() -> None:
    gap = Gap(TopicPartition("snowbus.events", 2), 10, 15, 5, "expired")
    frames = gap_frame(CURSOR, gap) + heartbeat_frame(CURSOR, now=1_700_000_000_000)
    frames += json_frame({"type": "error", "code": "c", "message": "m"})
    assert [json.loads(text) for text in parsed(frames)] == [
        {
            "type": "gap",
            "cursor": "snowbus.events~0.43",
            "from": {"topic": "snowbus.events", "partition": 2, "offset": 10},
            "to": {"topic": "snowbus.events", "partition": 2, "offset": 15},
            "count": 5,
            "reason": "expired",
        },
        {"type": "heartbeat", "cursor": "snowbus.events~0.43", "time": "2023-11-14T22:13:20.000Z"},
        {"type": "error", "code": "c", "message": "m"},
    ]
