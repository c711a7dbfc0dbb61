"""The commands that come to an end: publish, topics, status; help, and how errors are told."""

import json
import shlex
import signal
import socket
import sqlite3
import subprocess
from importlib import import_module

import click
import pytest
from support.aio import run, soon
from support.forwarding import read_all
from support.snowbus import COMMAND, Process, snowbus

from snowbus.bus.canonical import canonical_view
from snowbus.bus.envelope import decode_event
from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.iglu.config import own_config_file
from snowbus.bus.log import open_log
from snowbus.cli import exit_codes
from snowbus.cli.main import COMMANDS

LINES = [
    '{"e":"pv","p":"web","tv":"t","eid":"1","url":"https://shop.example/"}',
    '{"schema":"iglu:com.acme/added/jsonschema/1-0-0","data":{"n":1},"app_id":"shop"}',
    '{"event":"struct","se_category":"c","se_action":"a"}',
    '{"schema":"iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4","data":[{"e":"pv"},{"e":"pp"}]}',
]


def events_on(url):
    async def main():
        async with await open_log(url) as log:
            if EVENTS_TOPIC not in [topic.name for topic in await log.topics()]:
                return []
            return [canonical_view(decode_event(record.value)) for record in await read_all(log, EVENTS_TOPIC)]

    return run(main())


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_says_what_its_flags_are(tmp_path, command):
    answer = snowbus(command, "--help", cwd=tmp_path)
    assert answer.returncode == exit_codes.OK
    assert "SNOWBUS_LOG" in answer.stdout or "Commands:" in answer.stdout


@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - {"consumers", "log", "schema"}))
def test_help_begins_with_two_examples_that_the_command_can_read(command):
    told = import_module(f"snowbus.cli.{command}").command
    examples = [line for line in told.get_help(click.Context(told)).splitlines() if line.startswith("    snowbus ")]
    assert len(examples) == 2
    for example in examples:
        _, name, *arguments = shlex.split(example)
        read = told.commands[arguments.pop(0)] if isinstance(told, click.Group) else told
        assert name == command
        assert read.make_context(command, arguments)


def test_lines_on_stdin_become_events_in_any_form(tmp_path, log_url):
    answer = snowbus("publish", "--log", log_url, cwd=tmp_path, stdin="\n".join(LINES))
    assert (answer.stdout, answer.stderr, answer.returncode) == ("5 published\n", "", exit_codes.OK)
    assert sorted(event["event"] for event in events_on(log_url)) == [
        "page_ping",
        "page_view",
        "page_view",
        "struct",
        "unstruct",
    ]


def test_a_line_that_is_no_event_is_named_and_the_others_are_published(tmp_path, sqlite_url):
    answer = snowbus("publish", "--log", sqlite_url, cwd=tmp_path, stdin='{"e":"pv"}\nnonsense\n\n{"e":"zz"}\n')
    assert answer.stdout == "1 published, 2 refused\n"
    assert "line 2: not JSON" in answer.stderr
    assert "line 4: e: 'zz' is unknown" in answer.stderr
    assert answer.returncode == exit_codes.FAILED


def test_no_line_of_many_is_lost(tmp_path, sqlite_url):
    count = 5000
    lines = "\n".join(f'{{"e":"pv","eid":"{number}"}}' for number in range(count))
    answer = snowbus("publish", "--log", sqlite_url, cwd=tmp_path, stdin=lines)
    assert answer.stdout == f"{count} published\n"
    assert sorted(int(event["event_id"]) for event in events_on(sqlite_url)) == list(range(count))


def test_what_is_too_large_or_no_event_is_named_and_its_neighbours_are_published(tmp_path, sqlite_url):
    batch = '{"schema":"iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4","data":[{"e":"pv"},{"e":1}]}'
    large = f'{{"e":"pv","url":"{"x" * 2_000_000}"}}'
    answer = snowbus("publish", "--log", sqlite_url, cwd=tmp_path, stdin=f'\ufeff{{"e":"pv"}}\n{large}\n{batch}\n')
    assert answer.stdout == "2 published, 2 refused\n"
    assert "line 2: a record of 2000" in answer.stderr
    assert "line 3: data[1]: e: must be a string" in answer.stderr


def test_a_line_is_published_while_the_next_is_awaited_and_a_signal_ends_the_wait(tmp_path, sqlite_url):
    with Process("publish", "--log", sqlite_url, cwd=tmp_path, stdin=True) as publish:
        publish.write('{"e":"pv"}\n{"e":')
        soon(lambda: (tmp_path / "log.db").exists() and len(events_on(sqlite_url)) == 1)
        assert publish.stop() == exit_codes.INTERRUPTED
        assert publish.output == ["1 published"]
        assert publish.diagnostics == ["stopped after line 1; what follows is not published\n"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_a_file_says_up_to_where_it_is_published(tmp_path, sqlite_url, number):
    (tmp_path / "big.ndjson").write_text('{"e":"pv"}\n' * 100_000)
    command = f"exec {COMMAND} publish --log {sqlite_url} < big.ndjson"
    with Process("-c", command, program="/bin/sh", cwd=tmp_path) as publish:
        soon(lambda: (tmp_path / "log.db").exists() and events_on(sqlite_url))
        publish.send(number)
        assert publish.wait() == exit_codes.INTERRUPTED
        count = len(events_on(sqlite_url))
        assert 0 < count < 100_000
        assert publish.output == [f"{count} published"]
        assert publish.diagnostics == [f"stopped after line {count:,}; what follows is not published\n"]


def test_flags_describe_one_event(tmp_path, sqlite_url):
    arguments = ["--schema", "iglu:com.acme/added/jsonschema/1-0-0", "--data", '{"n": 1}', "--set", "app_id=shop"]
    context = '{"schema": "iglu:com.acme/product/jsonschema/1-0-0", "data": {"sku": "A"}}'
    answer = snowbus("publish", "--log", sqlite_url, *arguments, "--context", context, cwd=tmp_path)
    assert answer.stdout == "1 published\n", answer.stderr
    (event,) = events_on(sqlite_url)
    assert event["unstruct_event_com_acme_added_1"] == {"n": 1}
    assert event["contexts_com_acme_product_1"] == [{"sku": "A"}]
    assert event["app_id"] == "shop"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["--set", "event=page_view", "--set", "dvce_created_tstamp=yesterday"],
            "dvce_created_tstamp: expected milli",
        ),
        (["--event", "unstruct"], "unstruct_event: "),
        (["--schema", "foo", "--data", "{}"], "unstruct_event: "),
    ],
)
def test_an_event_described_by_flags_that_is_invalid_is_published_with_a_warning(tmp_path, sqlite_url, arguments, told):
    answer = snowbus("publish", "--log", sqlite_url, *arguments, cwd=tmp_path)
    assert (answer.stdout, answer.returncode) == ("1 published\n", exit_codes.OK)
    assert answer.stderr.startswith("the event is invalid: " + told)
    assert len(events_on(sqlite_url)) == 1


def test_published_events_are_checked_and_those_that_are_invalid_may_be_diverted(tmp_path, sqlite_url):
    lines = "\n".join(
        f'{{"schema": "iglu:dev.snowbus.demo/hello/jsonschema/1-0-0", "data": {{"from": {sender}}}}}'
        for sender in ('"me"', "7")
    )
    resolver = ["--iglu-resolver", str(own_config_file())]
    answer = snowbus("publish", "--log", sqlite_url, *resolver, cwd=tmp_path, stdin=lines)
    assert answer.stdout == "2 published\n", answer.stderr
    answer = snowbus("publish", "--log", sqlite_url, *resolver, "--on-invalid", "divert", cwd=tmp_path, stdin=lines)
    assert (answer.stdout, answer.returncode) == ("1 published, 1 diverted\n", exit_codes.OK)
    event = ["--schema", "iglu:dev.snowbus.demo/hello/jsonschema/1-0-0", "--data", '{"from": 7}']
    answer = snowbus("publish", "--log", sqlite_url, *resolver, *event, cwd=tmp_path)
    assert answer.stderr == "the event is invalid: unstruct_event/from: expected a string, got 7\n"
    assert len(events_on(sqlite_url)) == 4
    answer = snowbus("publish", "--log", sqlite_url, "--iglu-resolver", "none.json", cwd=tmp_path)
    assert answer.returncode == exit_codes.CONFIGURATION
    assert "--iglu-resolver: none.json cannot be read" in answer.stderr


def test_a_line_that_is_not_json_is_told_with_one_line_number(tmp_path, sqlite_url):
    answer = snowbus("publish", "--log", sqlite_url, cwd=tmp_path, stdin='{"e":"pv"}\n{"e":"pv"\n')
    assert answer.stderr == "line 2: not JSON: Expecting ',' delimiter, at character 10\n"


@pytest.mark.parametrize(
    "arguments", [["--set", "app_id"], ["--schema", "iglu:x/y/z/1-0-0", "--data", "{"], ["--colour", "red"]]
)
def test_flags_that_cannot_be_understood_are_a_usage_error(tmp_path, sqlite_url, arguments):
    answer = snowbus("publish", "--log", sqlite_url, *arguments, cwd=tmp_path)
    assert answer.returncode == exit_codes.USAGE
    assert "Error" in answer.stderr


def test_tail_prints_a_line_an_event_and_only_those_that_match(tmp_path, log_url):
    """Nothing that an event holds is obeyed by the terminal."""
    lines = [
        '{"e":"pv","aid":"shop","uid":"u-1","url":"https://x.example/\\u001b[31m"}',
        '{"e":"se","aid":"blog","se_ca":"cart","se_ac":"add","se_va":"12,5"}',
    ]
    snowbus("publish", "--log", log_url, cwd=tmp_path, stdin="\n".join(lines))
    shop = snowbus("tail", "--log", log_url, "--from", "earliest", "--count", "1", "app_id=shop", cwd=tmp_path)
    assert r"page_view https://x.example/\x1b[31m" in shop.stdout
    assert "\x1b" not in shop.stdout
    assert "u-1" in shop.stdout
    blog = snowbus("tail", "--log", log_url, "--from", "-2", "--count", "1", "q=cart", cwd=tmp_path)
    assert "✗ blog" in blog.stdout
    assert "se_value: expected a number, got 12,5" in blog.stdout


def test_tail_ends_when_nobody_reads_it_any_more(tmp_path, sqlite_url):
    snowbus("publish", "--log", sqlite_url, cwd=tmp_path, stdin='{"e":"pv"}')
    command = f"{COMMAND} tail --log {sqlite_url} --from earliest | head -n 1"
    answer = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=20, check=True)  # noqa: S602
    assert "page_view" in answer.stdout


NO_LOG = "snowbus: there is no log at typo/x.db; name the one to read with --log or SNOWBUS_LOG\n"


@pytest.mark.parametrize("command", ["status", "tail", "topics"])
def test_what_only_reads_makes_no_log(tmp_path, command):
    answer = snowbus(command, "--log", "sqlite:///typo/x.db", cwd=tmp_path)
    assert (answer.returncode, answer.stderr) == (exit_codes.CONFIGURATION, NO_LOG)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["up", "ingest", "publish"])
def test_what_writes_makes_a_log_but_not_its_folder(tmp_path, command):
    answer = snowbus(command, "--log", "sqlite:///typo/x.db", cwd=tmp_path)
    assert answer.returncode == exit_codes.CONFIGURATION
    assert answer.stderr.endswith(
        "snowbus: embedded log typo/x.db: there is no folder typo; make it, or mend the path\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_tail_prints_json_for_pipes_and_follows_live(tmp_path, log_url):
    snowbus("publish", "--log", log_url, cwd=tmp_path, stdin='{"e":"pv","eid":"one"}')
    with Process("tail", "--log", log_url, "--from", "earliest", "--json", cwd=tmp_path) as tail:
        tail.line('"eid":"one"')
        snowbus("publish", "--log", log_url, cwd=tmp_path, stdin='{"e":"pv","eid":"two"}')
        line = tail.line('"eid":"two"')
        assert json.loads(line.string)["event"]["event"] == "page_view"
        assert tail.stop() == exit_codes.OK


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["colour=red"], "colour: unknown; filters are app_id, domain_userid,"),
        (["--from", "yesterday"], "--from: "),
        (["app_id"], "app_id: is empty"),
        (["from=earliest"], "from is no filter but an option: --from earliest"),
        (["deliveries=true"], "deliveries: unknown; filters are app_id, domain_userid,"),
    ],
)
def test_tail_refuses_what_it_does_not_understand(tmp_path, sqlite_url, arguments, told):
    answer = snowbus("tail", "--log", sqlite_url, *arguments, cwd=tmp_path)
    assert answer.returncode == exit_codes.USAGE
    assert f"Error: {told}" in answer.stderr


def test_a_file_that_is_no_log_is_a_sentence_and_an_exit_code(tmp_path):
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE x (y)").connection.close()
    answer = snowbus("status", "--log", "sqlite:///other.db", cwd=tmp_path)
    assert answer.returncode == exit_codes.CONFIGURATION
    assert answer.stderr == "snowbus: other.db is an SQLite file of something else, not a Snowbus log\n"


def test_a_kafka_that_is_not_there_is_a_sentence_and_an_exit_code(tmp_path):
    arguments = ["--log", "kafka://127.0.0.1:1", "--append-timeout", "1"]
    answer = snowbus("topics", *arguments, cwd=tmp_path)
    assert answer.returncode == exit_codes.LOG_UNAVAILABLE
    assert answer.stderr.splitlines()[-1].startswith("snowbus: no answer")
    assert "Traceback" not in answer.stderr


def test_an_unknown_command_is_a_usage_error(tmp_path):
    answer = snowbus("fly", cwd=tmp_path)
    assert (answer.returncode, "No such command 'fly'" in answer.stderr) == (exit_codes.USAGE, True)


def test_a_command_spelt_wrong_is_told_with_the_one_that_was_meant(tmp_path):
    answer = snowbus("tial", cwd=tmp_path)
    assert (answer.returncode, "No such command 'tial'; did you mean tail?" in answer.stderr) == (
        exit_codes.USAGE,
        True,
    )


def test_no_error_speaks_of_a_hidden_option(tmp_path):
    answer = snowbus("consume", "--worker", "2", "x", cwd=tmp_path)
    assert answer.returncode == exit_codes.USAGE
    assert "--workers" in answer.stderr
    assert "--worker-link" not in answer.stderr
    assert "--worker-listen" not in answer.stderr


def test_the_address_as_other_servers_call_it_is_told_with_the_flag_that_is_meant(tmp_path):
    assert "written --listen HOST:PORT." in snowbus("ingest", "--port", "80", cwd=tmp_path).stderr
    assert "--ingest-listen HOST:PORT, --collect-listen HOST:PORT" in snowbus("up", "--host", "::", cwd=tmp_path).stderr


def test_the_demo_delivers_to_no_collector_of_yours(tmp_path):
    told = snowbus("up", "--demo", "--collector", "https://collector.example", cwd=tmp_path)
    assert told.returncode == exit_codes.USAGE
    assert "--demo has a collector of its own: leave out --collector, or --demo" in told.stderr


def test_of_several_addresses_that_are_taken_one_is_told(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        told = snowbus("up", "--ingest-listen", address, "--gateway-listen", address, cwd=tmp_path)
    assert told.returncode == exit_codes.CONFIGURATION
    assert told.stderr == (
        f"snowbus: cannot listen on {address}: Address already in use; "
        "choose another address with --gateway-listen or --ingest-listen\n"
    )


def test_roles_that_cannot_all_start_announce_nothing(tmp_path):
    listen = ("--ingest-listen", "127.0.0.1:0", "--gateway-listen", "127.0.0.1:0")
    told = snowbus("up", *listen, "--collector", "http//acme", cwd=tmp_path)
    assert told.returncode == exit_codes.CONFIGURATION
    assert "--collector: collector 'http//acme' is not a URL" in told.stderr
    assert "listens on" not in told.stdout
    assert "ready" not in told.stderr
