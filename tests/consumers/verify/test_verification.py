"""Events held against a plan: what is seen, missing, too many, wrong, out of order or must not be, each as itself."""

from dataclasses import replace

import pytest

from snowbus.bus.acceptance import accept
from snowbus.bus.envelope import decode_event
from snowbus.bus.event import FieldError
from snowbus.bus.payload import payload_from_plain_json
from snowbus.consumers.verify import Verification, as_plan, parse_plan_text, report_json, report_lines
from snowbus.consumers.verify import verification as module
from snowbus.consumers.verify.seen import not_an_event, seen_event

ADD = "iglu:com.acme/add_to_cart/jsonschema/1-0-1"
CART = "iglu:com.acme/cart/jsonschema/1-0-0"
ORDER = "iglu:com.acme/order/jsonschema/1-0-0"


def seen(schema="", data=None, *, entities=(), timestamp=1, place="", **fields):
    event = dict(fields)
    if schema:
        event["unstruct_event"] = {"schema": schema, "data": {} if data is None else data}
    if entities:
        event["contexts"] = [{"schema": uri, "data": value} for uri, value in entities]
    produced = accept(payload_from_plain_json(event), now=timestamp, producer="t")
    return seen_event(decode_event(produced.value), place=place)


def held(plan, *events):
    verification = Verification(parse_plan_text(plan) if isinstance(plan, str) else as_plan(plan))
    for event in events:
        verification.see(event)
    return verification.outcome()


def statuses(plan, *events):
    return [each.status for each in held(plan, *events).expectations]


def reasons(outcome):
    return [
        (reason.kind, str(reason)) for each in outcome.expectations for miss in each.misses for reason in miss.reasons
    ]


def test_what_came_as_expected_fits():
    outcome = held(
        f"""
events:
  - page_view
  - {{name: add_to_cart, app_id: shop, where: {{user_id: u-1}}, data: {{sku: A}}, entities: [{CART}], count: 1}}
never: [{{valid: false}}, debug]
order: [page_view, add_to_cart]
""",
        seen(event="page_view"),
        seen(ADD, {"sku": "A"}, entities=[(CART, {})], app_id="shop", user_id="u-1"),
    )
    assert outcome.fits
    assert [each.fit for each in outcome.expectations] == [1, 1]


@pytest.mark.parametrize(
    ("count", "number", "status"),
    [
        ("1", 0, "missing"),
        ("1", 1, "seen"),
        ("1", 2, "too_many"),
        ("2..", 1, "too_few"),
        ("2..", 5, "seen"),
        ("0..1", 0, "seen"),
        ("..1", 2, "too_many"),
        ("0", 1, "too_many"),
    ],
)
def test_how_often_it_came_is_told(count, number, status):
    plan = {"events": [{"name": "page_view", "count": count}]}
    assert statuses(plan, *(seen(event="page_view") for _ in range(number))) == [status]


@pytest.mark.parametrize(
    ("event", "kind", "told"),
    [
        (seen(ADD, {"sku": "B", "n": 1}, entities=[(CART, {"c": "EUR"})]), "value", 'data.sku: expected "A", got "B"'),
        (
            seen(ADD, {"sku": "A", "n": "1"}, entities=[(CART, {"c": "EUR"})]),
            "type",
            "data.n: expected 1 or more, got the",
        ),
        (seen(ADD, {"sku": "A"}, entities=[(CART, {"c": "EUR"})]), "absent", "data.n: expected 1 or more, got nothing"),
        (seen(ADD, {"sku": "A", "n": 1}), "entity_missing", "entity cart: expected 1 or more of iglu:com.acme/cart/"),
        (
            seen(ADD, {"sku": "A", "n": 1}, entities=[(CART, {"c": "USD"})]),
            "value",
            'entity cart c: expected "EUR", got',
        ),
        (
            seen("iglu:com.acme/add_to_cart/jsonschema/2-0-0", {"sku": "A", "n": 1}, entities=[(CART, {"c": "EUR"})]),
            "schema",
            "schema: expected iglu:com.acme/add_to_cart/jsonschema/1-*-*, got iglu:com.acme/add_to_cart/jsonschema/2-",
        ),
        (
            seen(ADD, {"sku": "A", "n": 1}, entities=[(CART, {"c": "EUR"})], dvce_created_tstamp="soon"),
            "invalid",
            "validation of dvce_created_tstamp: expected milliseconds",
        ),
    ],
)
def test_an_event_of_the_kind_that_is_not_right_is_wrong_and_says_where(event, kind, told):
    plan = {
        "events": [
            {
                "name": "add_to_cart",
                "schema": "iglu:com.acme/add_to_cart/jsonschema/1-*-*",
                "data": {"sku": "A", "n": {"min": 1}},
                "entities": [{"schema": CART, "data": {"c": "EUR"}}],
            }
        ]
    }
    outcome = held(plan, event)
    assert [each.status for each in outcome.expectations] == ["wrong"]
    ((found, text),) = reasons(outcome)
    assert found == kind
    assert told in text


def test_events_of_another_kind_or_app_are_not_wrong():
    plan = {"events": [{"name": "add_to_cart", "app_id": "shop", "data": {"sku": "A"}}]}
    assert statuses(plan, seen(ORDER), seen(ADD, {"sku": "B"}, app_id="blog")) == ["missing"]


def test_one_that_is_right_does_not_make_up_for_one_that_is_wrong_unless_others_are_ignored():
    plan = {"events": [{"name": "add_to_cart", "data": {"sku": "A"}}]}
    events = [seen(ADD, {"sku": "A"}), seen(ADD, {"sku": "B"})]
    assert statuses(plan, *events) == ["wrong"]
    plan["events"][0]["others"] = "ignored"
    assert statuses(plan, *events) == ["seen"]
    assert statuses(plan, events[1]) == ["wrong"]


def test_what_fits_another_expectation_is_not_wrong_and_what_fits_none_counts_for_the_nearest():
    plan = {
        "events": [
            {"name": "one", "event": "add_to_cart", "data": {"sku": "A", "n": 1}},
            {"name": "two", "event": "add_to_cart", "data": {"sku": "B", "n": 1}},
        ]
    }
    events = [seen(ADD, {"sku": "A", "n": 1}), seen(ADD, {"sku": "B", "n": 1})]
    assert statuses(plan, *events) == ["seen", "seen"]
    assert statuses(plan, *events, seen(ADD, {"sku": "B", "n": 2})) == ["seen", "wrong"]


def test_the_nearest_misses_are_kept():
    plan = {"events": [{"name": "add_to_cart", "data": {"a": 1, "b": 1, "c": 1}}]}
    far = [seen(ADD, {"a": 2, "b": 2, "c": 2}) for _ in range(5)]
    (found,) = held(plan, *far, seen(ADD, {"a": 1, "b": 1, "c": 2})).expectations
    assert (found.wrong, len(found.misses), len(found.misses[0].reasons)) == (6, 3, 1)


@pytest.mark.parametrize(
    ("valid", "statuses_found"),
    [("any", ["seen", "seen"]), (False, ["wrong", "seen"]), (True, ["wrong", "wrong"])],
)
def test_an_event_can_be_asked_to_be_valid_invalid_or_either(valid, statuses_found):
    plan = {"events": [{"name": "page_view", "valid": valid}]}
    unchecked, invalid = seen(event="page_view"), seen(event="page_view", domain_sessionid="no uuid")
    assert [statuses(plan, event)[0] for event in (unchecked, invalid)] == statuses_found


def test_entities_are_counted():
    plan = {"events": [{"name": "add_to_cart", "entities": [{"schema": CART, "data": {"n": 1}, "count": "..1"}]}]}
    right, wrong = (CART, {"n": 1}), (CART, {"n": 2})
    assert held(plan, seen(ADD, entities=[right, wrong])).fits
    ((kind, text),) = reasons(held(plan, seen(ADD, entities=[right, right])))
    assert (kind, text) == ("entity_count", f"entity cart: expected at most 1 of {CART}, got 2")


def test_what_must_never_come_is_told_with_the_first_of_it():
    plan = {"never": ["debug", {"event": "page_view", "where": {"user_id": {"absent": True}}}]}
    views = [seen(event="page_view") for _ in range(5)]
    debug, silent = held(plan, seen(event="page_view", user_id="u"), *views).never
    assert (debug.count, silent.count, silent.events) == (0, 5, tuple(views[:3]))


def test_what_is_no_event_is_invalid():
    outcome = held({"never": [{"valid": False}]}, not_an_event("nonsense", place="line 3"))
    assert (outcome.invalid, outcome.never[0].count) == (1, 1)
    assert "      not an event at line 3: expected an event, got nonsense" in report_lines(outcome)


def test_an_order_is_that_of_the_first_of_each():
    plan = {"events": ["page_view", "add_to_cart", "order"], "order": ["page_view", "add_to_cart", "order"]}
    view, add, order = seen(event="page_view"), seen(ADD), seen(ORDER)
    assert held(plan, view, add, order, seen(ADD), seen(event="page_view")).fits
    (broken,) = held(plan, view, order, add).orders
    assert [(each.later_name, each.earlier_name, each.earlier) for each in broken.disorders] == [
        ("order", "add_to_cart", add)
    ]


def test_what_is_missing_altogether_is_missing_and_not_out_of_order():
    outcome = held({"events": ["add_to_cart", "order"], "order": ["add_to_cart", "order"]}, seen(ORDER))
    assert [each.status for each in outcome.expectations] == ["missing", "seen"]
    assert outcome.orders[0].count == 0


def test_an_order_by_user_is_each_users_own_and_a_user_who_lacks_the_first_breaks_it():
    plan = {"events": ["add_to_cart", "order"], "order": {"events": ["add_to_cart", "order"], "by": "user_id"}}
    (order,) = held(
        plan,
        seen(ADD, user_id="a"),
        seen(ORDER, user_id="b"),
        seen(ADD, user_id="b"),
        seen(ORDER, user_id="a"),
        seen(ORDER, user_id="c"),
        seen(ORDER),
    ).orders
    assert [(each.by, each.earlier is None) for each in order.disorders] == [("b", False), ("c", True)]


def test_a_wrong_event_has_its_place_in_the_order():
    plan = {
        "events": [{"name": "add_to_cart", "data": {"sku": "A"}}, "order"],
        "order": {"events": ["add_to_cart", "order"], "by": "user_id"},
    }
    outcome = held(plan, seen(ADD, {"sku": "B"}, user_id="a"), seen(ORDER, user_id="a"))
    assert (outcome.expectations[0].status, outcome.orders[0].count) == ("wrong", 0)


def test_without_a_user_the_times_tell_the_order_whatever_comes_first():
    plan = {"events": ["add_to_cart", "order"], "order": ["add_to_cart", "order"]}
    assert held(plan, seen(ORDER, timestamp=2), seen(ADD, timestamp=1)).fits


def test_an_event_that_comes_again_counts_once_and_another_with_its_id_counts():
    plan = {"events": [{"name": "add_to_cart", "count": 1}]}
    add = {"schema": ADD, "data": {"n": 1}, "event_id": "6c5c5d0e-0000-4000-8000-000000000001"}
    first, again = seen(**add, dvce_sent_tstamp="1"), seen(**add, dvce_sent_tstamp="2")
    outcome = held(plan, first, again)
    assert (outcome.fits, outcome.events, outcome.repeats) == (True, 1, 1)
    assert not held(plan, first, seen(**add, user_id="other")).fits


def test_what_tells_repeats_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "_MOST_KNOWN", 2)
    first = seen(event="page_view")
    outcome = held({"events": ["page_view"]}, first, first, seen(event="page_view"), seen(event="page_view"), first)
    assert (outcome.repeats, outcome.expectations[0].fit) == (1, 4)


def test_a_plan_is_about_the_events_it_says():
    plan = {"only": {"app_id": "shop"}, "events": ["page_view"], "never": ["debug"]}
    debug = seen("iglu:com.acme/debug/jsonschema/1-0-0", app_id="blog")
    outcome = held(plan, debug, seen(event="page_view", app_id="shop"))
    assert (outcome.fits, outcome.events) == (True, 1)


@pytest.mark.parametrize(
    ("plan", "has_seen_all"),
    [
        ({"events": ["page_view", {"name": "order", "count": "0..1"}]}, True),
        ({"events": ["page_view", "order"]}, False),
        ({"never": ["order"]}, False),
        ({"events": [{"name": "order", "count": 0}]}, False),
    ],
)
def test_all_is_seen_when_every_least_count_is_reached_and_there_is_one(plan, has_seen_all):
    verification = Verification(as_plan(plan))
    verification.see(seen(event="page_view"))
    assert verification.has_seen_all is has_seen_all


def test_the_report_for_programs_says_what_the_one_for_people_says():
    plan = {
        "name": "checkout",
        "events": [{"name": "add_to_cart", "data": {"sku": "A"}}, "order"],
        "never": ["debug"],
        "order": ["add_to_cart", "order"],
    }
    wrong = seen(ADD, {"sku": "B"}, event_id="6c5c5d0e-0000-4000-8000-000000000001", place="line 1")
    outcome = held(plan, wrong)
    assert report_lines(outcome, ended="time was up") == [
        "checkout: does not fit (1 event, time was up)",
        "  ✗ add_to_cart          wrong: 1 not as expected; 0 of 1 or more seen",
        '      add_to_cart 6c5c5d0e-0000-4000-8000-000000000001 at line 1: data.sku: expected "A", got "B"',
        "  ✗ order                missing: none of 1 or more seen",
        "  ✓ never debug          never came",
        "  ✗ add_to_cart → order  cannot be said: not seen: order",
    ]
    report = report_json(outcome, ended="time was up", notes=["3 records are missing"])
    assert (report["fits"], report["ended"], report["events"]) == (False, "time was up", 1)
    assert report["notes"] == ["3 records are missing"]
    assert report["expectations"][0]["misses"] == [
        {
            "event_id": "6c5c5d0e-0000-4000-8000-000000000001",
            "name": "add_to_cart",
            "place": "line 1",
            "validation": "unchecked",
            "reasons": [{"field": "data.sku", "kind": "value", "expected": '"A"', "got": '"B"'}],
        }
    ]
    assert [each["status"] for each in report["never"] + report["order"]] == ["ok", "not_seen"]
    assert report["order"][0]["not_seen"] == ["order"]


def test_an_order_of_which_a_step_may_stay_away_is_kept_by_the_others():
    plan = {"events": ["page_view", {"name": "coupon", "count": "0.."}], "order": ["coupon", "page_view"]}
    outcome = held(plan, seen(event="page_view"))
    assert outcome.fits
    assert report_lines(outcome)[-1] == "  ✓ coupon → page_view  in order; not seen, as it may be: coupon"


def test_an_order_by_a_field_that_no_event_has_cannot_be_said():
    plan = {"events": ["page_view", "order"], "order": {"events": ["page_view", "order"], "by": "user_id"}}
    outcome = held(plan, seen(event="page_view"), seen(ORDER))
    assert not outcome.fits
    assert report_lines(outcome)[-1].endswith("cannot be said: not seen with user_id: page_view, order")


def test_what_is_missing_is_told_the_nearest_of_what_fits_another_expectation():
    plan = """
events:
  - {name: home, event: page_view, where: {page_url: {matches: "/$"}}, count: 1..}
  - {name: cart, event: page_view, where: {page_url: {matches: /cart$}, user_id: u-1}}
"""
    home = seen(event="page_view", page_url="https://shop.example/", user_id="u-1", place="line 2")
    outcome = held(plan, seen(event="page_view", page_url="https://shop.example/", place="line 1"), home)
    line = report_lines(outcome)[-1]
    assert line.startswith("      nearest is page_view ")
    assert line.endswith('at line 2: page_url: expected text that matches "/cart$", got "https://shop.example/"')
    assert report_json(outcome)["expectations"][1]["nearest"]["place"] == "line 2"
    assert [each.nearest for each in outcome.expectations[:1]] == [None]


def test_rules_on_one_event_are_named_by_all_that_they_ask():
    rules = [{"name": "order", "user_id": "u-1"}, {"event_name": "order", "data": {"total": {"max": 0}}}]
    rules += ["order", {"name": "free orders", "event_name": "order"}]
    names = [each.wanted.name for each in held({"never": rules}).never]
    assert names == ["order, user_id: u-1", 'event_name: order, data: {"total":{"max":0}}', "order", "free orders"]


def test_what_a_condition_tells_of_a_field_its_schema_does_not_tell_again():
    errors = [FieldError("unstruct_event", ADD, path, "an integer", '"two"') for path in ("/items/0/a~1b", "/size")]
    event = replace(seen(ADD, {"items": [{"a/b": "two"}]}), validation="invalid", errors=tuple(errors))
    plan = {"events": [{"name": "add_to_cart", "data": {"items": {"contains": {"a/b": {"type": "integer"}}}}}]}
    assert [told for _, told in reasons(held(plan, event))] == [
        'data.items[0].a/b: expected an integer, got the string "two"',
        'validation of unstruct_event/size: expected an integer, got "two"',
    ]


def test_nothing_else_may_come_when_a_plan_says_so():
    plan = {"only": {"app_id": "shop"}, "events": ["page_view"], "never": ["debug"], "others": "never"}
    page, debug = seen(event="page_view", app_id="shop"), seen("iglu:com.acme/debug/jsonschema/1-0-0", app_id="shop")
    assert held(plan, page, seen(event="page_ping", app_id="blog")).fits
    ping = seen(event="page_ping", app_id="shop", place="line 3")
    outcome = held(plan, page, debug, ping, ping)
    assert [(each.wanted.name, each.count) for each in outcome.never] == [("debug", 1), ("anything else", 1)]
    assert report_lines(outcome)[-2:] == [
        "  ✗ never anything else  came once",
        f"      page_ping {ping.event_id} at line 3",
    ]
