"""`snowbus schema`: schemas are checked, listed, and events tried against them."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.snowbus import snowbus

from snowbus.bus.iglu.config import own_config_file
from snowbus.bus.iglu.lint import META_SCHEMA
from snowbus.bus.payload import PAYLOAD_DATA_SCHEMA
from snowbus.cli import exit_codes

HELLO = "iglu:dev.snowbus.demo/hello/jsonschema/1-0-0"
SELF = {"vendor": "com.acme", "name": "cart", "format": "jsonschema", "version": "1-0-0"}
SCHEMA = {"$schema": META_SCHEMA, "self": SELF, "type": "object"}
STRICT = {"iglu_resolver": str(own_config_file())}


def put(folder: Path, document: Any, path: str = "com.acme/cart/jsonschema/1-0-0") -> Path:
    file = folder / "schemas" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return file


def test_schemas_that_are_right_pass(tmp_path):
    put(tmp_path, SCHEMA)
    put(tmp_path, ".", ".hidden")
    answer = snowbus("schema", "check", str(tmp_path), cwd=tmp_path)
    assert (answer.stdout, answer.returncode) == ("1 schema, 0 problems\n", exit_codes.OK)


def test_without_a_folder_those_of_the_resolver_are_checked(tmp_path):
    answer = snowbus("schema", "check", cwd=tmp_path)
    assert (answer.stdout, answer.returncode) == ("8 schemas, 0 problems\n", exit_codes.OK)


@pytest.mark.parametrize(
    ("document", "path", "told"),
    [
        ("{", "com.acme/cart/jsonschema/1-0-0", "not JSON"),
        (SCHEMA | {"type": "objekt"}, "com.acme/cart/jsonschema/1-0-0", "/type: 'objekt'"),
        (SCHEMA | {"$ref": "x.json"}, "com.acme/cart/jsonschema/1-0-0", "nothing is fetched"),
        (SCHEMA | {"$schema": "http://json-schema.org/schema#"}, "com.acme/cart/jsonschema/1-0-0", "$schema: must be"),
        (SCHEMA | {"self": None}, "com.acme/cart/jsonschema/1-0-0", "self: must be an object"),
        (SCHEMA, "com.acme/cart/jsonschema/1-0-1", "self.version: is '1-0-0', but its path says '1-0-1'"),
        (SCHEMA, "com.acme/order/jsonschema/1-0-0", "self.name: is 'cart', but its path says 'order'"),
        (SCHEMA, "com.acme/cart/1-0-0", "its path does not end in VENDOR/NAME/jsonschema/VERSION"),
        (
            SCHEMA | {"self": SELF | {"version": "1.0.0"}},
            "com.acme/cart/jsonschema/1-0-0",
            "self.version: must be a SchemaVer, such as 1-0-0, not '1.0.0'",
        ),
        (SCHEMA | {"self": SELF | {"x": 1}}, "com.acme/cart/jsonschema/1-0-0", "self.x: unknown"),
        (
            SCHEMA | {"required": ["sku"], "properties": {"ksu": {}}, "additionalProperties": False},
            "com.acme/cart/jsonschema/1-0-0",
            "the whole: requires 'sku', which is no property",
        ),
    ],
)
def test_what_is_wrong_with_a_schema_is_told_with_its_file(tmp_path, document, path, told):
    file = put(tmp_path, document, path)
    answer = snowbus("schema", "check", str(tmp_path), cwd=tmp_path)
    first, last = answer.stdout.splitlines()
    assert first.startswith(f"{file}: ")
    assert told in first
    assert (last, answer.returncode) == ("1 schema, 1 problem", exit_codes.FAILED)


def test_every_mistake_in_a_schema_is_told_and_what_has_no_effect_is_a_warning(tmp_path):
    properties = {
        "sku": {"type": "string", "maxLenght": 5, "format": "datetime"},
        "kind": {"const": "a", "format": "colour"},
        "price": {"minimum": 5, "maximum": 3},
        "size": {"minimum": 5, "maximum": 5, "exclusiveMaximum": True},
    }
    file = put(tmp_path, SCHEMA | {"properties": properties})
    answer = snowbus("schema", "check", str(tmp_path), cwd=tmp_path)
    assert answer.stdout.replace(f"{file}: ", "").splitlines() == [
        "/properties/price: minimum 5 is above maximum 3, and nothing fits",
        "/properties/size: minimum and maximum are 5, which is excluded, and nothing fits",
        "warning: /properties/sku/maxLenght: draft-04 does not know it, and it has no effect; did you mean maxLength?",
        "warning: /properties/kind/const: draft-04 does not know it, and it has no effect",
        "warning: /properties/sku/format: 'datetime' is no format that is checked; did you mean date-time?",
        (
            "warning: /properties/kind/format: 'colour' is no format that is checked; those are date, date-time, "
            "email, hostname, ipv4, ipv6, uri, uuid"
        ),
        "1 schema, 2 problems, 4 warnings",
    ]
    put(tmp_path, SCHEMA | {"properties": {"a": {"type": "strin"}, "b": {"maxLength": "5"}}, "required": True, "x": 1})
    told = snowbus("schema", "check", str(tmp_path), cwd=tmp_path).stdout
    for place in ("/properties/a/type: ", "/properties/b/maxLength: ", "/required: ", "warning: /x: "):
        assert place in told
    put(tmp_path, SCHEMA | {"x": 1})
    assert snowbus("schema", "check", str(tmp_path), cwd=tmp_path).returncode == exit_codes.OK


def test_a_single_file_may_stand_anywhere(tmp_path):
    (tmp_path / "draft.json").write_text(json.dumps(SCHEMA))
    assert snowbus("schema", "check", "draft.json", cwd=tmp_path).returncode == exit_codes.OK


def test_a_folder_without_schemas_is_no_success(tmp_path):
    answer = snowbus("schema", "check", str(tmp_path), cwd=tmp_path)
    assert answer.returncode == exit_codes.FAILED
    assert "no schemas are there" in answer.stderr


def test_the_schemas_of_the_registries_are_listed_as_far_as_they_can_be(tmp_path):
    put(tmp_path, SCHEMA)
    repositories = [
        {"name": "Away", "priority": 0, "connection": {"http": {"uri": "http://127.0.0.1:1"}}},
        {"name": "Ours", "priority": 0, "connection": {"embedded": {"path": "."}}},
    ]
    config = {"schema": "iglu:com.snowplowanalytics.iglu/resolver-config/jsonschema/1-0-3"}
    config |= {"data": {"cacheSize": 5, "repositories": repositories}}
    (tmp_path / "resolver.json").write_text(json.dumps(config))
    answer = snowbus("schema", "list", "--iglu-resolver", "resolver.json", cwd=tmp_path)
    assert (answer.stdout, answer.returncode) == ("iglu:com.acme/cart/jsonschema/1-0-0 Ours\n", exit_codes.OK)
    assert answer.stderr == "snowbus: Away: cannot connect: Connection refused\n"
    config["data"]["repositories"] = repositories[:1]
    (tmp_path / "resolver.json").write_text(json.dumps(config))
    answer = snowbus("schema", "list", "--iglu-resolver", "resolver.json", cwd=tmp_path)
    assert answer.returncode == exit_codes.FAILED


def hello(data: Any, schema: str = HELLO) -> dict[str, Any]:
    return {"schema": schema, "data": data}


def test_an_event_in_a_file_is_tried(tmp_path):
    (tmp_path / "event.json").write_text(json.dumps(hello({"from": "me"}), indent=2))
    answer = snowbus("schema", "test", "event.json", cwd=tmp_path)
    assert (answer.stdout, answer.returncode) == ("event.json: valid\n", exit_codes.OK)


def test_every_event_is_told_with_why_and_one_that_is_not_valid_fails(tmp_path):
    batch = {"schema": PAYLOAD_DATA_SCHEMA, "data": [{"e": "pv"}, {"e": "se", "se_va": "12,5"}]}
    lines = [hello({"from": "me"}), hello({}), "", hello({}, "iglu:com.acme/none/jsonschema/1-0-0"), batch]
    text = "\n".join(json.dumps(line) if line else "" for line in lines) + "\n{\n"
    answer = snowbus("schema", "test", cwd=tmp_path, stdin=text, settings=STRICT)
    assert answer.returncode == exit_codes.FAILED
    assert answer.stdout.splitlines() == [
        "-:1: valid",
        "-:2: invalid",
        f"  unstruct_event/from: expected a value, which is required, got nothing ({HELLO})",
        "-:4: invalid",
        (
            "  unstruct_event: expected a schema that a registry has, got one that no registry has "
            "(Snowbus: not found) (iglu:com.acme/none/jsonschema/1-0-0)"
        ),
        "-:5, data[0]: valid",
        "-:5, data[1]: invalid",
        "  se_value: expected a number, got 12,5",
        "-:6: no event",
        "  not JSON: Expecting property name enclosed in double quotes, at character 2",
    ]


def test_what_cannot_be_checked_is_told_with_why_and_is_no_success(tmp_path):
    text = json.dumps({"e": "pv"}) + "\n" + json.dumps(hello({}, "iglu:com.acme/none/jsonschema/1-0-0"))
    answer = snowbus("schema", "test", "-", cwd=tmp_path, stdin=text)
    assert answer.returncode == exit_codes.FAILED
    assert answer.stdout.splitlines() == [
        "-:1: unchecked",
        "  no resolver is set; see --iglu-resolver",
        "-:2: unchecked",
        "  unstruct_event: iglu:com.acme/none/jsonschema/1-0-0 is not in Snowbus; see --iglu-resolver",
    ]
    assert snowbus("schema", "test", cwd=tmp_path).returncode == exit_codes.FAILED
