"""`snowbus tail` in a terminal: keys, colours, events in full; and nothing that an event holds is obeyed."""

import json
import re
import signal

import pytest
from support.aio import run, soon
from support.screen import Screen
from support.snowbus import Process, environment, snowbus

from snowbus.bus.event import EVENTS_TOPIC, ProducerRecord
from snowbus.bus.log import LogOptions, open_log
from snowbus.cli import exit_codes

ORDER = "iglu:dev.snowbus.demo/order/jsonschema/1-0-0"
HOSTILE = "\x1b[31m\x9b2J\u202e\x07"
WRONG = {
    "schema": ORDER,
    "data": {"order_id": 7, "items": [{"sku": HOSTILE}]},
    "contexts": [{"schema": "iglu:com.acme/cart/jsonschema/1-0-0", "data": {"a": {"b": [1, HOSTILE]}}}],
    "user_id": "ann",
    "se_value": "12,5",
}


def publish(folder, log, *events):
    snowbus("publish", "--log", log, cwd=folder, stdin="\n".join(map(json.dumps, events)))


def tail(folder, log, *arguments, **variables):
    return Screen("tail", "--log", log, "--from", "earliest", *arguments, cwd=folder, variables=variables)


def without_colours(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_keys_show_events_in_full_pause_and_end_it(tmp_path, sqlite_url):
    publish(
        tmp_path, sqlite_url, {"e": "pv", "url": "https://shop.example/one", "refr": "https://from.example/"}, WRONG
    )
    with tail(tmp_path, sqlite_url) as screen:
        before = screen.modes
        screen.wait_for("-- Enter: the last event in full", "page_view https://shop.example/one", "order")
        assert "order_id                7" not in screen.text
        screen.press("\r")
        screen.wait_for("/order_id               7  ✗ expected a string")
        assert "from.example" not in screen.text
        screen.press("d")
        screen.wait_for("page_referrer             https://from.example/")
        screen.press("\x1b[A ")
        screen.wait_for("-- paused")
        publish(tmp_path, sqlite_url, {"e": "pv", "url": "https://shop.example/two"})
        screen.press("\r ")
        screen.wait_for("https://shop.example/two")
        assert screen.modes != before
        screen.press("q")
        assert screen.process.wait(timeout=20) == exit_codes.OK
        assert screen.modes == before


def test_keys_work_again_when_a_shell_has_stopped_and_continued_it(tmp_path, sqlite_url):
    publish(tmp_path, sqlite_url, {"e": "pv", "refr": "https://from.example/"})
    with tail(tmp_path, sqlite_url) as screen:
        before = screen.modes
        screen.wait_for("page_view")
        ours = screen.modes
        screen.process.send_signal(signal.SIGSTOP)
        screen.modes = before
        screen.process.send_signal(signal.SIGCONT)
        soon(lambda: screen.modes == ours)
        screen.press("d")
        screen.wait_for("https://from.example/")


def test_ctrl_c_ends_it_and_leaves_the_terminal_as_it_was(tmp_path, sqlite_url):
    publish(tmp_path, sqlite_url, {"e": "pv", "url": "https://shop.example/one"})
    with tail(tmp_path, sqlite_url) as screen:
        before = screen.modes
        screen.wait_for("https://shop.example/one")
        screen.press("\x03")
        assert screen.process.wait(timeout=20) == exit_codes.OK
        assert screen.modes == before
        assert "Traceback" not in screen.text


@pytest.mark.parametrize("option", ["--details", "--json"])
def test_nothing_that_an_event_holds_reaches_the_terminal(tmp_path, sqlite_url, option):
    publish(tmp_path, sqlite_url, WRONG | {"app_id": HOSTILE})
    with tail(tmp_path, sqlite_url, option, "--count", "1") as screen:
        assert screen.process.wait(timeout=20) == exit_codes.OK
        screen.wait_for("ann")
        assert without_colours(screen.text).replace("\r\n", "").isprintable()
        assert r"\x1b[31m" in screen.text or r"\u001b[31m" in screen.text


def test_colours_say_what_was_found_unless_nobody_wants_them(tmp_path, sqlite_url):
    hello = {"schema": "iglu:dev.snowbus.demo/hello/jsonschema/1-0-0", "data": {"from": "me"}}
    publish(tmp_path, sqlite_url, {"e": "pv", "aid": "shop"}, hello, WRONG)
    with tail(tmp_path, sqlite_url, "--count", "3") as screen:
        screen.process.wait(timeout=20)
        screen.wait_for("ann")
        colours = {re.sub(r".*([·✓✗]).*", r"\1", line): line[:5] for line in screen.text.split("\r\n")}
        assert colours["✓"] == "\x1b[32m"
        assert colours["✗"] == "\x1b[31m"
        assert colours["·"][0] != "\x1b"
    for variables in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        with tail(tmp_path, sqlite_url, "--count", "3", **variables) as screen:
            screen.process.wait(timeout=20)
            screen.wait_for("ann")
            assert "\x1b" not in screen.text


def test_an_event_in_full_has_what_is_wrong_at_its_field(tmp_path, sqlite_url):
    publish(tmp_path, sqlite_url, WRONG | {"data": {"order_id": 7, "items": []}})
    shown = snowbus(
        "tail", "--log", sqlite_url, "--from", "earliest", "--details", "--count", "1", cwd=tmp_path
    ).stdout.splitlines()
    lines = [" ".join(line.split()) for line in shown[1:]]
    assert "se_value 12,5 ✗ expected a number" in lines
    assert "user_id ann" in lines
    first = lines.index(f"unstruct_event {ORDER}")
    assert lines[first + 1 : first + 3] == [
        "/order_id 7 ✗ expected a string",
        "/items [] ✗ expected no property items (there are order_id, total, currency)",
    ]
    assert "/total ✗ expected a value, which is required, got nothing" in lines[first:]
    assert any(line.startswith(r'/a/b/1 "\u001b[31m\x9b2J\u202e') for line in lines)
    assert lines[-2].startswith("record snowbus.events/")


def test_json_lines_are_the_gateways_messages_and_their_cursors_resume(tmp_path, sqlite_url):
    publish(tmp_path, sqlite_url, *({"e": "pv", "eid": str(number), "uid": "u"} for number in range(3)))
    arguments = ["tail", "--log", sqlite_url, "--json", "--from"]
    lines = snowbus(*arguments, "earliest", "--count", "2", cwd=tmp_path).stdout.splitlines()
    messages = [json.loads(line) for line in lines]
    assert [message["type"] for message in messages] == ["event", "event"]
    (line,) = snowbus(*arguments, messages[1]["cursor"], "--count", "1", cwd=tmp_path).stdout.splitlines()
    assert json.loads(line)["event"]["event_id"] == "2"


def test_without_following_it_ends_where_the_log_does(tmp_path, log_url):
    publish(tmp_path, log_url, *({"e": "pv", "eid": str(number), "uid": f"u{number}"} for number in range(9)))
    arguments = ["tail", "--log", log_url, "--no-follow", "--json", "--from"]
    messages = [json.loads(line) for line in snowbus(*arguments, "earliest", cwd=tmp_path).stdout.splitlines()]
    assert sorted(message["event"]["event_id"] for message in messages) == [str(number) for number in range(9)]
    assert snowbus(*arguments, messages[-1]["cursor"], cwd=tmp_path).stdout == ""
    refused = snowbus("tail", "--stream", "ws://127.0.0.1:8081/v1/events", "--no-follow", cwd=tmp_path)
    assert (refused.returncode, "does not say where" in refused.stderr) == (exit_codes.USAGE, True)


def test_whatever_stands_on_the_log_is_printed(tmp_path, sqlite_url):
    async def main():
        async with await open_log(sqlite_url, LogOptions(retention_seconds=0)) as log:  # one of them is old
            await log.create_topics([EVENTS_TOPIC])
            records = [ProducerRecord(None, b"\x1bno event", (), 2**62), ProducerRecord(b"\xff", b"", (), -1)]
            await log.append(EVENTS_TOPIC, records)

    run(main())
    for option in ("--details", "--json"):
        arguments = ["tail", "--log", sqlite_url, "--from", "earliest", "--count", "2", option]
        answer = snowbus(*arguments, cwd=tmp_path)
        assert (answer.returncode, answer.stderr) == (exit_codes.OK, "")
        assert len(re.findall(r"✗ +not an event|\"event\":{}", answer.stdout)) == 2


def test_details_are_for_people_and_json_for_programs(tmp_path, sqlite_url):
    answer = snowbus("tail", "--log", sqlite_url, "--details", "--json", cwd=tmp_path)
    assert answer.returncode == exit_codes.USAGE


def test_a_gateway_can_be_watched_as_the_log_is(tmp_path, sqlite_url):
    publish(tmp_path, sqlite_url, {"e": "pv", "aid": "shop"}, WRONG, {"e": "pv", "aid": "blog"})
    chosen = ("--from", "earliest", "--count", "1", "app_id=shop")
    variables = environment(gateway_tokens="long-enough")
    token = {"stream_token": "long-enough"}
    arguments = ("--listen", "127.0.0.1:0", "--log", sqlite_url)
    with Process("gateway", *arguments, cwd=tmp_path, variables=variables) as gateway:
        stream = ("--stream", gateway.address("gateway"))
        refused = snowbus("tail", *stream, *chosen, cwd=tmp_path)
        assert (refused.returncode, "SNOWBUS_STREAM_TOKEN" in refused.stderr) == (exit_codes.FAILED, True)
        group = snowbus("tail", "--stream", f"{stream[1]}/v1/events?group=g", cwd=tmp_path)
        assert (group.returncode, "leave out group=" in group.stderr) == (exit_codes.USAGE, True)
        for form in ((), ("--json",), ("--details",)):
            told = snowbus("tail", *stream, *chosen, *form, cwd=tmp_path, settings=token)
            assert told.stdout == snowbus("tail", "--log", sqlite_url, *chosen, *form, cwd=tmp_path).stdout != ""
