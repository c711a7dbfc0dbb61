"""What may be asked of a value, and why a value is not that."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snowbus.consumers.verify.conditions import OPERATORS, parse_condition
from snowbus.consumers.verify.values import same

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda item: st.lists(item, max_size=3) | st.dictionaries(st.text(max_size=5), item, max_size=3),
    max_leaves=6,
)


def reasons(condition, value):
    return [(each.kind, str(each)) for each in parse_condition(condition, "").reasons(value, "n")]


@pytest.mark.parametrize(
    ("condition", "right", "wrong", "kind", "told"),
    [
        ("A", "A", "B", "value", 'n: expected "A", got "B"'),
        (1, 1.0, "1", "type", 'n: expected 1, got the string "1"'),
        (1, 1, True, "type", "n: expected 1, got the boolean true"),
        (None, None, 0, "type", "n: expected null, got the integer 0"),
        ([1, "a"], [1, "a"], [1], "value", 'n: expected [1,"a"], got [1]'),
        ({"is": {"a": 1}}, {"a": 1}, {"a": 1, "b": 2}, "value", 'n: expected {"a":1}, got {"a":1,"b":2}'),
        ({"min": 1}, 1, 0.5, "value", "n: expected 1 or more, got 0.5"),
        ({"min": 1}, 2, "2", "type", 'n: expected 1 or more, got the string "2"'),
        ({"max": 2.5}, 2.5, 3, "value", "n: expected 2.5 or less, got 3"),
        ({"min": 1, "max": 2}, 2, 3, "value", "n: expected 2 or less, got 3"),
        ({"matches": "^A-[0-9]+$"}, "A-1", "B-1", "value", 'n: expected text that matches "^A-[0-9]+$", got "B-1"'),
        ({"one_of": ["EUR", None]}, None, "USD", "value", 'n: expected one of "EUR", null, got "USD"'),
        ({"type": "integer"}, 3.0, 3.5, "type", "n: expected an integer, got the number 3.5"),
        ({"type": ["string", "null"]}, None, {}, "type", "n: expected a string or null, got the object {}"),
        ({"length": "1.."}, "a", "", "value", 'n: expected a length of 1 or more, got ""'),
        ({"length": 2}, [1, 2], 12, "type", "n: expected a length of 2, got the integer 12"),
        ({"absent": True}, ..., 1, "present", "n: expected nothing there, got 1"),
        ({"present": True}, None, ..., "absent", "n: expected something, got nothing there"),
        ({"min": 1}, 1, ..., "absent", "n: expected 1 or more, got nothing there"),
        ({"contains": {"sku": "A"}}, [{"sku": "B"}, {"sku": "A"}], [], "value", "got an empty array"),
        ({"contains": {"min": 3}}, [1, 3], [1, 2], "value", "n[0]: expected 3 or more, got 1"),
        ({"contains": 1}, [1], {"1": 1}, "type", "n: expected an array, got the object"),
        ({"city": "Bonn"}, {"city": "Bonn", "x": 1}, {"city": "Ulm"}, "value", 'n.city: expected "Bonn", got "Ulm"'),
        ({"city": "Bonn"}, {"city": "Bonn"}, {}, "absent", 'n.city: expected "Bonn", got nothing there'),
        ({"city": "Bonn"}, {"city": "Bonn"}, "Bonn", "type", 'n: expected an object, got the string "Bonn"'),
        (
            {"contains": {"sku": "A"}},
            [{"sku": "A"}],
            ...,
            "absent",
            "expected an array with one that is an object with sku",
        ),
        ({"has": {"min": 1}}, {"min": 1}, {"min": 2}, "value", "n.min: expected 1, got 2"),
    ],
)
def test_a_condition_takes_what_is_right_and_says_what_is_wrong(condition, right, wrong, kind, told):
    """`...` stands for a field that is not there."""

    def of(value):
        found = parse_condition({"n": condition}, "").reasons({} if value is ... else {"n": value}, "")
        return [(each.kind, str(each)) for each in found]

    assert of(right) == []
    ((found, text),) = of(wrong)
    assert found == kind
    assert told in text


def test_every_field_that_is_wrong_is_told():
    found = reasons({"a": 1, "b": {"c": 2, "d": {"absent": True}}}, {"a": 2, "b": {"d": 1}})
    assert [text for _, text in found] == [
        "n.a: expected 1, got 2",
        "n.b.c: expected 2, got nothing there",
        "n.b.d: expected nothing there, got 1",
    ]


@given(json_values)
def test_every_value_is_what_is_asked_for_by_it(value):
    assert reasons({"is": value}, value) == []
    assert reasons({"one_of": [value]}, value) == []
    assert reasons({"contains": {"is": value}}, [None, value]) == []


@given(json_values, json_values)
def test_a_value_that_is_another_is_never_taken(one, other):
    assert bool(reasons({"is": one}, other)) is not same(one, other)
    assert same(one, other) is same(other, one)


def test_operators_are_told_apart_from_fields_by_name_only():
    for name in OPERATORS:
        assert reasons({"has": {name: {"present": True}}}, {name: 1}) == []
