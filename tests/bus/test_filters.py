"""Filters: which events a reader wants."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snowbus.bus.acceptance import accept
from snowbus.bus.canonical import canonical_view
from snowbus.bus.envelope import decode_event
from snowbus.bus.errors import FilterError
from snowbus.bus.event import Record
from snowbus.bus.filters import PARAMETERS, Candidate, Filter, parse_filter
from snowbus.bus.payload import payload_from_plain_json

ADDED = {
    "schema": "iglu:com.acme/add_to_cart/jsonschema/1-0-2",
    "data": {"sku": "A-113", "name": "Straße"},
    "app_id": "shop",
    "platform": "web",
    "user_id": "u-1",
    "domain_userid": "d-1",
    "event_id": "c6ef3124-b53a-4b13-a233-0088f79dcbcb",
}
VIEWED = {"event": "page_view", "app_id": "blog", "platform": "mob", "page_url": "https://blog.example/x"}


def candidate(event, decode=None):
    produced = accept(payload_from_plain_json(event), now=1, producer="p")
    record = Record("t", 0, 0, 1, produced.key, produced.value, produced.headers)
    return Candidate(record, decode or (lambda: canonical_view(decode_event(record.value))))


def wanted(event, *pairs):
    return parse_filter(pairs).matches(candidate(event))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("app_id", "shop"),
        ("platform", "web"),
        ("event", "unstruct"),
        ("event", "add_to_cart"),
        ("event_name", "add_to_cart"),
        ("schema", "iglu:com.acme/add_to_cart/jsonschema/1-0-2"),
        ("schema", "iglu:com.acme/add_to_cart/jsonschema/1-*-*"),
        ("schema", "iglu:com.acme/add_to_cart/jsonschema/*-*-*"),
        ("user_id", "u-1"),
        ("domain_userid", "d-1"),
        ("event_id", "c6ef3124-b53a-4b13-a233-0088f79dcbcb"),
        ("q", "a-113"),
        ("q", "straße"),
    ],
)
def test_each_parameter_lets_through_what_it_names_and_nothing_else(name, value):
    assert wanted(ADDED, (name, value))
    assert not wanted(VIEWED, (name, value))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("schema", "iglu:com.acme/add_to_cart/jsonschema/2-*-*"),
        ("schema", "iglu:com.acme/add_to_cart/jsonschema/1-0-20"),
        ("schema", "iglu:comXacme/add_to_cart/jsonschema/1-0-2"),
        ("event_name", "unstruct"),
        ("q", "nowhere"),
        ("valid", "true"),
    ],
)
def test_what_is_only_alike_is_not_wanted(name, value):
    assert not wanted(ADDED, (name, value))


def test_repeats_are_or_and_different_parameters_are_and():
    assert wanted(ADDED, ("app_id", "blog"), ("app_id", "shop"))
    assert not wanted(ADDED, ("app_id", "shop"), ("platform", "mob"))


def test_no_parameters_want_everything():
    assert wanted(ADDED)
    assert not parse_filter([])


def test_headers_alone_decide_where_they_can():
    """A record that no header condition wants is never decoded."""

    def decode():
        raise AssertionError("decoded")

    filter_ = parse_filter([("app_id", "blog"), ("q", "text")])
    assert not filter_.matches(candidate(ADDED, decode))
    filter_ = parse_filter([("app_id", "shop"), ("event", "unstruct"), ("event_name", "add_to_cart")])
    assert filter_.matches(candidate(ADDED, decode))
    assert not parse_filter([("event", "page_ping")]).matches(candidate(VIEWED, decode))


@pytest.mark.parametrize(
    "event",
    [
        ADDED,
        VIEWED,
        {"event": "page_ping"},
        {"event": "struct", "se_category": "c", "se_action": "a"},
        {"event": "transaction", "tr_orderid": "1"},
        {"event": "transaction_item", "ti_orderid": "1"},
    ],
)
def test_the_headers_tell_the_name_that_the_event_has(event):
    asked = candidate(event)
    assert asked.event_name == asked.view["event_name"]


def test_a_record_without_headers_is_decoded():
    produced = accept(payload_from_plain_json(ADDED), now=1, producer="p")
    record = Record("t", 0, 0, 1, produced.key, produced.value, ())
    asked = Candidate(record, lambda: canonical_view(decode_event(record.value)))
    assert parse_filter([("event_name", "add_to_cart")]).matches(asked)
    assert parse_filter([("event", "add_to_cart")]).matches(asked)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("colour", "red", "unknown; filters are app_id"),
        ("app_id", "", "is empty"),
        ("q", "x" * 1001, "longer than"),
        ("valid", "yes", "neither true nor false"),
        ("platform", "fridge", "not one of web"),
        ("event", "pv", "the event is called page_view"),
        ("schema", "com.acme/x/jsonschema/1-0-0", "not an Iglu URI"),
        ("schema", "iglu:com.acme/*/jsonschema/1-0-0", "not an Iglu URI"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(name, value, reason):
    with pytest.raises(FilterError, match=reason) as refused:
        parse_filter([(name, value)])
    assert refused.value.parameter == name


pairs = st.lists(st.tuples(st.sampled_from([name for name in PARAMETERS if name != "schema"]), st.text(min_size=1)))


@given(pairs)
def test_equal_filters_are_equal_in_whatever_order_they_were_written(conditions):
    try:
        filter_ = parse_filter(conditions)
    except FilterError:
        return
    assert filter_ == parse_filter(reversed(conditions + conditions))
    assert hash(filter_) == hash(Filter(filter_.conditions))
    assert filter_.matches(candidate(ADDED)) in (True, False)
