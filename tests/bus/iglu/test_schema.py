"""Schemas: what they say of data agrees with the reference, and neither they nor the data can hold us up."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft4Validator, FormatChecker
from referencing import Registry
from support.node import node_package

from snowbus.bus.errors import SchemaError, SchemaLimitError
from snowbus.bus.iglu.explain import explain
from snowbus.bus.iglu.formats import FORMATS
from snowbus.bus.iglu.schema import MAX_BYTES, Schema, compile_schema

UNBOUNDED = "too much to say"


def paths(schema: dict[str, Any], data: Any) -> list[str]:
    return [problem.path for problem in Schema(schema).problems(data)]


# The reference

OUTSIDE = "another document; nothing is fetched"
LATER_FOUND_WRONG = ("a valid protocol-relative URI",)
"""Cases of the suite that its authors took back later: this is a reference, and no URI, which has a scheme."""


@pytest.mark.node
def test_data_is_valid_where_the_test_suite_of_json_schema_says_so():
    folder = node_package("json-schema-test-suite") / "tests" / "draft4"
    checked = refused = 0
    for file in sorted(folder.rglob("*.json")):
        for group in json.loads(file.read_text("utf-8")):
            try:
                schema = Schema(group["schema"])
            except SchemaError as error:
                assert OUTSIDE in error.reason, group
                refused += 1
                continue
            for case in group["tests"]:
                if case["description"] not in LATER_FOUND_WRONG:
                    problems = schema.problems(case["data"])
                    assert bool(problems) is not case["valid"], (group["description"], case, problems)
                    assert not any(UNBOUNDED in problem.expected for problem in problems), (group, case)
                    checked += 1
    assert checked > 250
    assert refused == 7  # those that refer to other documents


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.sampled_from([0.0, 1.0, 1.5, -2.5, 10**30, 0.1, 0.3, 1e300])
    | st.sampled_from(["", "a", "b", "ab", "A-113", "é😀", "2024-02-29T12:00:00Z", "127.0.0.1", "x@y.example"])
)
names = st.sampled_from(["a", "b", "ab", "c"])
data = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=8
)
patterns = st.sampled_from(["^a", "b$", "^[A-Z]-[0-9]{3}$", "a|b", "^(?!a)", "."])
small = st.integers(0, 3)


def schemas_of(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    many = st.lists(inner, min_size=1, max_size=3)
    by_name = st.dictionaries(names, inner, max_size=3)
    keywords: dict[str, st.SearchStrategy[Any]] = {
        "type": st.sampled_from(["string", "integer", "number", "object", "array", "boolean", "null"])
        | st.lists(st.sampled_from(["string", "integer", "null"]), min_size=1, max_size=2, unique=True),
        "enum": st.lists(data, min_size=1, max_size=3, unique_by=lambda each: json.dumps(each, sort_keys=True)),
        "properties": by_name,
        "patternProperties": st.dictionaries(patterns, inner, max_size=2),
        "additionalProperties": st.booleans() | inner,
        "required": st.lists(names, min_size=1, max_size=2, unique=True),
        "dependencies": st.dictionaries(
            names, st.lists(names, min_size=1, max_size=2, unique=True) | inner, max_size=2
        ),
        "minProperties": small,
        "maxProperties": small,
        "items": inner | many,
        "additionalItems": st.booleans() | inner,
        "minItems": small,
        "maxItems": small,
        "uniqueItems": st.booleans(),
        "minLength": small,
        "maxLength": small,
        "pattern": patterns,
        "format": st.sampled_from([*FORMATS, "time", "regex", "idn-email", "unheard-of"]),
        "multipleOf": st.sampled_from([1, 2, 0.5]),
        "allOf": many,
        "anyOf": many,
        "oneOf": many,
        "not": inner,
    }
    bounds = st.fixed_dictionaries({"minimum": st.integers(-3, 3), "exclusiveMinimum": st.booleans()}) | (
        st.fixed_dictionaries({"maximum": st.integers(-3, 3), "exclusiveMaximum": st.booleans()})
    )
    chosen = st.lists(st.sampled_from(list(keywords)), max_size=3, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: keywords[name] for name in names})
    )
    return st.builds(lambda one, two: {**one, **two}, chosen, st.just({}) | bounds)


schemas = st.recursive(st.just({}), schemas_of, max_leaves=6)


def reference_finds_errors(schema: dict[str, Any], value: Any) -> bool:
    formats = FormatChecker(formats=())
    for name, has_it in FORMATS.items():
        formats.checks(name)(lambda each, has_it=has_it: not isinstance(each, str) or has_it(each))
    return not Draft4Validator(schema, format_checker=formats, registry=Registry()).is_valid(value)


@given(schemas, data)
def test_both_engines_agree_and_what_is_wrong_is_explained(schema, value):
    problems = Schema(schema).problems(value)
    assert bool(problems) == reference_finds_errors(schema, value)
    assert not any(UNBOUNDED in problem.expected for problem in problems)
    assert all(problem.expected and problem.got for problem in problems)


@given(schemas, data)
def test_nothing_is_explained_where_nothing_is_wrong(schema, value):
    (problem, *_) = explain(schema, value)
    assert (UNBOUNDED in problem.expected) is not reference_finds_errors(schema, value)


# Each keyword, wrong in one way


@pytest.mark.parametrize(
    ("schema", "value", "path", "expected", "got"),
    [
        ({"type": "integer"}, "1", "", "an integer", '"1"'),
        ({"type": "integer"}, 1.0, "", "an integer", "1.0"),
        ({"type": ["string", "null"]}, {}, "", "a string or null", "an object"),
        ({"enum": ["a", 1]}, "b", "", 'one of "a", 1', '"b"'),
        ({"required": ["a/b"]}, {}, "/a~1b", "a value, which is required", "nothing"),
        (
            {"properties": {"a": {}}, "additionalProperties": False},
            {"b": [1]},
            "/b",
            "no property b (there are a)",
            "an array of 1 item",
        ),
        ({"properties": {"a": {"items": {"type": "string"}}}}, {"a": ["x", None]}, "/a/1", "a string", "null"),
        ({"patternProperties": {"^n_": {"type": "number"}}}, {"n_1": True}, "/n_1", "a number", "true"),
        ({"additionalProperties": {"minimum": 3}}, {"x": 2}, "/x", "a number of at least 3", "2"),
        ({"maximum": 3, "exclusiveMaximum": True}, 3, "", "a number below 3", "3"),
        ({"minimum": 3, "exclusiveMinimum": True}, 3, "", "a number above 3", "3"),
        ({"maximum": 3}, 4, "", "a number of at most 3", "4"),
        ({"multipleOf": 0.01}, 1.005, "", "a multiple of 0.01", "1.005"),
        ({"minLength": 2}, "é", "", "a string of at least 2 characters", '"é"'),
        ({"maxLength": 1}, "ab", "", "a string of at most 1 character", '"ab"'),
        ({"pattern": "^[A-Z]{3}$"}, "eur", "", "a string that matches ^[A-Z]{3}$", '"eur"'),
        ({"format": "uuid"}, "x", "", "a UUID, such as 6ba7b810-9dad-11d1-80b4-00c04fd430c8", '"x"'),
        ({"minItems": 1}, [], "", "an array of at least 1 item", "an array of 0 items"),
        ({"maxItems": 1}, [1, 2], "", "an array of at most 1 item", "an array of 2 items"),
        ({"items": [{}], "additionalItems": False}, [1, 2], "", "an array of at most 1 item", "an array of 2 items"),
        ({"uniqueItems": True}, [1, 1.0], "", "an array without repeats", "an array of 2 items"),
        ({"minProperties": 2}, {"a": 1}, "", "an object of at least 2 properties", "an object"),
        ({"maxProperties": 0}, {"a": 1}, "", "an object of at most 0 properties", "an object"),
        ({"dependencies": {"a": ["b"]}}, {"a": 1}, "", "complete: 'b' is a dependency of 'a'", "an object"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, 1, "", "a string, or null", "1"),
        ({"oneOf": [{"type": "string"}, {"type": "array"}]}, 1, "", "a string, or an array", "1"),
        ({"oneOf": [{}, {}]}, 1, "", "like one of the alternatives alone, but like several", "1"),
        ({"not": {"type": "string"}}, "a", "", 'anything but {"type":"string"}', '"a"'),
        ({"allOf": [{"minimum": 2}]}, 1, "", "a number of at least 2", "1"),
        ({"definitions": {"n": {"type": "null"}}, "items": {"$ref": "#/definitions/n"}}, [1], "/0", "null", "1"),
    ],
)
def test_a_problem_says_where_it_is_what_was_expected_and_what_came(schema, value, path, expected, got):
    assert [problem[:3] for problem in Schema(schema).problems(value)] == [(path, expected, got)]


@pytest.mark.parametrize(
    ("schema", "value", "place"),
    [
        ({"properties": {"a/b": {"type": "string"}}}, {"a/b": 1}, "/properties/a~1b/type"),
        ({"required": ["a", "b"]}, {"a": 1}, "/required/1"),
        ({"additionalProperties": False}, {"a": 1}, "/additionalProperties"),
        ({"patternProperties": {"^n": {"minimum": 2}}}, {"n": 1}, "/patternProperties/^n/minimum"),
        ({"items": [{}, {"enum": [1]}]}, [0, 0], "/items/1/enum"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, 1, "/anyOf"),
        (
            {"definitions": {"n n": {"type": "null"}}, "items": {"$ref": "#/definitions/n%20n"}},
            [1],
            "/definitions/n n/type",
        ),
        ({"properties": {"a": {"$ref": "#"}, "b": {"type": "null"}}}, {"a": {"b": 1}}, "/properties/b/type"),
    ],
)
def test_a_problem_says_where_the_schema_says_so(schema, value, place):
    assert [problem.schema_path for problem in Schema(schema).problems(value)] == [place]


def test_problems_come_in_the_order_of_their_paths_and_ten_at_most():
    schema = {"properties": {"b": {"type": "null"}, "a": {"type": "null"}}, "required": ["c"]}
    assert paths(schema, {"b": 1, "a": 1}) == ["/a", "/b", "/c"]
    assert len(paths({"items": {"type": "null"}}, [1] * 100_000)) == 10


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("date", "2024-02-29", "2023-02-29"),
        ("date-time", "2024-02-29T23:59:60.5+02:00", "2024-02-29T12:00:00"),
        ("date-time", "2024-02-29t12:00:00z", "2024-02-30T12:00:00Z"),
        ("email", "o'hara+x@mail.example", "a@b@c.example"),
        ("email", '"a b"@[127.0.0.1]', "a b@c.example"),
        ("hostname", "shop.example", "-shop.example"),
        ("ipv4", "127.0.0.1", "127.0.0.01"),
        ("ipv6", "::ffff:127.0.0.1", "fe80::1%eth0"),
        ("uri", "https://shop.example/?q=%20#x", "/cart"),
        ("uri", "urn:isbn:1", "https://shop.example/a b"),
        ("uuid", "6BA7B810-9dad-11d1-80b4-00c04fd430c8", "6ba7b8109dad11d180b400c04fd430c8"),
    ],
)
def test_a_format_is_checked_of_strings_alone(name, good, bad):
    schema = {"properties": {"a": {"format": name}, "b": {"type": "null"}}}
    assert paths(schema, {"a": good}) == []
    assert paths(schema, {"a": bad}) == ["/a"]
    assert paths(schema, {"a": 7}) == []
    assert paths(schema, {"a": 7, "b": 7}) == ["/b"]


# Bounds


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


def test_a_pattern_that_backtracks_is_given_up():
    text = "a" * 50_000 + "b"
    assert paths({"pattern": "^(a+)+$"}, text) == [""]
    assert paths({"pattern": r"^(?=a)(a|aa)+\1c$"}, text[-40:]) == [""]
    assert paths({"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}, {text: 1}) == [f"/{text}"]


def test_alternatives_inside_of_alternatives_are_not_explained_for_ever():
    again = {"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}}
    (problem,) = Schema({"anyOf": [again, again]}).problems(nested(40))
    assert UNBOUNDED in problem.expected


def test_data_that_is_nested_too_deep_to_be_checked_is_wrong():
    schema = Schema({"properties": {"a": {"$ref": "#"}}})
    assert not schema.problems(nested(100))
    assert [problem.path for problem in Schema({"enum": [1]}).problems(nested(5_000))] == [""]


def test_a_schema_that_refers_to_itself_alone_ends():
    schema = Schema({"definitions": {"a": {"$ref": "#/definitions/b"}, "b": {"$ref": "#/definitions/a"}}})
    assert not schema.problems(1)
    assert not Schema({"allOf": [{"$ref": "#"}]}).problems(1)
    assert Schema({"allOf": [{"$ref": "#"}], "type": "null"}).problems(1)


def test_a_lone_surrogate_is_one_character():
    schema = Schema({"maxLength": 1, "pattern": "^[^a]*$"})
    assert not schema.problems("\ud800")
    assert schema.problems("\ud800\ud800")
    assert Schema({"additionalProperties": False}).problems({"\ud800": "\udfff"})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not UTF-8, at byte 0"),
        (b"[]", "it is an array of 0 items, not an object"),
        (b"1" * (MAX_BYTES + 1), "larger than 500,000 bytes"),
        (b'{"a":' * 200 + b"1" + b"}" * 200, "nested deeper than 100"),
        (b'{"type": "strin"}', "/type: 'strin' is not valid"),
        (b'{"properties": {"a": {"minimum": "1"}}}', "/properties/a/minimum: '1' is not of type 'number'"),
        (b'{"required": []}', "/required: "),
        (b'{"pattern": "("}', "regex"),
        (b'{"pattern": "((a{1,1000}){1,1000}){1,1000}"}', "regex"),
        (b'{"pattern": "%s"}' % (b"a" * 3000), "longer than 2,000 characters"),
        (b'{"$ref": "http://127.0.0.1:1/x"}', "nothing is fetched"),
        (b'{"items": {"anyOf": [{"$ref": "other.json#/a"}]}}', "/items/anyOf/0/$ref: 'other.json#/a' is in another"),
        (b'{"x": {"$ref": "file:///etc/passwd"}, "$ref": "#/x"}', "Retrieval is disabled"),
        (b'{"$ref": "#/definitions/none"}', "does not exist"),
    ],
)
def test_what_cannot_be_used_as_a_schema_is_refused_with_the_reason(text, reason):
    with pytest.raises(SchemaError) as caught:
        compile_schema(text)
    assert reason in caught.value.reason


@pytest.mark.parametrize("levels", [17, 2_000])
@pytest.mark.parametrize("again", [lambda ref: ref, lambda ref: {"properties": {"a": ref}}])
def test_a_schema_that_would_be_checked_for_ever_is_beyond_our_bounds(levels, again):
    """Each definition asks twice for the next one: the time doubles with each."""
    nexts = [again({"$ref": f"#/definitions/d{level + 1}"}) for level in range(levels)]
    definitions = {f"d{level}": {"allOf": [each, each.copy()]} for level, each in enumerate(nexts)}
    schema = {"definitions": definitions | {f"d{levels}": {"type": "string"}}, "$ref": "#/definitions/d0"}
    with pytest.raises(SchemaLimitError, match="more than 100,000 schemas"):
        compile_schema(json.dumps(schema).encode())


def test_a_property_may_be_called_ref_and_a_value_may_look_like_one():
    schema = Schema({"properties": {"$ref": {"type": "string"}}, "enum": [{"$ref": "http://a.example/"}]})
    assert not schema.problems({"$ref": "http://a.example/"})
    assert schema.problems({"$ref": 1})


def test_snowplows_own_keys_are_no_obstacle():
    root = Path(__file__).parents[3] / "schemas" / "iglu" / "schemas"
    for file in root.rglob("1-0-0"):
        assert compile_schema(file.read_bytes()).document["self"]["vendor"].startswith("dev.snowbus")
