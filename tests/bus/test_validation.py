"""Validation: events that are right, and events wrong in one way each, against what Snowplow would say of them."""

import json
from typing import Any

import pytest

from snowbus.bus.acceptance import accept, check, draft, schemas_of
from snowbus.bus.envelope import decode_event
from snowbus.bus.event import FieldError
from snowbus.bus.iglu.lookups import Found, Lookup, Lookups, NotFound, Unreachable, Unusable
from snowbus.bus.iglu.schema import Schema
from snowbus.bus.iglu.uri import IgluUri, parse_iglu_uri
from snowbus.bus.payload import CONTEXTS_SCHEMA, UNSTRUCT_EVENT_SCHEMA

CART = "iglu:com.acme/add_to_cart/jsonschema/1-0-0"
PRODUCT = "iglu:com.acme/product/jsonschema/1-0-0"
USER = "iglu:com.acme/user/jsonschema/2-0-1"
CART_SCHEMA = {
    "type": "object",
    "properties": {"sku": {"type": "string", "maxLength": 5}, "quantity": {"type": "integer", "minimum": 1}},
    "required": ["sku"],
    "additionalProperties": False,
}
KNOWN: dict[IgluUri, Lookup] = {
    parse_iglu_uri(CART): Found(Schema(CART_SCHEMA), "Ours"),
    parse_iglu_uri(PRODUCT): Found(Schema({"type": "object", "required": ["sku"]}), "Ours"),
}
EVENT = {
    "e": "ue",
    "eid": "c6ef3124-b53a-4b13-a233-0088f79dcbcb",
    "p": "web",
    "tv": "js-3.0.0",
    "aid": "shop",
    "dtm": "1700000000000",
    "vid": "3",
    "vp": "1280x720",
    "cookie": "1",
    "url": "https://shop.example/",
}


def described(schema: str, data: Any) -> dict[str, Any]:
    return {"schema": schema, "data": data}


def event(
    data: Any = None, *entities: Any, schema: str = CART, envelope: str = UNSTRUCT_EVENT_SCHEMA, **parameters: str
) -> dict[str, str]:
    ue = described(envelope, described(schema, {"sku": "A-1"} if data is None else data))
    payload = {**EVENT, "ue_pr": json.dumps(ue), **parameters}
    return payload | {"co": json.dumps(described(CONTEXTS_SCHEMA, list(entities)))} if entities else payload


def found(payload: dict[str, str], lookups: dict[IgluUri, Lookup] | None = None, *, is_strict: bool = True) -> Any:
    """What is found of an event: the status, and where each error is."""
    known = KNOWN if lookups is None else KNOWN | lookups
    accepted = check(draft(payload), Lookups(known, is_strict), now=1, producer="test")
    on_log = decode_event(accepted.record.value)
    assert (on_log.validation, list(on_log.errors)) == (accepted.validation, list(accepted.errors))
    valid = dict(accepted.record.headers).get("valid")
    assert valid == {"valid": b"true", "invalid": b"false"}.get(accepted.validation)
    return accepted.validation, [error.field + error.path for error in accepted.errors]


def struct(**parameters: str) -> dict[str, str]:
    return EVENT | {"e": "se", "se_ca": "cart", "se_ac": "add"} | parameters


@pytest.mark.parametrize(
    "payload",
    [
        event(),
        event({"sku": "A-1", "quantity": 2}),
        event(None, described(PRODUCT, {"sku": "A-1"})),
        event(None, described(PRODUCT, {"sku": "A-1"}), described(PRODUCT, {"sku": "B", "more": [None]})),
        EVENT | {"e": "pv"},
        EVENT | {"e": "pp", "pp_mix": "-1", "pp_max": "2147483647"},
        struct(se_va="12.5", se_la="x" * 4096),
        EVENT | {"e": "tr", "tr_id": "O-1", "tr_tt": "10", "tr_cu": "EUR"},
        EVENT | {"e": "pv", "url": "https://shop.example/?" + "x" * 9_900},
        EVENT | {"e": "pv", "unheard_of": "parameter"},
        EVENT | {"e": "pv", "ip": "localhost"},  # to Enrich it is text
        struct(se_va="null", vid="+3"),
        EVENT | {"e": "pv", "cd": "\x00\x1f" + "x" * 12},  # control characters do not count
    ],
)
def test_an_event_that_is_right_in_every_part_is_valid(payload):
    assert found(payload) == ("valid", [])


@pytest.mark.parametrize(
    ("payload", "where"),
    [
        # the self-describing event
        (event({}), "unstruct_event/sku"),
        (event({"sku": 1}), "unstruct_event/sku"),
        (event({"sku": "A-1000"}), "unstruct_event/sku"),
        (event({"sku": "A", "quantity": "2"}), "unstruct_event/quantity"),
        (event({"sku": "A", "quantity": 0}), "unstruct_event/quantity"),
        (event({"sku": "A", "quantity": 1.0}), "unstruct_event/quantity"),
        (event({"sku": "A", "colour": "red"}), "unstruct_event/colour"),
        (event([]), "unstruct_event"),
        (event(schema="iglu:com.acme/add_to_cart/jsonschema/1"), "unstruct_event"),
        (EVENT, "unstruct_event"),
        (EVENT | {"ue_px": "!"}, "unstruct_event"),
        # the entities
        (event(None, described(PRODUCT, {"sku": "A"}), described(PRODUCT, {})), "contexts[1]/sku"),
        (event(None, described(PRODUCT, None)), "contexts[0]"),
        (event(None, {"data": {}}), "contexts[0]"),
        (event() | {"co": "{}"}, "contexts"),
        (event(None, described(PRODUCT, {"sku": "A"}) | {"hash": "1"}), "contexts[0]"),
        # what they stand in
        (event(envelope=CONTEXTS_SCHEMA), "unstruct_event/schema"),
        (
            EVENT | {"e": "pv", "co": json.dumps(described("iglu:com.acme/contexts/jsonschema/1-0-0", []))},
            "contexts/schema",
        ),
        (
            EVENT | {"e": "pv", "co": json.dumps(described(CONTEXTS_SCHEMA, [described(PRODUCT, {})]))},
            "contexts[0]/sku",
        ),
        # the atomic fields: types, enumerations, UUIDs
        (EVENT | {"e": "pv", "p": "car"}, "platform"),
        (EVENT | {"e": "pv", "eid": "1"}, "event_id"),
        (EVENT | {"e": "pv", "sid": "session"}, "domain_sessionid"),
        (EVENT | {"e": "pv", "dtm": "yesterday"}, "dvce_created_tstamp"),
        (EVENT | {"e": "pv", "vid": "2.5"}, "domain_sessionidx"),
        (EVENT | {"e": "pv", "vid": "2147483648"}, "domain_sessionidx"),
        (EVENT | {"e": "pv", "cookie": "yes"}, "br_cookies"),
        (EVENT | {"e": "pv", "vp": "big"}, "br_viewwidth"),
        (EVENT | {"e": "pv", "vp": "-1x720"}, "br_viewwidth"),
        (struct(se_va="12,5"), "se_value"),
        # and lengths
        (EVENT | {"e": "pv", "aid": "x" * 256}, "app_id"),
        (EVENT | {"e": "pv", "uid": "x" * 256}, "user_id"),
        (EVENT | {"e": "pv", "url": "https://" + "x" * 10_000}, "page_url"),
        (EVENT | {"e": "pv", "page": "x" * 2_001}, "page_title"),
        (EVENT | {"e": "pv", "ua": "x" * 1_001}, "useragent"),
        (EVENT | {"e": "pv", "cd": "x" * 13}, "br_colordepth"),
        (EVENT | {"e": "tr", "tr_cu": "EURO"}, "tr_currency"),
        (EVENT | {"e": "pv", "cd": "😀" * 7}, "br_colordepth"),  # in UTF-16, as Enrich counts
        (EVENT | {"e": "pv", "cd": "\t" * 4}, "br_colordepth"),  # of which it makes four spaces each
        (struct(se_ca="x" * 1_001), "se_category"),
    ],
)
def test_an_event_that_is_wrong_in_one_way_is_invalid_there(payload, where):
    assert found(payload) == ("invalid", [where])


def test_an_error_names_schema_path_what_was_expected_and_what_came():
    accepted = check(
        draft(event({"sku": "A", "quantity": "2"})), Lookups(KNOWN, is_strict=True), now=1, producer="test"
    )
    assert list(accepted.errors) == [
        FieldError("unstruct_event", CART, "/quantity", "an integer", '"2"', "/properties/quantity/type")
    ]
    assert accepted.reasons == 'unstruct_event/quantity: expected an integer, got "2"'


def test_every_part_that_is_wrong_is_named_and_an_entity_by_where_it_stands():
    payload = event({"quantity": 0}, {}, described(PRODUCT, {}), described(USER, {}), aid="x" * 256)
    lookups: dict[IgluUri, Lookup] = {parse_iglu_uri(USER): Unreachable("away")}
    assert found(payload, lookups) == (
        "invalid",
        ["contexts[0]", "app_id", "unstruct_event/quantity", "unstruct_event/sku", "contexts[1]/sku"],
    )


@pytest.mark.parametrize(
    ("lookup", "expected"),
    [
        (NotFound(("Ours", "Iglu Central")), ("invalid", ["contexts[0]"])),
        (Unusable("Ours", "not JSON"), ("invalid", ["contexts[0]"])),
        (Unreachable("Ours: away"), ("unchecked", [])),
        (None, ("unchecked", [])),
    ],
)
def test_a_schema_that_no_registry_has_is_an_error_and_one_that_is_not_known_is_none(lookup, expected):
    lookups = {parse_iglu_uri(USER): lookup} if lookup else {}
    assert found(event(None, described(USER, {})), lookups) == expected


def test_the_registries_that_do_not_have_a_schema_are_named():
    lookups = Lookups({parse_iglu_uri(USER): NotFound(("Ours", "Iglu Central"))}, is_strict=True)
    (error,) = check(draft(event({}, schema=USER)), lookups, now=1, producer="test").errors
    assert (error.schema, error.got) == (USER, "one that no registry has (Ours, Iglu Central: not found)")


def test_without_a_resolver_what_is_not_known_is_unchecked():
    """Only what comes with Snowbus can be valid or invalid then, and parameters invalid."""
    missing: dict[IgluUri, Lookup] = {parse_iglu_uri(USER): NotFound(("Snowbus",))}
    assert found(event(None, described(USER, {})), missing, is_strict=False) == ("unchecked", [])
    assert found(EVENT | {"e": "pv"}, is_strict=False) == ("unchecked", [])
    assert found(event(), is_strict=False) == ("valid", [])
    assert found(event({}), is_strict=False) == ("invalid", ["unstruct_event/sku"])
    assert found(struct(se_va="12,5"), is_strict=False) == ("invalid", ["se_value"])


def test_where_nobody_looks_up_schemas_only_parameters_are_checked():
    assert decode_event(accept(event({}), now=1, producer="test").value).validation == "unchecked"
    assert decode_event(accept(struct(se_va="x"), now=1, producer="test").value).validation == "invalid"


def test_what_is_looked_up_is_each_schema_of_the_events_once():
    drafts = [draft(event(None, described(PRODUCT, {}), described(PRODUCT, {}))), draft(event()), draft(struct())]
    assert schemas_of(drafts) == {parse_iglu_uri(CART), parse_iglu_uri(PRODUCT)}


def test_no_more_than_fifty_errors_are_kept():
    for entities in ([{}] * 60, [described(PRODUCT, {})] * 60):
        status, where = found(event({"quantity": 0}, *entities))
        assert (status, len(where)) == ("invalid", 50)
