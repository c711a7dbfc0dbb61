"""A resolver's configuration, in Snowplow's own form: what is read of it, and what is said of what cannot work."""

import json

import pytest

from snowbus.bus.errors import ConfigurationError
from snowbus.bus.iglu.config import own_config, parse_resolver_config, settings_config

CONFIG = {
    "schema": "iglu:com.snowplowanalytics.iglu/resolver-config/jsonschema/1-0-2",
    "data": {
        "cacheSize": 500,
        "cacheTtl": 600,
        "repositories": [
            {
                "name": "Iglu Central",
                "priority": 10,
                "vendorPrefixes": ["com.snowplowanalytics"],
                "connection": {"http": {"uri": "http://iglucentral.com"}},
            },
            {
                "name": "Ours",
                "priority": 5,
                "vendorPrefixes": ["com.acme"],
                "connection": {"http": {"uri": "https://iglu.acme.example/api", "apikey": "secret-key"}},
            },
            {"name": "Folder", "priority": 50, "vendorPrefixes": [], "connection": {"embedded": {"path": "here"}}},
        ],
    },
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "here").mkdir()
    return tmp_path


def test_snowplows_own_configuration_is_read(folder):
    config = parse_resolver_config(json.dumps(CONFIG), folder=folder)
    assert (config.cache_size, config.cache_ttl) == (500, 600)
    assert [each.name for each in config.repositories] == ["Iglu Central", "Ours", "Folder"]
    assert config.repositories[1].connection.http.apikey == "secret-key"
    assert config.folders == [folder / "here"]


def test_a_key_is_not_in_what_is_printed_of_it(folder):
    assert "secret-key" not in repr(parse_resolver_config(json.dumps(CONFIG), folder=folder))


@pytest.mark.parametrize(
    ("vendor", "order"),
    [
        ("com.acme", ["Ours", "Folder", "Iglu Central"]),
        ("com.snowplowanalytics.snowplow", ["Iglu Central", "Folder", "Ours"]),
        ("org.other", ["Folder", "Ours", "Iglu Central"]),
    ],
)
def test_who_is_for_a_vendor_is_asked_first_then_folders_then_by_priority(folder, vendor, order):
    config = parse_resolver_config(json.dumps(CONFIG), folder=folder)
    assert [each.name for each in sorted(config.repositories, key=lambda each: each.rank(vendor))] == order


def test_the_schemas_of_snowplows_own_client_need_not_be_there(tmp_path):
    embedded = {"name": "E", "priority": 0, "connection": {"embedded": {"path": "/iglu-client-embedded"}}}
    text = json.dumps({**CONFIG, "data": {"cacheSize": 1, "repositories": [embedded]}})
    assert len(parse_resolver_config(text, folder=tmp_path).repositories) == 1


def changed(**data):
    return json.dumps({**CONFIG, "data": {**CONFIG["data"], **data}})


def with_connection(connection):
    return changed(repositories=[{"name": "R", "priority": 0, "vendorPrefixes": [], "connection": connection}])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "not JSON"),
        ("[]", "no resolver's configuration"),
        (json.dumps({**CONFIG, "schema": "iglu:com.acme/x/jsonschema/1-0-0"}), "no resolver's configuration"),
        (json.dumps({"schema": CONFIG["schema"]}), "data"),
        (changed(cacheSize="500"), "data.cacheSize: Input should be a valid integer"),
        (changed(cacheSize=-1), "data.cacheSize"),
        (changed(repositories=[{"name": "R"}]), "data.repositories.0.priority: Field required"),
        (with_connection({}), "data.repositories.0.connection: it is either embedded or http"),
        (with_connection({"ftp": {}}), "data.repositories.0.connection.ftp: Extra inputs"),
        (with_connection({"http": {"uri": "iglucentral.com"}}), "is no http(s) URL"),
        (with_connection({"http": {"uri": "http://x.example", "apiKey": "k"}}), "http.apiKey: Extra inputs"),
        (with_connection({"embedded": {"path": "away"}}), "registry 'R': there is no folder"),
    ],
)
def test_what_cannot_work_is_told_with_where_it_stands(folder, text, told):
    with pytest.raises(ConfigurationError) as caught:
        parse_resolver_config(text, folder=folder)
    assert told in str(caught.value)


def test_a_file_that_cannot_be_read_is_told_with_its_name(tmp_path):
    with pytest.raises(ConfigurationError, match=r"iglu_resolver: .*resolver\.json cannot be read: .*No such file"):
        settings_config(str(tmp_path / "resolver.json"))
    (tmp_path / "resolver.json").write_text("{}")
    with pytest.raises(ConfigurationError, match=r"iglu_resolver: .*resolver\.json: it is no resolver's"):
        settings_config(str(tmp_path / "resolver.json"))


def test_without_a_file_it_is_what_comes_with_snowbus():
    assert settings_config("") == own_config()
    (folder,) = own_config().folders
    assert (folder / "schemas" / "dev.snowbus.demo" / "order" / "jsonschema" / "1-0-0").is_file()
