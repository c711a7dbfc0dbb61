"""What is read of an event in part is what is read of all of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snowbus.bus.envelope import decode_event, encode_event
from snowbus.bus.envelope_parts import read_parts, read_source
from snowbus.bus.errors import EnvelopeError
from snowbus.bus.event import Event

text = st.text(max_size=300)
events = st.builds(
    Event,
    event_id=st.uuids().map(str) | st.text(max_size=200),
    ingest_tstamp=st.integers(1_600_000_000_000, 2_000_000_000_000) | st.integers(-(2**63), 2**63 - 1),
    payload=st.text(min_size=64, max_size=9_000) | text,
    source=st.dictionaries(st.sampled_from(["ip", "user_agent", "host", "a", "b" * 70]) | text, text, max_size=80),
    producer=text,
)


@given(events)
def test_parts_are_those_of_the_whole_event(event):
    value = encode_event(event)
    whole = decode_event(value)
    tstamp, payload, rest = read_parts(value)
    assert (tstamp, payload.decode()) == (whole.ingest_tstamp, whole.payload)
    assert read_source(rest) == whole.source


@given(events, st.integers(0, 400), st.binary(max_size=20))
def test_damaged_bytes_are_no_event_or_one_with_what_stands_there(event, cut, junk):
    value = encode_event(event)[:cut] + junk
    try:
        _, _, rest = read_parts(value)
        read_source(rest)
    except EnvelopeError:
        with pytest.raises(EnvelopeError):
            decode_event(value)
