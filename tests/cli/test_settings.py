"""Settings: flags over the environment over snowbus.toml; and what is said of those that cannot work."""

import importlib
import re
from pathlib import Path

import click
import pytest
from support.snowbus import snowbus

from snowbus.bus.errors import ConfigurationError
from snowbus.bus.settings import Settings, is_secret, role_of, section_of
from snowbus.cli import exit_codes, settings_docs
from snowbus.cli.load_settings import environment_name, load_settings, misspelt
from snowbus.cli.main import COMMANDS
from snowbus.cli.settings import SettingsCommand

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(environment_name(name), raising=False)
    return tmp_path


def refused(flags=(), **spelt):
    """What is said of settings that cannot work."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings(dict(flags), spelt=spelt)
    return str(caught.value)


# Where they come from


def test_without_anything_the_defaults_hold():
    assert load_settings({}).model_dump() == Settings().model_dump()


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path, monkeypatch):
    (tmp_path / "snowbus.toml").write_text('log = "sqlite:///file.db"\ngroup = "file"\npartitions = 1')
    monkeypatch.setenv("SNOWBUS_GROUP", "environment")
    monkeypatch.setenv("SNOWBUS_PARTITIONS", "2")
    settings = load_settings({"partitions": "3"})
    assert (settings.log, settings.group, settings.partitions) == ("sqlite:///file.db", "environment", 3)


def test_the_command_takes_the_flag_before_the_environment_before_the_file(tmp_path):
    def log_of(*flags, **environment):
        answer = snowbus("status", *flags, cwd=tmp_path, settings=environment)
        assert answer.returncode == exit_codes.CONFIGURATION
        return answer.stderr.removeprefix("snowbus: there is no log at ").partition(";")[0]

    assert log_of() == "snowbus.db"
    (tmp_path / "snowbus.toml").write_text('log = "sqlite:///file.db"')
    assert log_of() == "file.db"
    assert log_of(log="sqlite:///environment.db") == "environment.db"
    assert log_of("--log", "sqlite:///flag.db", log="sqlite:///environment.db") == "flag.db"


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


# What cannot work


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("partitions = 0", "partitions: should be greater than 0, not 0"),
        ("partitions = 10_001", "partitions: should be less than or equal to 10000, not 10001"),
        ('kafka_security_protocol = "TLS"', "kafka_security_protocol: should be 'PLAINTEXT', .*, not 'TLS'"),
        ("log = ", "Invalid value"),
        ('colour = "red"', "colour: there is no such setting$"),
        ('colector = "x"', "colector: there is no such setting; did you mean collector?"),
        ('[ingest]\nlisten = ":80"', "ingest: tables are not read; write ingest_… = … at the top of the file"),
        ('gateway_tokens = [["secret"]]', "gateway_tokens.*: should be a valid string$"),
        ("collector = 5", "collector"),
        ("collector = [5]", "collector"),
    ],
)
def test_what_cannot_work_in_the_file_is_told_with_the_file_and_the_name(tmp_path, text, told):
    (tmp_path / "snowbus.toml").write_text(text)
    message = refused()
    assert str(tmp_path / "snowbus.toml") in message
    assert re.search(told, message)
    assert "secret" not in message


def test_a_file_that_cannot_be_read_is_a_sentence(tmp_path):
    (tmp_path / "snowbus.toml").write_bytes(b"\xff")
    assert "snowbus.toml cannot be read: 'utf-8' codec" in refused()


def test_what_cannot_work_is_told_with_the_variable_or_the_flag(tmp_path, monkeypatch):
    (tmp_path / "snowbus.toml").write_text("partitions = 1\nappend_timeout = 1")
    monkeypatch.setenv("SNOWBUS_PARTITIONS", "many")
    monkeypatch.setenv("SNOWBUS_KAFKA_SASL_PASSWORD", "secret-4711")
    assert refused({"append_timeout": "-1"}, append_timeout="--append-timeout") == (
        "settings cannot work\n"
        "  --append-timeout: should be greater than 0, not '-1'\n"
        "  SNOWBUS_PARTITIONS: should be a valid integer, unable to parse string as an integer, not 'many'"
    )


def test_an_address_that_is_none_is_told_with_where_it_came_from(monkeypatch):
    monkeypatch.setenv("SNOWBUS_INGEST_LISTEN", "8080")
    assert refused(ingest_listen="--listen") == (
        "SNOWBUS_INGEST_LISTEN: '8080' is not HOST:PORT, for example 127.0.0.1:8080"
    )


def test_what_a_command_finds_wrong_is_told_with_where_it_came_from(tmp_path):
    told = "log 'redis://x': there is no scheme redis; use kafka://host:9092 or sqlite:///path\n"
    answer = snowbus("topics", cwd=tmp_path, settings={"log": "redis://x"})
    assert (answer.returncode, answer.stderr) == (exit_codes.CONFIGURATION, f"snowbus: SNOWBUS_LOG: {told}")
    answer = snowbus("topics", "--log", "redis://x", cwd=tmp_path)
    assert (answer.returncode, answer.stderr) == (exit_codes.CONFIGURATION, f"snowbus: --log: {told}")


def test_a_protocol_that_needs_a_user_is_told_with_where_the_protocol_came_from(tmp_path):
    log = "kafka://127.0.0.1:1"
    answer = snowbus("topics", "--log", log, cwd=tmp_path, settings={"kafka_security_protocol": "SASL_SSL"})
    assert answer.stderr.startswith("snowbus: SNOWBUS_KAFKA_SECURITY_PROTOCOL: SASL_SSL needs a user and a password; ")
    answer = snowbus("topics", "--log", f"{log}?security_protocol=SASL_SSL", cwd=tmp_path)
    assert answer.stderr.startswith("snowbus: --log: SASL_SSL needs a user and a password; ")


@pytest.mark.parametrize("url", ["kafka://x:y?sasl_password=secret-4711", "kafka://[?sasl_password=secret-4711"])
def test_no_password_is_told(tmp_path, url):
    answer = snowbus("topics", cwd=tmp_path, settings={"log": url})
    assert answer.stderr.startswith("snowbus: SNOWBUS_LOG: ")
    assert "secret" not in answer.stderr


def test_what_another_role_is_told_does_not_concern_a_command(monkeypatch):
    monkeypatch.setenv("SNOWBUS_GATEWAY_LISTEN", "nonsense")
    assert load_settings({}, spelt={"log": "--log"}).gateway_listen == "nonsense"


# What is misspelt


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("SNOWBUS_LOGG", "log"),
        ("SNOWBUS_COLECTOR", "collector"),
        ("SNOWBUS_LOG_LEVEL", "logging_level"),
        ("snowbus_partition", "partitions"),
        ("SNOWBUS_TOKENS", "gateway_tokens"),
        ("SNOWBUS_COLLECTOR_LISTEN", "collect_listen"),
    ],
)
def test_what_a_variable_looks_like_is_known(variable, meant):
    assert misspelt([variable]) == {variable: [meant]}


@pytest.mark.parametrize(
    "variable",
    [
        "SNOWBUS_TEST_KAFKA",
        "SNOWBUS_REQUIRE",
        "SNOWBUS_HOME",
        "SNOWBUS_PORT",  # Kubernetes makes these of services called snowbus and snowbus-ingest
        "SNOWBUS_PORT_8080_TCP_ADDR",
        "SNOWBUS_SERVICE_HOST",
        "SNOWBUS_INGEST_SERVICE_PORT",
        "SNOWBUS_INGEST_PORT",
        "SNOWBUS_GATEWAY_PORT",
        "SNOWBUS_LOG",
        "SNOWBUS_",
        "LOGG",
    ],
)
def test_any_other_variable_is_somebody_elses(variable):
    assert misspelt([variable]) == {}


def test_a_command_warns_of_it_and_goes_on(tmp_path):
    answer = snowbus("topics", "--create", cwd=tmp_path, settings={"logg": "sqlite:///other.db", "test_kafka": "x"})
    assert answer.returncode == exit_codes.OK
    assert answer.stderr == (
        "snowbus: the environment's SNOWBUS_LOGG is no setting, and is not read; did you mean SNOWBUS_LOG?\n"
    )


@pytest.mark.parametrize("name", ["gateway_token", "ingest_api_keys", "gateway_jwt_key_file", "gateway_masks"])
def test_no_command_runs_open_for_a_misspelling(tmp_path, name):
    answer = snowbus("topics", "--create", cwd=tmp_path, settings={name: "x"})
    assert answer.returncode == exit_codes.CONFIGURATION
    assert f"{name.upper()} is no setting, and is not read; did you mean SNOWBUS_" in answer.stderr


# What is told of them


def commands_with_settings():
    for name in COMMANDS:
        command = importlib.import_module(f"snowbus.cli.{name}").command
        if any(parameter.name == "setting_log" for parameter in command.params):
            yield name, command


@pytest.mark.parametrize(("name", "command"), list(commands_with_settings()))
def test_help_lists_what_is_the_commands_own_first_and_then_section_by_section(name, command):
    assert isinstance(command, SettingsCommand), f"snowbus {name} --help is one long list"
    titles = re.findall(r"^(\w.*):$", command.get_help(click.Context(command)), re.MULTILINE)
    assert titles[0] == "Options"
    assert titles[-2:] == ["Kafka", "Diagnostics"]
    assert len(titles) == len(set(titles)) >= 4


def test_every_setting_says_what_it_is_for_and_stands_in_a_section():
    assert all(field.description for field in Settings.model_fields.values())
    sections = [section_of(name) for name in Settings.model_fields]
    together = [title for place, title in enumerate(sections) if place == 0 or sections[place - 1] != title]
    assert len(together) == len(set(together)), "the table has each section in one piece"


def test_the_docs_are_what_the_code_says():
    assert DOCS.read_text("utf-8") == settings_docs.render(), "run `make docs`"


def test_every_flag_in_the_docs_is_one():
    flags = {}
    for name, command in commands_with_settings():
        flags[name] = {option for parameter in command.params for option in parameter.opts}
    text = DOCS.read_text("utf-8")
    for name in Settings.model_fields:
        (row,) = re.findall(rf"^\| `{name}` \|.*$", text, re.MULTILINE)
        told = re.findall(r"`(?:(\w+) )?(--[\w-]+)`", row)
        assert bool(told) != is_secret(name)
        for command, flag in told:
            commands = [command] if command else ["ingest", "publish", "up"]
            assert all(flag in flags[each] for each in commands), (name, flag)
            assert bool(command) == (role_of(name) is not None)


def test_every_exit_code_has_a_meaning():
    codes = {value for name, value in vars(exit_codes).items() if name.isupper() and isinstance(value, int)}
    assert codes == set(exit_codes.MEANINGS)


@pytest.mark.parametrize(
    ("arguments", "instead"),
    [
        (("collect", "--collector", "http://one,http://me:pl4nted@two"), "--collector: .* use SNOWBUS_COLLECTOR$"),
        (("up", "--collect-proxy", "http://me:pl4nted@one"), "--collect-proxy: .* use SNOWBUS_COLLECT_PROXY$"),
        (("tail", "--stream", "ws://one/?token=pl4nted"), "--stream: .* use SNOWBUS_STREAM_TOKEN$"),
    ],
)
def test_a_secret_among_the_arguments_is_refused(arguments, instead, tmp_path):
    answer = snowbus(*arguments, cwd=tmp_path)
    assert answer.returncode in (exit_codes.CONFIGURATION, exit_codes.USAGE)
    assert re.search(instead, answer.stderr, re.MULTILINE)
    assert "pl4nted" not in answer.stderr
