"""`snowbus status`."""

import contextlib
import json
import os
import pty
import re
import select
import sqlite3
import subprocess
import time
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest
from support.aio import run, soon
from support.consuming import consume, publish, write_consumer
from support.snowbus import COMMAND, Process, environment, snowbus

from snowbus.bus.event import EVENTS_TOPIC, ProducerRecord, TopicPartition
from snowbus.bus.log import LogOptions, open_log
from snowbus.cli import exit_codes
from snowbus.consumers.collector_status import CollectorStatus
from snowbus.consumers.offsets import Position
from snowbus.consumers.progress import Progress, write_metadata
from snowbus.consumers.receipts import Standing
from snowbus.consumers.status import State, Status

DOCS = Path(__file__).parents[2] / "docs" / "status.md"

pytestmark = pytest.mark.real_kafka  # the mock cluster has no groups

PARTITION = TopicPartition(EVENTS_TOPIC, 0)


def now_ms():
    return time.time_ns() // 1_000_000


def has_committed(url, commits, *, records=10, topic=EVENTS_TOPIC):
    """Have a log with these records in one partition, the first an hour old, and what groups have committed there."""

    async def main():
        async with await open_log(url, LogOptions(partitions=1)) as log:
            await log.create_topics([topic])
            stamps = [now_ms() - 3_600_000, *[None] * (records - 1)]
            await log.append(topic, [ProducerRecord(b"user", b"{}", timestamp=each) for each in stamps])
            for group, (offset, metadata) in commits.items():
                place = TopicPartition(topic, 0)
                await log.reset_group(group, {place: offset}, {place: metadata})

    run(main())


def told(at=-60, *, offset=0, done=(), **progress):
    """A commit of a consumer that told how it stands, so many seconds ago; in a minute, unless told, so that no machine
    is too slow for it.
    """
    return offset, write_metadata(Position(offset, done), Progress(at=now_ms() - at * 1000, **progress))


def statuses(folder, url, *arguments):
    """What is told as JSON, after one look unless told otherwise."""
    answer = snowbus("status", "--json", "--rate", "0", "--log", url, *arguments, cwd=folder)
    assert answer.returncode == exit_codes.OK, answer.stderr
    return [json.loads(line) for line in answer.stdout.splitlines()]


def watching(folder, url):
    return Process("status", "--json", "--watch", "0.2", "--log", url, cwd=folder)


@pytest.mark.parametrize("arguments", ["--watch 0.1", "--watch 0.1 --json"])
def test_watching_ends_when_nobody_reads_it_any_more(tmp_path, sqlite_url, arguments):
    has_committed(sqlite_url, {"one": told(), "two": told()})
    command = f"{COMMAND} status --log {sqlite_url} {arguments} | head -n 1"
    answer = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=20, check=True)  # noqa: S602
    assert (len(answer.stdout.splitlines()), answer.stderr) == (1, "")


class Terminal:
    """What a command shows in a terminal."""

    def __init__(self, process, screen):
        self.process = process
        self.shown = ""
        self._screen = screen

    def find(self, pattern):
        """Wait until the pattern is found in what was shown."""
        soon(lambda: self._read() or re.search(pattern, self.shown, re.DOTALL))

    def _read(self):
        with contextlib.suppress(OSError):  # the command has ended, and its terminal with it
            while select.select([self._screen], [], [], 0)[0]:
                self.shown += os.read(self._screen, 65_536).decode()


@contextlib.contextmanager
def in_terminal(*arguments, folder, columns):
    screen, its = pty.openpty()
    variables = environment() | {"TERM": "xterm", "COLUMNS": str(columns), "LINES": "20"}
    process = subprocess.Popen([COMMAND, *arguments], stdout=its, stderr=its, cwd=folder, env=variables)
    os.close(its)
    try:
        yield Terminal(process, screen)
    finally:
        process.kill()
        process.wait(20)
        os.close(screen)


def test_every_field_is_told_as_json(tmp_path, log_url):
    has_committed(log_url, {"stock": told(done=((1, 4),), waiting=1, next_try=now_ms() + 60_000, last_error="no x")})
    (status,) = statuses(tmp_path, log_url)
    assert abs(status.pop("time") - now_ms()) < 20_000
    assert status.pop("heard_age") == 0
    assert 3_600 <= status.pop("oldest_age") < 3_620
    assert 40 < status.pop("next_try_in") <= 60
    assert status == {
        "group": "stock",
        "topic": "snowbus.events",
        "partition": None,
        "partitions": 1,
        "state": "waiting",
        "state_partitions": 1,
        "state_age": None,
        "committed": 0,
        "end_offset": 10,
        "lag": 7,
        "done_ahead": 3,
        "in_flight": 0,
        "waiting": 1,
        "last_error": "no x",
        "handled_per_second": None,
        "appended_per_second": None,
        "backlog_done_in": None,
        "collectors": [],
    }


def test_the_docs_name_every_field_and_state():
    text = DOCS.read_text("utf-8")
    told = (*fields(Status), *fields(CollectorStatus))
    names = {"time", "collectors", *(field.name for field in told), *get_args(State), *get_args(Standing)}
    assert {name for name in names if f"`{name}`" not in text} == set()


def test_people_see_what_each_group_does(tmp_path, log_url):
    commits = {
        "fast": told(offset=10),
        "slow": told(offset=3, in_flight=2),
        "killed": told(60, in_flight=2),
        "stopped": told(300, left=True),
        "stuck": told(in_flight=1, stuck_since=now_ms() - 90_000),
        "waits": told(offset=9, waiting=1, next_try=now_ms() + 100_000, last_error="no sku yet"),
        "other": (4, "not ours"),
    }
    has_committed(log_url, commits)
    answer = snowbus("status", "--rate", "0", "--log", log_url, cwd=tmp_path)
    assert (answer.returncode, answer.stderr) == (exit_codes.OK, "")
    lines = {line.split()[0]: " ".join(line.split()) for line in answer.stdout.splitlines() if line}
    assert lines["group"] == "group topic state lag oldest in flight waiting next try"
    assert lines["fast"] == "fast snowbus.events idle 0"
    assert re.fullmatch(r"slow snowbus\.events running 7 .* s 2", lines["slow"])
    assert re.match(r"killed snowbus\.events not heard of for 6\d s 10 60 min 2", lines["killed"])
    assert re.match(r"stopped snowbus\.events stopped 5(\.\d)? min ago 10 ", lines["stopped"])
    assert re.match(r"stuck snowbus\.events stuck for 9\d s 10 60 min 1", lines["stuck"])
    assert re.fullmatch(r"waits snowbus\.events waiting for a retry 1 .* s 1 in (9\d|100) s", lines["waits"])
    assert lines["other"].startswith("other snowbus.events does not say 6 ")
    assert answer.stdout.endswith("\nLast errors\nwaits, snowbus.events: no sku yet\n")


def test_a_consumer_is_seen_to_wait_and_to_stop(tmp_path, log_url):
    """A record that waits for its retry does not make those behind it look undone."""
    body = 'if record.event_id == "one": raise Retry("no one yet", delay=600)'
    write_consumer(tmp_path, "from snowbus.consumers import Retry\n" + body)
    publish(tmp_path, log_url, "one", *(f"e-{number}" for number in range(20)))
    with watching(tmp_path, log_url) as watch:
        with consume(tmp_path, log_url, "stock") as process:
            status = json.loads(watch.line(r'"state":"waiting".*"lag":1,').string)
            assert (status["waiting"], status["in_flight"], status["last_error"]) == (1, 0, "no one yet")
            assert 500 < status["next_try_in"] <= 600
            assert process.stop() == exit_codes.OK
        status = json.loads(watch.line(r'"state":"stopped".*"lag":1,').string)
        assert 0 <= status["state_age"] < 20
        assert status["next_try_in"] is None


def test_a_call_that_does_not_end_is_seen_to_be_stuck(tmp_path, sqlite_url):
    (tmp_path / "stock.py").write_text(
        "import time\nfrom snowbus.consumers import consumer\n\n"
        '@consumer("snowbus.events", group_id="stock", timeout=0.2)\ndef stock(record):\n    time.sleep(30)\n'
    )
    publish(tmp_path, sqlite_url, "one")
    with consume(tmp_path, sqlite_url, "stock"), watching(tmp_path, sqlite_url) as watch:
        status = json.loads(watch.line('"state":"stuck"').string)
        assert 0.2 < status["state_age"] < 25
        assert re.fullmatch(r"a call with <Record .*> should have ended after 0.2 s", status["last_error"])


def test_a_group_and_its_partitions_are_shown_alone(tmp_path, sqlite_url):
    has_committed(sqlite_url, {"stock": told(offset=4), "prices": told(offset=5)})
    assert [status["group"] for status in statuses(tmp_path, sqlite_url, "--group", "prices")] == ["prices"]
    (status,) = statuses(tmp_path, sqlite_url, "--group", "stock", "--partitions")
    assert (status["partition"], status["committed"], status["end_offset"]) == (0, 4, 10)
    shown = snowbus("status", "--log", sqlite_url, "--partitions", "--rate", "0", cwd=tmp_path).stdout.splitlines()
    head = "group topic partition state committed end lag oldest in flight waiting next try"
    assert " ".join(shown[0].split()) == head
    assert shown[1].split()[:7] == ["prices", "snowbus.events", "0", "running", "5", "10", "5"]


def test_a_group_that_is_not_there_is_told_and_the_others_are_shown(tmp_path, sqlite_url):
    has_committed(sqlite_url, {"stock": told()})
    answer = snowbus("status", "--log", sqlite_url, "--group", "stock", "--group", "stok", cwd=tmp_path)
    assert answer.returncode == exit_codes.FAILED
    assert "stock  snowbus.events  running" in answer.stdout
    assert answer.stdout.endswith(f"\nThere is no group 'stok' on {sqlite_url}.\n")


def test_a_log_without_groups_says_so(tmp_path, sqlite_url):
    has_committed(sqlite_url, {})
    answer = snowbus("status", "--log", sqlite_url, cwd=tmp_path)
    assert (answer.stdout, answer.returncode) == (f"No group has read from {sqlite_url} yet.\n", exit_codes.OK)


def test_nothing_that_a_consumer_tells_is_obeyed_by_the_terminal_or_wider_than_it(tmp_path, sqlite_url):
    error = "[red]x[/red] \x1b[31m\x07\nsecond line " + "long " * 100
    metadata = json.dumps({"at": now_ms(), "last_error": error})
    has_committed(sqlite_url, {"evil [bold]\x1b[2J": (0, metadata)})
    with in_terminal("status", "--log", sqlite_url, folder=tmp_path, columns=70) as terminal:
        terminal.find(r"Last errors.*\[red\]x\[/red\] .*…")
        assert terminal.process.wait(20) == exit_codes.OK
    shown = re.sub(r"\x1b\[[0-9;]*m", "", terminal.shown)  # the colours are ours
    assert "[red]x[/red]" in shown
    assert "evil [bold]" in shown
    assert not set(shown) & {"\x1b", "\x07"}
    assert "\x1b[31m" not in terminal.shown.partition("Last errors")[2]
    assert max(map(len, shown.splitlines())) <= 70


def test_how_fast_a_group_works_and_when_its_backlog_is_done_is_told_after_two_looks(tmp_path, sqlite_url):
    write_consumer(tmp_path, "await asyncio.sleep(0.01)")
    publish(tmp_path, sqlite_url, *(f"e-{number}" for number in range(2_000)))
    with consume(tmp_path, sqlite_url, "stock") as process, watching(tmp_path, sqlite_url) as watch:
        process.address("consume")
        watch.line(r'"lag":1\d\d\d,')
        (status,) = statuses(tmp_path, sqlite_url, "--rate", "1")
        assert 0 < status["handled_per_second"] < 200
        assert status["appended_per_second"] == 0
        assert status["backlog_done_in"] == pytest.approx(status["lag"] / status["handled_per_second"])


def test_watching_looks_again_and_again_until_it_is_stopped(tmp_path, log_url):
    has_committed(log_url, {"stock": told(offset=10)})
    with watching(tmp_path, log_url) as watch:
        watch.line('"lag":0')
        has_committed(log_url, {}, records=3)
        assert json.loads(watch.line('"lag":3').string)["appended_per_second"] > 0
        assert watch.stop() == exit_codes.OK
        assert watch.diagnostics == []


def test_watching_goes_on_when_the_log_is_away(tmp_path, sqlite_url):
    has_committed(sqlite_url, {"stock": told(offset=10)})
    with Process("status", "--watch", "0.2", "--log", sqlite_url, cwd=tmp_path) as watch:
        watch.line("stock +snowbus.events")
        (tmp_path / "log.db").rename(tmp_path / "away.db")
        watch.line("^The log is away: ")
        (tmp_path / "away.db").rename(tmp_path / "log.db")
        seen = len(watch.output)
        soon(lambda: any(line.startswith("stock") for line in watch.output[seen + 3 :]))
        assert watch.stop() == exit_codes.OK


def test_in_a_terminal_watching_refreshes_in_place(tmp_path, sqlite_url):
    has_committed(sqlite_url, {"stock": told(offset=10)})
    with in_terminal("status", "--watch", "0.1", "--log", sqlite_url, folder=tmp_path, columns=100) as terminal:
        terminal.find(r"stock +snowbus\.events.*idle")
        has_committed(sqlite_url, {}, records=3)
        terminal.find(r"\x1b\[1A\x1b\[2K.*stock +snowbus\.events +\S*running\S* +3 ")
        terminal.process.terminate()
        assert terminal.process.wait(20) == exit_codes.OK
        terminal.find(r"\x1b\[\?25h")  # the cursor is shown again
    assert "Traceback" not in terminal.shown


def test_a_topic_that_is_gone_does_not_hide_the_others(tmp_path, sqlite_url):
    """The embedded log removes no topic; a Kafka forgets what was committed in one that it removes, but not at once."""
    has_committed(sqlite_url, {"stock": told()})
    has_committed(sqlite_url, {"stock": told()}, topic="orders", records=1)
    with contextlib.closing(sqlite3.connect(tmp_path / "log.db", isolation_level=None)) as file:
        file.execute("UPDATE topics SET name = 'gone' WHERE name = 'orders'")
    assert [status["topic"] for status in statuses(tmp_path, sqlite_url)] == ["gone", "snowbus.events"]
