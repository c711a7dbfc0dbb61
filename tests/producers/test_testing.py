"""The check of builders against their schemas, for the tests of apps."""

import json

import pytest

from snowbus.producers.contexts import ContextError, context
from snowbus.producers.testing import check_context

USER = "iglu:com.acme/user/jsonschema/1-0-0"
SCHEMA = {
    "$schema": "http://iglucentral.com/schemas/com.snowplowanalytics.self-desc/schema/jsonschema/1-0-0#",
    "self": {"vendor": "com.acme", "name": "user", "format": "jsonschema", "version": "1-0-0"},
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
    "additionalProperties": False,
}


@context(USER)
def user(request):
    return request


@context(USER)
async def auser(request):
    return [request, request]


@context("iglu:com.acme/none/jsonschema/1-0-0")
def unknown(request):
    return {}


@pytest.fixture(params=["folder", "resolver"])
def schemas(request, tmp_path):
    file = tmp_path / "schemas" / "com.acme" / "user" / "jsonschema" / "1-0-0"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(SCHEMA), "utf-8")
    if request.param == "folder":
        return tmp_path
    resolver = tmp_path / "resolver.json"
    registry = {"name": "ours", "priority": 0, "vendorPrefixes": [], "connection": {"embedded": {"path": "."}}}
    schema = "iglu:com.snowplowanalytics.iglu/resolver-config/jsonschema/1-0-3"
    resolver.write_text(json.dumps({"schema": schema, "data": {"cacheSize": 10, "repositories": [registry]}}), "utf-8")
    return resolver


def test_what_is_as_the_schema_says_is_given_back(schemas):
    entity = {"schema": USER, "data": {"name": "ann"}}
    assert check_context(user, {"name": "ann"}, schemas=schemas) == [entity]
    assert check_context(auser, {"name": "ann"}, schemas=schemas) == [entity] * 2


@pytest.mark.parametrize(
    ("builder", "request_", "reason"),
    [
        (user, {"name": 1}, r"contexts\[0\]/name: expected a string, got 1"),
        (auser, {}, r"contexts\[1\]"),
        (user, "text", "a builder returns data"),
        (unknown, None, "a schema that a registry has"),
    ],
)
def test_what_is_not_is_told_with_the_reason(schemas, builder, request_, reason):
    with pytest.raises(ContextError, match=reason):
        check_context(builder, request_, schemas=schemas)
