"""An event is the same to a plan wherever it was read from."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snowbus.bus.acceptance import accept
from snowbus.bus.event import Record
from snowbus.bus.filters import parse_filter
from snowbus.bus.payload import payload_from_plain_json
from snowbus.consumers.reading import Reading
from snowbus.consumers.streaming.messages import EventMessage, parse_message
from snowbus.consumers.verify.seen import not_an_event, seen_message, seen_record, seen_view

ADD = "iglu:com.acme/add_to_cart/jsonschema/1-0-1"
CART = "iglu:com.acme/cart-items/jsonschema/1-0-2"
EVENT = {
    "schema": ADD,
    "data": {"sku": "A"},
    "contexts": [{"schema": CART, "data": {"n": 1}}, {"schema": CART, "data": {"n": 2}}],
    "app_id": "shop",
    "user_id": "u-1",
}


def record(event):
    produced = accept(payload_from_plain_json(event), now=5, producer="p")
    return Record("snowbus.events", 0, 7, 5, produced.key, produced.value, produced.headers)


def from_gateway(raw):
    message = parse_message('{"type":"event","cursor":"c",' + Reading(raw).body().decode())
    assert isinstance(message, EventMessage)
    return seen_message(
        message.event,
        dict(message.payload),
        validation=message.validation,
        errors=message.errors,
        place="snowbus.events/0@7",
        timestamp=message.timestamp,
    )


@pytest.mark.parametrize("event", [EVENT, {"event": "struct", "se_value": "x"}, {"e": "ue"}])
def test_a_record_and_the_gateways_message_of_it_are_seen_alike(event):
    raw = record(event)
    assert from_gateway(raw) == seen_record(raw)


def test_a_view_alone_is_seen_as_far_as_it_goes():
    raw = record(EVENT)
    whole, part = seen_record(raw), seen_view(json.loads(Reading(raw).view_json))
    assert (part.schema, part.data, part.event_id, part.name) == (ADD, {"sku": "A"}, whole.event_id, "add_to_cart")
    for pattern in (CART, "iglu:com.acme/cart-items/jsonschema/*-*-*", "iglu:com.acme/cart-items/jsonschema/1-*-*"):
        assert whole.entities_of(pattern) == part.entities_of(pattern) == [{"n": 1}, {"n": 2}]
    for pattern in ("iglu:com.acme/cart-items/jsonschema/2-*-*", "iglu:com.acme/cart/jsonschema/1-*-*"):
        assert whole.entities_of(pattern) == part.entities_of(pattern) == []


@pytest.mark.parametrize(
    ("name", "value", "matches"),
    [
        ("app_id", "shop", True),
        ("event", "add_to_cart", True),
        ("event", "unstruct", True),
        ("event_name", "add_to_cart", True),
        ("schema", "iglu:com.acme/add_to_cart/jsonschema/1-*-*", True),
        ("user_id", "u-1", True),
        ("q", '"sku":"a"', True),
        ("valid", "false", False),
        ("event", "page_view", False),
    ],
)
def test_filters_see_it_as_they_see_its_record(name, value, matches):
    assert parse_filter([(name, value)]).matches(seen_record(record(EVENT)).candidate) is matches


@given(st.binary(max_size=80))
def test_a_record_that_is_no_event_is_invalid(value):
    seen = seen_record(Record("t", 0, 0, 1, None, value, ()))
    assert (seen.validation, seen.event, seen.name) == ("invalid", {}, "not an event")
    assert not parse_filter([("event", "page_view")]).matches(seen.candidate)
    assert parse_filter([("valid", "false")]).matches(not_an_event("x").candidate)
