"""Plans: what can be written, and what is said of one that cannot work."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from snowbus.bus.errors import PlanError
from snowbus.bus.filters import PARAMETERS
from snowbus.consumers.verify import as_plan, parse_plan_text, read_plan
from snowbus.consumers.verify.counts import Count
from snowbus.consumers.verify.parsing import parse_plan
from snowbus.consumers.verify.plan import Plan
from snowbus.schemas import read_text

SCHEMA = json.loads(read_text("plan.schema.json"))
ADD = "iglu:com.acme/add_to_cart/jsonschema/1-*-*"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda item: st.lists(item, max_size=3) | st.dictionaries(st.text(max_size=8), item, max_size=3),
    max_leaves=8,
)
words = st.sampled_from(
    ["name", "events", "never", "order", "data", "where", "count", "schema", "entities", "min", "is", "valid", "by"]
)
nearly_plans = st.dictionaries(words, st.recursive(json_values, lambda item: st.dictionaries(words, item, max_size=3)))


def test_a_plan_has_what_was_written():
    plan = parse_plan_text(
        f"""
name: checkout
only: {{app_id: [shop, blog]}}
events:
  - page_view
  - name: first add
    schema: {ADD}
    app_id: shop
    where: {{user_id: u-481}}
    data: {{sku: A-113, quantity: {{min: 1, max: 5}}}}
    entities:
      - iglu:com.acme/user/jsonschema/1-0-0
      - {{schema: iglu:com.acme/cart/jsonschema/1-*-*, data: {{currency: EUR}}, count: 0..2}}
    count: 1
    others: ignored
never:
  - valid: false
order: {{events: [page_view, first add], by: user_id}}
"""
    )
    viewed, added = plan.expectations
    assert plan.name == "checkout"
    assert plan.only.conditions == (("app_id", ("blog", "shop")),)
    assert (viewed.name, viewed.count, viewed.wanted.which.conditions) == (
        "page_view",
        Count(1, None),
        (("event", ("page_view",)),),
    )
    assert (added.count, added.ignores_others, added.wanted.schemas) == (Count(1, 1), True, (ADD,))
    assert dict(added.wanted.which.conditions) == {
        "app_id": ("shop",),
        "schema": ("iglu:com.acme/add_to_cart/jsonschema/*-*-*",),
    }
    assert [entity.count for entity in added.wanted.entities] == [Count(1, None), Count(0, 2)]
    assert (plan.never[0].validity, viewed.wanted.validity) == ("invalid", "not_invalid")
    assert (plan.orders[0].names, plan.orders[0].by) == (("page_view", "first add"), "user_id")


def test_several_orders_are_lists():
    plan = parse_plan({"events": ["a", "b", "c"], "order": [["a", "b"], {"events": ["b", "c"], "by": "user_id"}]})
    assert [str(order) for order in plan.orders] == ["a → b", "b → c by user_id"]


def test_plain_values_are_those_of_json():
    """No country becomes false, no version a number that lost its zero, no day a date."""
    text = (
        "events: [{name: a, data: {country: NO, day: 2024-02-29, time: 12:30, on: yes, n: 1.50, big: 0x10, x: null}}]"
    )
    fields = parse_plan_text(text).expectations[0].wanted.data
    assert {name: condition.expected for name, condition in fields.items()} == {
        "country": '"NO"',
        "day": '"2024-02-29"',
        "time": '"12:30"',
        "on": '"yes"',
        "n": "1.5",
        "big": '"0x10"',
        "x": "null",
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "p.yaml: is empty"),
        ("a: [", "p.yaml line 1: is not YAML: "),
        ("events: [a]\nevents: [b]", "p.yaml line 2: events stands there twice"),
        ("events: [a]\n1: b", "p.yaml line 2: a name must be text; write it in quotes"),
        ("just text", "p.yaml: must be names with values, not "),
        ("name: x", "p.yaml: it expects nothing: write events, never, or both"),
        ("evnts: [a]", "p.yaml line 1: evnts: unknown; did you mean events?"),
        ("events:\n- name: a\n- nmae: b", "p.yaml line 3: events[1].nmae: unknown; did you mean name?"),
        ("events: {a: b}", "events: must be a list, not "),
        ("events: [3]", "events[0]: must be text or names with values, not 3"),
        ("events: [{name: a, count: 1.5}]", "events[0].count: must be a whole number or text, not 1.5"),
        ("events: [{name: a, count: many}]", "events[0].count: 'many' is no count; write 1 (exactly), "),
        ("events: [{name: a, count: 3..1}]", "events[0].count: '3..1' ends before it begins"),
        ("events: [{name: a, valid: maybe}]", "events[0].valid: must be true or false or any, not "),
        ("events: [{name: a, others: x}]", "events[0].others: must be wrong or ignored, not "),
        ("events: [{schema: cart}]", "events[0].schema: 'cart' is not an Iglu URI"),
        (
            "events: [{event: pv}]",
            "events[0].event: 'pv' is the tracker protocol's code; the event is called page_view",
        ),
        ("events: [{name: a, platform: vax}]", "events[0].platform: 'vax' is not one of web, "),
        ("events: [{name: a, app_id: []}]", "events[0].app_id: is empty; leave it out to get everything"),
        ("events: [a, a]", "events[1]: is the second one called 'a'; give each a name of its own"),
        ("events: [{name: a, where: {userid: x}}]", "events[0].where.userid: is not a canonical field of an event"),
        ("events: [{name: a, data: [x]}]", "events[0].data: must be names with values, not "),
        ("events: [{name: a, data: {n: {mni: 3}}}]", "events[0].data.n.mni: is none of is, min, "),
        ("events: [{name: a, data: {n: {min: x}}}]", "events[0].data.n.min: must be a number, not "),
        ("events: [{name: a, data: {n: {min: 1, x: 2}}}]", "events[0].data.n.x: stands beside min; is it a field?"),
        ("events: [{name: a, data: {n: {matches: '('}}}]", 'events[0].data.n.matches: "(" is no regular expression'),
        ("events: [{name: a, data: {n: {one_of: x}}}]", "events[0].data.n.one_of: must be a list of values, not "),
        ("events: [{name: a, data: {n: {type: text}}}]", 'events[0].data.n.type: "text" is no type; types are string'),
        ("events: [{name: a, data: {n: {present: 1}}}]", "events[0].data.n.present: must be true or false, not 1"),
        ("events: [{name: a, data: {n: {absent: true, min: 1}}}]", "n.min: cannot be asked of what is not to be there"),
        ("events: [{name: a, data: {n: {present: true, absent: true}}}]", "n.absent: contradicts present"),
        ("events: [{name: a, entities: [{data: {}}]}]", "events[0].entities[0]: lacks schema"),
        ("events: [{name: a, entities: [cart]}]", "events[0].entities[0].schema: 'cart' is not an Iglu URI"),
        ("never: [{}]", "never[0]: is empty"),
        ("never: [{name: a, count: 1}]", "never[0].count: unknown; it is one of name, "),
        ("events: [add, b]\norder: [ad, b]", "order: 'ad' is not the name of one of the events; did you mean add?"),
        ("events: [a, b]\norder: [a]", "order: needs two names at least"),
        ("events: [a, b]\norder: [a, b, a]", "order: 'a' stands there twice"),
        ("events: [a, b]\norder: {events: [a, b], by: usr_id}", "order.by.usr_id: is not a canonical field"),
        ("events: [a, b]\norder: [[a, b], [b, c]]", "order[1]: 'c' is not the name of one of the events"),
        ("only: {colour: red}\nevents: [a]", "only.colour: unknown; it is one of "),
        ("events: [a, b, c]\norder: [a, [b, c]]", "order[1]: must be text, not "),
        (
            "a: &a [x, x, x, x]\n"
            + "".join(f"{n}: &{n} [*{p}, *{p}, *{p}, *{p}]\n" for p, n in zip("abcdefghi", "bcdefghij", strict=True)),
            "parts",
        ),
        ("events: [" + "[" * 60 + "]" * 60 + "]", "p.yaml line 1: is nested too deeply"),
        ("events: " + "[" * 5000 + "]" * 5000, "p.yaml: is nested too deeply"),
        (
            "events: [a]\nnever:\n- {name: b, where: {user_id: !!int x}}",
            "p.yaml line 3: tag:yaml.org,2002:int is no type",
        ),
        ("events: [!!timestamp x]", "p.yaml line 1: tag:yaml.org,2002:timestamp is no type of this value"),
        ("events: !!set {a}", "p.yaml line 1: tag:yaml.org,2002:set is no type of this value"),
        ("events: [{name: a, where: {user_id: !!binary YWJj}}]", "tag:yaml.org,2002:binary is no type of this value"),
    ],
)
def test_what_cannot_work_is_told_with_its_place_and_the_reason(text, told):
    with pytest.raises(PlanError) as error:
        parse_plan_text(text, source="p.yaml")
    assert told in str(error.value)


def test_a_file_names_its_plan_and_is_named_in_its_errors(tmp_path):
    path = tmp_path / "checkout.yaml"
    with pytest.raises(PlanError, match=r"checkout\.yaml: cannot be read: No such file"):
        read_plan(path)
    path.write_text('{"events": ["a"]}')
    assert as_plan(path).name == read_plan(str(path)).name == "checkout"
    path.write_bytes(b"events: [\xff]")
    with pytest.raises(PlanError, match=r"checkout\.yaml: is not UTF-8, at byte 9"):
        read_plan(path)


@given(json_values | nearly_plans)
def test_whatever_is_given_for_a_plan_is_one_or_is_told_why_not(value):
    try:
        assert isinstance(parse_plan(value), Plan)
    except PlanError as error:
        assert str(error)


@given(st.text(max_size=40) | st.from_regex(r"(events|never|order): ?[\[{a-z:, \n*&!|>-]{0,30}"))
def test_whatever_text_is_given_for_a_plan_is_one_or_is_told_why_not(text):
    try:
        assert isinstance(parse_plan_text(text), Plan)
    except PlanError as error:
        assert str(error)


def test_the_schema_is_one_and_knows_every_filter():
    Draft202012Validator.check_schema(SCHEMA)
    for part in ("event", "never_event"):
        assert set(PARAMETERS) <= SCHEMA["$defs"][part]["properties"].keys()
    assert set(PARAMETERS) == SCHEMA["$defs"]["words"]["properties"].keys()
