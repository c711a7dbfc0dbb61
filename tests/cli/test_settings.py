"""Settings: flags over the environment over snowbus.toml."""

import pytest

from snowbus.bus.errors import ConfigurationError
from snowbus.bus.settings import Settings
from snowbus.cli.settings import environment_name, load_settings


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(environment_name(name), raising=False)
    return tmp_path


def test_without_anything_the_defaults_hold():
    assert load_settings({}).model_dump() == Settings().model_dump()


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path, monkeypatch):
    (tmp_path / "snowbus.toml").write_text('log = "sqlite:///file.db"\ngroup = "file"\npartitions = 1')
    monkeypatch.setenv("SNOWBUS_GROUP", "environment")
    monkeypatch.setenv("SNOWBUS_PARTITIONS", "2")
    settings = load_settings({"partitions": "3"})
    assert (settings.log, settings.group, settings.partitions) == ("sqlite:///file.db", "environment", 3)


def test_a_list_in_the_environment_has_commas(monkeypatch):
    monkeypatch.setenv("SNOWBUS_GATEWAY_ALLOWED_ORIGINS", "https://a.example, https://b.example")
    assert load_settings({}).gateway_allowed_origins == ("https://a.example", "https://b.example")


def test_collectors_keep_their_order_wherever_they_stand(tmp_path, monkeypatch):
    given = ("http://a.example", "http://b.example", "http://c.example")
    assert load_settings({"collector": (given[0], f"{given[1]}, {given[2]}")}).collector == given
    (tmp_path / "snowbus.toml").write_text('collector = ["http://a.example", "http://b.example", "http://c.example"]')
    assert load_settings({}).collector == given
    monkeypatch.setenv("SNOWBUS_COLLECTOR", ",".join(reversed(given)))
    assert load_settings({}).collector == given[::-1]


def test_headers_stand_one_a_line_in_the_environment(monkeypatch):
    monkeypatch.setenv("SNOWBUS_COLLECT_HEADERS", "X-Key: a, b\nX-Other: c\n")
    assert load_settings({}).collect_headers == ("X-Key: a, b", "X-Other: c")


def test_a_list_in_the_file_is_a_list(tmp_path):
    (tmp_path / "snowbus.toml").write_text('gateway_tokens = ["one", "two"]')
    assert load_settings({}).gateway_tokens == ("one", "two")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('colour = "red"', "colour"),
        ("partitions = 0", "partitions: .*greater than 0"),
        ("log = ", "snowbus.toml"),
        ('kafka_security_protocol = "TLS"', "kafka_security_protocol"),
        ("collector = 5", "collector"),
        ("collector = [5]", "collector"),
    ],
)
def test_what_cannot_work_is_told_by_name(tmp_path, text, reason):
    (tmp_path / "snowbus.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=reason):
        load_settings({})


def test_every_setting_says_what_it_is_for():
    assert all(field.description for field in Settings.model_fields.values())
