"""`snowbus dead`: what died is listed, shown, retried once, and taken away."""

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.aio import run, soon
from support.collector_double import CollectorDouble
from support.consuming import consume, write_consumer
from support.forwarding import numbered, read_all
from support.snowbus import Process, snowbus

from snowbus.bus.event import DEAD_TOPIC, EVENTS_TOPIC, RETRY_TOPIC, ProducerRecord, TopicPartition
from snowbus.bus.log import open_log
from snowbus.cli import exit_codes
from snowbus.cli.dead import command
from snowbus.consumers.dead_letters import Death, append_dead_letter
from snowbus.consumers.testing import event

DIES_UNTIL_HEALED = """\
if record.event_id.startswith("poison") and not os.path.exists("healed"):
    raise KeyError("no such sku")
print("handled", record.event_id, flush=True)"""

EVENTS = (
    event(app_id="shop", event_id="poison-1", user_id="u-1", page_url="https://x.example/\x1b[31m\x9b[bold]"),
    event(schema="iglu:com.acme/added/jsonschema/1-0-0", data={"n": 1}, app_id="blog", event_id="poison-2"),
    event(app_id="shop", event_id="fine", user_id="u-2"),
)


def dead(folder, url, *arguments):
    return snowbus("dead", *arguments, "--log", url, cwd=folder)


def letters(folder, url, *arguments):
    answer = dead(folder, url, "list", "--json", *arguments)
    assert answer.returncode == exit_codes.OK, answer.stderr
    return [json.loads(line) for line in answer.stdout.splitlines()]


def handled(process):
    return sorted(line.removeprefix("handled ") for line in process.output if line.startswith("handled "))


async def with_log(url, use):
    async with await open_log(url) as log:
        await log.create_topics([EVENTS_TOPIC, DEAD_TOPIC, RETRY_TOPIC])
        return await use(log)


def put_letters(url, *events, topic=DEAD_TOPIC):
    """Publish events and let a group give them up, as its consumer would."""

    async def use(log):
        await log.create_topics([topic])
        await log.append(EVENTS_TOPIC, events)
        for record in await read_all(log, EVENTS_TOPIC):
            death = Death(
                "KeyError: 'sku'",
                *(record.topic, record.partition, record.offset),
                group="stock",
                time=time.time_ns() // 1_000_000 - 7_200_000,
                exception="builtins.KeyError",
                traceback="Traceback:\n  \x1b[31mline\n",
            )
            await append_dead_letter(log, topic, record, death)

    run(with_log(url, use))


@pytest.mark.real_kafka  # the mock cluster has no groups
def test_a_poison_event_among_ten_thousand_makes_one_letter_and_a_retry_completes_it(tmp_path, log_url):
    events = [*map(numbered, range(5_000)), numbered(0, eid="poison"), *map(numbered, range(5_000, 9_999))]
    run(with_log(log_url, lambda log: log.append(EVENTS_TOPIC, events)))
    write_consumer(tmp_path, DIES_UNTIL_HEALED, options=", retries=1, backoff=0, concurrency=8")
    with consume(tmp_path, log_url, "stock") as process:
        soon(lambda: len(handled(process)) == 9_999)
        (letter,) = soon(lambda: letters(tmp_path, log_url))
        assert (letter["state"], letter["group"], letter["attempts"]) == ("dead", "stock", 2)
        answer = dead(tmp_path, log_url, "retry", letter["id"])  # it is not healed yet, so it dies again
        assert (answer.stdout, answer.stderr) == ("1 retried\n", "")
        soon(lambda: [letter["state"] for letter in letters(tmp_path, log_url)] == ["done", "dead"])
        Path(tmp_path, "healed").touch()
        assert dead(tmp_path, log_url, "retry", "--all").stdout == "1 retried, 1 done already\n"
        process.line("^handled poison$")
    assert handled(process) == sorted([*map(str, range(9_999)), "poison"])


@pytest.mark.real_kafka
def test_an_event_among_ten_thousand_that_the_collector_refuses_is_delivered_once_by_a_retry(tmp_path, log_url):
    async def origin(log, letter):
        place = TopicPartition(letter["topic"], letter["partition"])
        async with await log.read({place: letter["offset"]}) as reader:
            return (await reader.poll(max_records=1))[0].value

    events = [*map(numbered, range(5_000)), numbered(0, eid="poison"), *map(numbered, range(5_000, 9_999))]
    run(with_log(log_url, lambda log: log.append(EVENTS_TOPIC, events)))
    arguments = ("--log", log_url, "--listen", "127.0.0.1:0")
    with (
        CollectorDouble(refused={"poison": 400}) as collector,
        Process("collect", *arguments, "--collector", collector.url, cwd=tmp_path) as process,
    ):
        soon(lambda: len(collector.accepted) >= 9_999)
        (letter,) = soon(lambda: letters(tmp_path, log_url))
        shown = json.loads(dead(tmp_path, log_url, "show", letter["id"], "--json").stdout)
        assert (shown["state"], shown["group"], shown["topic"]) == ("dead", "collector", EVENTS_TOPIC)
        assert (shown["reason"], shown["status"], shown["response"]) == ("the collector answered 400", 400, "refused")
        assert run(with_log(log_url, lambda log: origin(log, shown))) == events[5_000].value
        assert "poison" not in collector.event_ids
        collector.refused = {}
        assert dead(tmp_path, log_url, "retry", letter["id"]).stdout == "1 retried\n"
        soon(lambda: "poison" in collector.event_ids)
        soon(lambda: [letter["state"] for letter in letters(tmp_path, log_url)] == ["done"])
        assert process.stop() == exit_codes.OK
    assert sorted(collector.event_ids) == sorted([*map(str, range(9_999)), "poison"])
    assert collector.violations == []


@pytest.mark.real_kafka
def test_a_letter_waits_for_its_group_and_is_retried_once(tmp_path, log_url):
    put_letters(log_url, *EVENTS)
    first = dead(tmp_path, log_url, "retry", "--all", "app_id=shop")
    assert first.stdout == "2 retried\n"
    assert first.stderr == "no group 'stock' has read from this log; 2 wait until it does\n"
    assert dead(tmp_path, log_url, "retry", "--all").stdout == "1 retried, 2 waiting already\n"
    assert {letter["state"] for letter in letters(tmp_path, log_url)} == {"waiting"}
    Path(tmp_path, "healed").touch()
    write_consumer(tmp_path, DIES_UNTIL_HEALED, options=', auto_offset_reset="latest"')
    with consume(tmp_path, log_url, "stock") as process:
        soon(lambda: handled(process) == ["fine", "poison-1", "poison-2"])
        soon(lambda: dead(tmp_path, log_url, "retry", "--all").stdout == "0 retried, 3 done already\n")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["event=added"], {"poison-2"}),
        (["--group", "stock", "--reason", "keyerror", "--since", "3h", "app_id=shop"], {"poison-1", "fine"}),
        (["--since", "1h"], set()),
        (["--state", "waiting", "--state", "done"], set()),
    ],
)
def test_letters_are_selected(tmp_path, log_of_letters, arguments, expected):
    answer = dead(tmp_path, log_of_letters, "export", *arguments)
    assert {json.loads(line)["event"]["event_id"] for line in answer.stdout.splitlines()} == expected


@pytest.fixture(scope="module")
def log_of_letters(tmp_path_factory):
    """The URL of an embedded log with a letter of each event, and one of another program; nobody writes to it."""
    url = f"sqlite:///{tmp_path_factory.mktemp('letters') / 'log.db'}"
    put_letters(url, *EVENTS)
    return url


def test_the_table_has_the_newest_letters_and_obeys_no_event(tmp_path, log_of_letters):
    answer = dead(tmp_path, log_of_letters, "list", "--limit", "2")
    assert len(answer.stdout.splitlines()) == 3
    assert answer.stderr == "The newest 2 of 3; --limit shows more.\n"
    assert "\x1b" not in answer.stdout
    assert len(letters(tmp_path, log_of_letters, "--limit", "2")) == 2


def test_a_letter_is_shown_whole_and_obeyed_by_no_terminal(tmp_path, log_of_letters):
    (letter,) = letters(tmp_path, log_of_letters, "user_id=u-1")
    shown = dead(tmp_path, log_of_letters, "show", letter["id"]).stdout
    for text in (
        "KeyError: 'sku'",
        r"\x1b[31mline",
        '"page_url"',
        '"uid": "u-1"',
        "stock",
        "[bold]",
        '"valid": "false"',
    ):
        assert text in shown
    assert not {"\x1b", "\x9b"} & {*shown}
    line = dead(tmp_path, log_of_letters, "show", letter["id"], "--json").stdout
    assert not {"\x1b", "\x9b"} & {*line}
    assert json.loads(line)["payload"]["url"] == "https://x.example/\x1b[31m\x9b[bold]"


def test_what_is_exported_can_be_published_again(tmp_path, log_of_letters, sqlite_url):
    exported = [json.loads(line) for line in dead(tmp_path, log_of_letters, "export").stdout.splitlines()]
    payloads = [letter["payload"] for letter in exported]
    answer = snowbus("publish", "--log", sqlite_url, cwd=tmp_path, stdin="\n".join(map(json.dumps, payloads)))
    assert answer.stdout == "3 published\n"
    tail = snowbus("tail", "--log", sqlite_url, "--from", "earliest", "--count", "3", "--json", cwd=tmp_path).stdout
    again = [json.loads(line)["payload"] for line in tail.splitlines()]
    assert sorted(again, key=lambda payload: payload["eid"]) == sorted(payloads, key=lambda payload: payload["eid"])


def test_what_others_put_there_is_listed_shown_and_refused(tmp_path, sqlite_url):
    odd = ProducerRecord(
        b"\xff\x1b", b"\x00\x1b[31mgarbage" * 90, (("dead_offset", b"\xff"), ("dead_reason", b"\x1b[31m"))
    )
    run(with_log(sqlite_url, lambda log: log.append(DEAD_TOPIC, [odd])))
    (letter,) = letters(tmp_path, sqlite_url)
    assert (letter["group"], letter["offset"], letter["reason"]) == (None, None, "\x1b[31m")
    assert r"\x1b[31m" in dead(tmp_path, sqlite_url, "list").stdout
    shown = dead(tmp_path, sqlite_url, "show", letter["id"]).stdout
    assert "0000  00 1b 5b 33 31 6d 67 61 72 62 61 67 65" in shown
    assert "\x1b" not in shown
    answer = dead(tmp_path, sqlite_url, "retry", letter["id"])
    assert (answer.stdout, answer.returncode) == ("0 retried, 1 refused\n", exit_codes.FAILED)
    assert answer.stderr == f"{letter['id']} cannot be retried: it does not say which group it died in\n"


def test_letters_on_a_topic_of_their_own_are_found_there(tmp_path, sqlite_url):
    put_letters(sqlite_url, EVENTS[0], topic="stock.dead")
    (letter,) = letters(tmp_path, sqlite_url, "--topic", "stock.dead")
    assert dead(tmp_path, sqlite_url, "retry", "--topic", "stock.dead", letter["id"]).stdout == "1 retried\n"
    assert letters(tmp_path, sqlite_url, "--topic", "stock.dead")[0]["state"] == "waiting"


def test_unknown_ids_are_named_before_anything_is_retried(tmp_path, sqlite_url):
    put_letters(sqlite_url, EVENTS[0])
    (letter,) = letters(tmp_path, sqlite_url)
    answer = dead(tmp_path, sqlite_url, "retry", letter["id"], "0-99", "9-0")
    assert answer.returncode == exit_codes.FAILED
    assert answer.stderr == "snowbus: snowbus.dead has no dead letter 0-99, 9-0; they may have expired\n"
    assert letters(tmp_path, sqlite_url)[0]["state"] == "dead"


def test_a_dry_run_retries_nothing(tmp_path, log_of_letters):
    assert dead(tmp_path, log_of_letters, "retry", "--all", "--dry-run").stdout == "3 to be retried\n"
    assert run(with_log(log_of_letters, lambda log: read_all(log, RETRY_TOPIC))) == []


def test_without_letters_there_is_a_sentence(tmp_path, sqlite_url):
    run(with_log(sqlite_url, lambda log: log.topics()))
    assert dead(tmp_path, sqlite_url, "list").stdout == "No dead letters.\n"
    missing = dead(tmp_path, sqlite_url, "list", "--topic", "stok.dead")
    assert missing.returncode == exit_codes.FAILED
    assert missing.stderr == "snowbus: there is no topic 'stok.dead'; `snowbus topics` lists those that there are\n"


def test_a_topic_of_events_is_refused_in_one_line(tmp_path, sqlite_url):
    put_letters(sqlite_url, *EVENTS)
    answer = dead(tmp_path, sqlite_url, "retry", "--all", "--topic", EVENTS_TOPIC)
    assert answer.returncode == exit_codes.USAGE
    assert answer.stderr.splitlines()[-1].startswith("Error: snowbus.events holds no dead letters;")


@pytest.mark.parametrize(
    "arguments",
    [
        ["retry"],
        ["retry", "app_id=shop"],
        ["retry", "--group", "stock"],
        ["retry", "0-1", "--all"],
        ["retry", "0-1", "app_id=shop"],
        ["retry", "five"],
        ["retry", "--all", "colour=red"],
        ["list", "0-1"],
        ["list", "--since", "yesterday"],
        ["list", "--state", "gone"],
        ["export", "0-1"],
        ["show", "five"],
        ["show"],
    ],
)
def test_what_cannot_be_understood_is_a_usage_error(arguments):
    answer = CliRunner().invoke(command, arguments)
    assert answer.exit_code == exit_codes.USAGE
    assert "Error" in answer.output


def test_a_retry_of_letters_that_are_not_there_says_so(tmp_path, sqlite_url):
    put_letters(sqlite_url, EVENTS[0])
    answer = dead(tmp_path, sqlite_url, "retry", "--all", "--group", "misspelt")
    assert (answer.stdout, answer.returncode) == ("0 retried\n", exit_codes.OK)
    assert answer.stderr.startswith("no letter on snowbus.dead is as asked for")
