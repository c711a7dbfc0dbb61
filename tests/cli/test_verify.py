"""`snowbus verify`: each way in which traffic does not fit a plan is told as itself, wherever it is read from."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from support.aio import soon
from support.screen import Screen
from support.snowbus import Process, environment, snowbus

from snowbus.bus.iglu.config import own_config_file
from snowbus.bus.payload import PAYLOAD_DATA_SCHEMA, UNSTRUCT_EVENT_SCHEMA
from snowbus.cli import exit_codes

RESOLVER_SCHEMA = "iglu:com.snowplowanalytics.iglu/resolver-config/jsonschema/1-0-3"

RECORDED = Path(__file__).with_name("recorded") / "shop.ndjson"
ADD = "iglu:com.acme/add_to_cart/jsonschema/1-*-*"
CART = "iglu:com.acme/cart/jsonschema/1-*-*"
EVENT_ID = "00000000-0000-4000-8000-00000000000"
FITS = f"""
name: checkout
only: {{app_id: shop}}
events:
  - {{name: page_view, count: 1}}
  - {{name: add_to_cart, schema: {ADD}, where: {{user_id: u-481}}, data: {{sku: A-113}}, others: ignored, count: 1}}
  - {{name: order, user_id: u-481, data: {{total: {{min: 1}}}}, entities: [], count: 1}}
never: [debug]
order: [page_view, add_to_cart, order]
"""


def verify(folder, plan, *arguments, **given):
    (folder / "plan.yaml").write_text(plan, "utf-8")
    return snowbus("verify", "plan.yaml", *arguments, cwd=folder, **given)


def recorded(folder, plan, *arguments):
    return verify(folder, plan, "--file", str(RECORDED), *arguments)


def test_recorded_traffic_that_fits(tmp_path):
    answer = recorded(tmp_path, FITS)
    assert (answer.returncode, answer.stderr) == (exit_codes.OK, "")
    assert answer.stdout.splitlines() == [
        "checkout: fits (8 events, 1 invalid, 1 repeats left out, the file was read)",
        "  ✓ page_view                        seen 1 of 1",
        "  ✓ add_to_cart                      seen 1 of 1",
        "  ✓ order                            seen 1 of 1",
        "  ✓ never debug                      never came",
        "  ✓ page_view → add_to_cart → order  in order",
    ]


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        ("events: [refund]", ["✗ refund  missing: none of 1 or more seen"]),
        ("events: [{name: page_view, count: 3}]", ["✗ page_view  too few: 1 of 3 seen"]),
        (
            "events: [{name: order, count: 0..2}]",
            ["✗ order  too many: 3 of at most 2 seen", f"order {EVENT_ID}6 at snowbus.events/0@5"],
        ),
        (
            "events: [{name: add_to_cart, user_id: u-481, data: {sku: A-114}}]",
            [
                "✗ add_to_cart  wrong: 1 not as expected; 0 of 1 or more seen",
                f'add_to_cart {EVENT_ID}2 at snowbus.events/0@1: data.sku: expected "A-114", got "A-113"',
            ],
        ),
        (
            "events: [{name: add_to_cart, data: {quantity: {type: integer}}}]",
            [
                "✗ add_to_cart  wrong: 1 not as expected; 2 of 1 or more seen",
                'data.quantity: expected an integer, got the string "2"',
            ],
        ),
        (
            "events: [{name: order, user_id: u-481, data: {coupon: {absent: true}, discount: 5}}]",
            ["data.coupon: expected nothing there, got null", "data.discount: expected 5, got nothing there"],
        ),
        (
            "events: [{name: page_view, where: {page_url: {matches: /cart$}}}]",
            ['page_url: expected text that matches "/cart$", got "https://shop.example/p/A-113"'],
        ),
        (
            f"events: [{{name: add_to_cart, user_id: u-9, entities: [{CART}]}}]",
            [f"entity cart: expected 1 or more of {CART}, got no entities"],
        ),
        (
            f"events: [{{name: add_to_cart, user_id: u-7, entities: [{{schema: {CART}, data: {{currency: EUR}}}}]}}]",
            ['entity cart currency: expected "EUR", got "USD"'],
        ),
        (
            "events: [{schema: iglu:com.acme/add_to_cart/jsonschema/1-0-2, user_id: u-7}]",
            [
                "✗ add_to_cart  wrong: 1 not as expected",
                ": schema: expected iglu:com.acme/add_to_cart/jsonschema/1-0-2, got iglu:com.acme/add_to_cart/",
            ],
        ),
        (
            "events: [struct]",
            [
                "✗ struct  wrong: 1 not as expected",
                f"struct {EVENT_ID}5 at snowbus.events/0@4: validation of se_value: expected a number, got 12,5",
            ],
        ),
        (
            "never: [{valid: false}, debug]",
            [
                "✗ never valid: false  came once",
                f"struct {EVENT_ID}5 at snowbus.events/0@4: se_value: expected a number, got 12,5",
                "✗ never debug         came once",
            ],
        ),
        (
            "events: [add_to_cart, page_view]\norder: [add_to_cart, page_view]",
            [
                "✗ add_to_cart → page_view  out of order",
                f"page_view {EVENT_ID}1 at snowbus.events/0@0 came before add_to_cart {EVENT_ID}2 at snowbus.",
            ],
        ),
        (
            "events: [add_to_cart, order]\norder: {events: [add_to_cart, order], by: user_id}",
            [
                "✗ add_to_cart → order by user_id  out of order, 2 times",
                f"user_id u-9: order {EVENT_ID}6 at snowbus.events/0@5 came before add_to_cart {EVENT_ID}7",
                f"user_id u-10: order {EVENT_ID}8 at snowbus.events/0@7 came without add_to_cart",
            ],
        ),
    ],
)
def test_each_way_not_to_fit_is_told_as_itself(tmp_path, plan, told):
    answer = recorded(tmp_path, plan)
    assert answer.returncode == exit_codes.DOES_NOT_FIT, answer.stderr
    for text in told:
        assert text in answer.stdout
    failed = [text for text in told if text.startswith("✗")]
    assert answer.stdout.count("✗") == max(len(failed), 1)


EVERY_STATUS = """
name: p
events:
  - {name: add_to_cart, others: ignored}
  - refund
  - {name: page_view, count: 3}
  - {name: order, count: 0..2}
  - struct
never: [refund, debug]
order: [{events: [page_view, order], by: user_id}, [page_view, add_to_cart]]
"""


def test_programs_get_every_status_with_its_reasons_as_json_and_junit(tmp_path):
    answer = recorded(tmp_path, EVERY_STATUS, "--json", "--junit", "report.xml")
    report = json.loads(answer.stdout)
    assert (answer.returncode, report["fits"], report["ended"]) == (exit_codes.DOES_NOT_FIT, False, "the file was read")
    assert (report["plan"], report["events"], report["invalid"], report["repeats"]) == ("p", 9, 1, 1)
    statuses = [each["status"] for each in report["expectations"] + report["never"] + report["order"]]
    assert statuses == ["seen", "missing", "too_few", "too_many", "wrong", "ok", "came", "broken", "ok"]
    (miss,) = report["expectations"][4]["misses"]
    assert (miss["event_id"], miss["place"]) == (f"{EVENT_ID}5", "snowbus.events/0@4")
    assert miss["reasons"] == [
        {"field": "validation of se_value", "kind": "invalid", "expected": "a number", "got": "12,5"}
    ]
    first = report["order"][0]["disorders"][0]
    assert (first["by"], first["first"]["expectation"], first["then"]) == ("u-9", "order", {"expectation": "page_view"})

    (suite,) = ET.parse(tmp_path / "report.xml").getroot()  # noqa: S314 - our own
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("p", "9", "6")
    found = {case.get("name"): case.find("failure") for case in suite}
    failures = {name: (each.get("type"), each.get("message")) for name, each in found.items() if each is not None}
    assert failures == {
        "refund": ("missing", "missing: none of 1 or more seen"),
        "page_view": ("too_few", "too few: 1 of 3 seen"),
        "order": ("too_many", "too many: 3 of at most 2 seen"),
        "struct": ("wrong", "wrong: 1 not as expected; 0 of 1 or more seen"),
        "never debug": ("came", "came once"),
        "page_view → order by user_id": ("broken", "out of order, 2 times"),
    }
    assert "validation of se_value: expected a number, got 12,5" in found["struct"].text


def test_what_xml_cannot_hold_is_written_out_in_junit(tmp_path):
    plan = 'events: [{name: order, data: {note: {is: "a"}}}]'
    event = {"schema": "iglu:com.acme/order/jsonschema/1-0-0", "data": {"note": "\x00\x1b]]>\ufffe<&"}}
    verify(tmp_path, plan, "--file", "-", "--junit", "report.xml", stdin=json.dumps(event))
    (suite,) = ET.parse(tmp_path / "report.xml").getroot()  # noqa: S314 - our own
    assert "]]>" in suite.find("testcase/failure").text


def test_filters_on_the_command_line_say_which_events_are_looked_at(tmp_path):
    answer = recorded(tmp_path, "events: [{name: order, count: 1}]", "user_id=u-481")
    assert (answer.returncode, answer.stdout.splitlines()[0]) == (
        exit_codes.OK,
        "plan: fits (3 events, 1 repeats left out, the file was read)",
    )


def shop_messages():
    return [json.loads(line) for line in RECORDED.read_text("utf-8").splitlines()]


def as_har():
    def entry(method, url, text=None):
        request = {"method": method, "url": url, "headers": []} | ({"postData": {"text": text}} if text else {})
        return {"startedDateTime": "2024-02-29T12:00:00.000Z", "request": request, "response": {"status": 200}}

    first, *others = [message["payload"] for message in shop_messages()]
    schema = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"
    url = "https://collector.example/i?" + "&".join(f"{code}={value}" for code, value in first.items())
    return json.dumps(
        {
            "log": {
                "entries": [
                    entry("GET", "https://shop.example/app.js"),
                    entry("GET", url),
                    entry("POST", "https://shop.example/login", "name=ann"),
                    entry(
                        "POST",
                        "https://collector.example/com.acme/track",
                        json.dumps({"schema": schema, "data": others}),
                    ),
                ]
            }
        }
    )


FORMS = {
    "messages with their type and others between": lambda: "\n".join(
        ['{"type":"hello"}', *(json.dumps({"type": "event", "cursor": "c"} | each) for each in shop_messages())]
    ),
    "payloads": lambda: "\n\n".join(json.dumps(each["payload"]) for each in shop_messages()),
    "views": lambda: "\n".join(json.dumps(each["event"]) for each in shop_messages()),
    "an array of messages": lambda: json.dumps(shop_messages(), indent=2),
    "archived": lambda: "\n".join(json.dumps({"event": e["event"], "payload": e["payload"]}) for e in shop_messages()),
    "HAR": as_har,
}


@pytest.mark.parametrize("form", FORMS)
def test_recorded_traffic_may_have_any_of_several_forms(tmp_path, form):
    answer = verify(tmp_path, FITS.replace("count: 1}", "count: 1..}"), "--file", "-", stdin=FORMS[form]())
    assert answer.returncode == exit_codes.OK, answer.stdout + answer.stderr


def test_what_snowplow_micro_has_is_read_with_its_verdict(tmp_path):
    def item(parameters, **others):
        return {
            "rawEvent": parameters and {"api": {"vendor": "v", "version": "tp2"}, "parameters": parameters}
        } | others

    good = item({"e": "pv", "aid": "shop", "eid": "1", "url": "https://shop.example/"}, event={"page_urlhost": "x"})
    bad = [item({"e": "ue", "aid": "shop", "eid": "2"}, errors=["a", "b"]), item(None, errors=["no JSON"])]
    plan = "events: [{name: page_view, valid: true, where: {page_url: {matches: shop}}}]\nnever: [{valid: false}]"
    answer = verify(tmp_path, plan, "--file", "-", stdin=json.dumps([good]))
    assert answer.returncode == exit_codes.OK, answer.stdout
    answer = verify(tmp_path, plan, "--file", "-", stdin=json.dumps([good, *bad]))
    assert "unstruct 2 at [1]: expected what Micro takes for good, got a; b" in answer.stdout
    assert "not an event at [2]: expected an event, got no JSON" in answer.stdout


def test_what_is_no_event_in_recorded_traffic_is_invalid_and_what_is_no_json_ends_it(tmp_path):
    plan = "never: [{valid: false}]"
    answer = verify(tmp_path, plan, "--file", "-", stdin='{"e":"pv"}\n{"colour":"red"}\n{"e":"zz"}\n')
    assert answer.returncode == exit_codes.DOES_NOT_FIT
    assert "not an event at line 2: expected an event, got not an event: it has neither e" in answer.stdout
    assert "not an event at line 3: expected an event, got e: 'zz' is unknown" in answer.stdout
    answer = verify(tmp_path, plan, "--file", "-", stdin='{"e":"pv"}\nnonsense\n')
    assert answer.returncode == exit_codes.FAILED
    assert "snowbus: -: line 2: not JSON" in answer.stderr


HELLO = "iglu:dev.snowbus.demo/hello/jsonschema/1-0-0"
NOWHERE = "iglu:com.acme/nowhere/jsonschema/1-0-0"


def hello(sender, schema=HELLO):
    return {"schema": schema, "data": {"from": sender}}


def test_recorded_events_that_nobody_has_checked_are_checked_against_their_schemas(tmp_path):
    plan = "name: p\nevents: [{event_name: hello, valid: true, count: 1, others: ignored}]\nnever: [{valid: false}]"
    strict = ["--file", "-", "--iglu-resolver", str(own_config_file())]
    answer = verify(tmp_path, plan, *strict, stdin=json.dumps(hello("me")))
    assert answer.returncode == exit_codes.OK, answer.stdout
    view = {"event": "unstruct", "event_name": "hello"}
    one, two, three = ({"e": "ue", "eid": eid, "ue_pr": json.dumps(described(hello(7)))} for eid in "123")
    recorded = [
        hello(7),
        {"schema": PAYLOAD_DATA_SCHEMA, "data": [one]},
        {"event": view, "payload": two},  # as the archive keeps it
        hello("me", NOWHERE),
        {"event": view, "payload": three, "validation": {"status": "unchecked"}},  # was found so: it may be masked
    ]
    answer = verify(tmp_path, plan, *strict, "--json", stdin="\n".join(map(json.dumps, recorded)))
    report = json.loads(answer.stdout)
    assert (report["events"], report["invalid"], report["notes"]) == (5, 4, [])
    assert "unstruct_event/from" in answer.stdout
    lenient = verify(tmp_path, "never: [{valid: false}]", "--file", "-", stdin=json.dumps(hello("me", NOWHERE)))
    assert lenient.returncode == exit_codes.OK, lenient.stdout


def described(event):
    return {"schema": UNSTRUCT_EVENT_SCHEMA, "data": event}


def test_registries_that_are_away_leave_recorded_events_unchecked_and_that_is_told(tmp_path):
    away = {"name": "Away", "priority": 0, "connection": {"http": {"uri": "http://127.0.0.1:1"}}}
    config = {"schema": RESOLVER_SCHEMA, "data": {"cacheSize": 5, "repositories": [away]}}
    (tmp_path / "resolver.json").write_text(json.dumps(config))
    arguments = ["--file", "-", "--iglu-resolver", "resolver.json"]
    answer = verify(tmp_path, "events: [hello]", *arguments, stdin=json.dumps(hello("me")))
    assert answer.returncode == exit_codes.OK
    assert "-- 1 events could not be checked: no answer from the registries of their schemas" in answer.stderr
    answer = verify(tmp_path, "events: [{name: hello, valid: true}]", *arguments, stdin=json.dumps(hello("me")))
    assert "validation: expected an event found valid, got unchecked" in answer.stdout
    answer = verify(tmp_path, "events: [hello]", "--file", "-", "--iglu-resolver", "none.json", stdin="")
    assert answer.returncode == exit_codes.CONFIGURATION


def publish(folder, *names, log):
    lines = "\n".join(
        f'{{"schema":"iglu:com.acme/{name}/jsonschema/1-0-0","data":{{}},"user_id":"u"}}' for name in names
    )
    snowbus("publish", "--log", log, cwd=folder, stdin=lines)


def test_the_log_is_read_from_where_it_is_told_and_no_further_than_there_is(tmp_path, log_url):
    publish(tmp_path, "add", "order", log=log_url)
    plan = "events: [{name: add, count: 1}, {name: order, count: 1}]\norder: {events: [add, order], by: user_id}"
    arguments = ["--log", log_url, "--timeout", "0"]
    answer = verify(tmp_path, plan, *arguments, "--from", "earliest")
    assert (answer.returncode, answer.stdout.splitlines()[0]) == (
        exit_codes.OK,
        "plan: fits (2 events, all that was there was read)",
    ), answer.stderr
    answer = verify(tmp_path, plan, *arguments)
    assert answer.returncode == exit_codes.DOES_NOT_FIT
    assert "plan: does not fit (0 events, " in answer.stdout


def test_a_live_log_is_watched_until_all_was_seen(tmp_path, sqlite_url):
    (tmp_path / "plan.yaml").write_text("events: [add, order]")
    publish(tmp_path, "add", log=sqlite_url)
    arguments = ["plan.yaml", "--log", sqlite_url, "--from", "earliest", "--timeout", "60", "--settle", "0"]
    with Process("verify", *arguments, cwd=tmp_path) as process:
        publish(tmp_path, "order", log=sqlite_url)
        assert process.wait() == exit_codes.OK
        assert process.text.startswith("plan: fits (2 events, all was seen)\n")
        assert process.diagnostics == []


def test_time_that_is_up_is_told(tmp_path, sqlite_url):
    publish(tmp_path, "add", log=sqlite_url)
    answer = verify(tmp_path, "events: [order]", "--log", sqlite_url, "--timeout", "0.1")
    assert "plan: does not fit (0 events, time was up)" in answer.stdout


def test_a_signal_ends_it_with_what_was_seen_so_far(tmp_path, sqlite_url):
    (tmp_path / "plan.yaml").write_text("events: [add, order]")
    publish(tmp_path, "add", log=sqlite_url)
    arguments = ["plan.yaml", "--log", sqlite_url, "--from", "earliest", "--timeout", "60", "--junit", "report.xml"]
    with Process("verify", *arguments, cwd=tmp_path) as process:
        soon(lambda: _catches_sigterm(process.pid))
        assert process.stop() == exit_codes.DOES_NOT_FIT
        assert ", stopped)" in process.output[0]
        assert "✗ order  missing" in process.text
    assert (tmp_path / "report.xml").exists()


def _catches_sigterm(pid):
    (caught,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt")]
    return int(caught.split()[1], 16) >> 14 & 1


def test_a_gateway_can_be_watched(tmp_path, sqlite_url):
    publish(tmp_path, "add", "add", "order", "debug", log=sqlite_url)
    with Process("gateway", "--listen", "127.0.0.1:0", "--log", sqlite_url, cwd=tmp_path) as gateway:
        url = f"{gateway.address('gateway')}/v1/events?from=earliest&event=order"
        plan = "events: [{name: add, count: 2}]\nnever: [order]"
        answer = verify(tmp_path, plan, "--stream", url + "&event=add", "--settle", "0")
        assert answer.returncode == exit_codes.DOES_NOT_FIT, answer.stderr
        assert answer.stdout.startswith("plan: does not fit (3 events, all was seen)\n")
        assert "✓ add          seen 2 of 2\n  ✗ never order  came once\n" in answer.stdout
        answer = verify(tmp_path, plan, "--stream", url.replace("events", "nothing"), "--timeout", "0")
        assert (answer.returncode, "refuses the stream with 404" in answer.stderr) == (exit_codes.FAILED, True)


def test_a_gateways_token_is_taken_from_the_environment(tmp_path, sqlite_url):
    publish(tmp_path, "add", log=sqlite_url)
    variables = environment(gateway_tokens="long-enough")
    with Process(
        "gateway", "--listen", "127.0.0.1:0", "--log", sqlite_url, cwd=tmp_path, variables=variables
    ) as gateway:
        arguments = ["event=add", "--stream", gateway.address("gateway"), "--timeout", "0"]
        answer = verify(tmp_path, "never: [add]", *arguments, settings={"stream_token": "long-enough"})
        assert (answer.returncode, answer.stderr) == (exit_codes.OK, "")
        answer = verify(tmp_path, "never: [add]", *arguments)
        assert answer.returncode == exit_codes.FAILED
        assert re.search("refuses the stream with 401: .*; SNOWBUS_STREAM_TOKEN is where", answer.stderr)


def test_what_cannot_be_read_is_an_error_in_every_report(tmp_path):
    arguments = ["--stream", "ws://127.0.0.1:1", "--timeout", "0", "--junit", "report.xml"]
    answer = verify(tmp_path, "never: [add]", *arguments, "--json")
    report = json.loads(answer.stdout)
    assert (answer.returncode, report["fits"], report["ended"]) == (exit_codes.FAILED, False, "an error ended it")
    assert report["error"].startswith("ws://127.0.0.1:1/v1/events cannot be reached for 1")
    assert f"snowbus: {report['error']}" in answer.stderr
    (suite,) = ET.parse(tmp_path / "report.xml").getroot()  # noqa: S314 - our own
    assert [suite.get(name) for name in ("tests", "failures", "errors")] == ["2", "0", "1"]
    assert suite.find("testcase/error").get("message") == report["error"]
    answer = verify(tmp_path, "never: [add]", *arguments)
    assert answer.stdout.startswith("plan: cannot be said (0 events, an error ended it)\n")


def test_what_is_no_event_in_recorded_traffic_is_told_whatever_is_asked_for(tmp_path):
    others = "\n".join(['{"foo":1}'] * 4)
    answer = verify(tmp_path, "only: {app_id: shop}\nnever: [debug]", "--file", "-", "event=struct", stdin=others)
    assert answer.returncode == exit_codes.OK
    assert answer.stderr.startswith("-- not understood, 4 in all: line 1: not an event: it has neither e")
    assert "; line 3: " in answer.stderr
    assert answer.stderr.endswith("; …\n")


@pytest.mark.parametrize(
    ("plan", "arguments", "told"),
    [
        ("events: [{nmae: x}]", [], "plan.yaml line 1: events[0].nmae: unknown; did you mean name?"),
        ("events: [a]", ["--file", "x", "--from", "earliest"], "leave out --stream and --from"),
        ("events: [a]", ["--file", "missing.ndjson"], "--file missing.ndjson: No such file or directory"),
        ("events: [a]", ["--from", "yesterday"], "--from: 'yesterday' is none of latest, earliest"),
        ("events: [a]", ["colour=red"], "colour: unknown; filters are app_id, "),
        ("events: [a]", ["from=earliest"], "from is no filter but an option"),
        ("events: [a]", ["--junit", "missing/report.xml"], "--junit: there is no folder missing"),
        ("events: [a]", ["--stream", "ws://127.0.0.1:1/?group=g"], "--stream: a group would take the events"),
    ],
)
def test_what_cannot_be_understood_is_a_usage_error(tmp_path, plan, arguments, told):
    answer = verify(tmp_path, plan, *arguments)
    assert (answer.returncode, answer.stdout) == (exit_codes.USAGE, "")
    assert told in answer.stderr


def test_the_schema_of_plans_is_printed(tmp_path):
    assert json.loads(snowbus("verify", "--schema", cwd=tmp_path).stdout)["title"] == "A plan for `snowbus verify`"


def test_on_a_terminal_it_shows_how_it_stands_and_obeys_nothing_that_an_event_or_a_plan_holds(tmp_path, sqlite_url):
    (tmp_path / "plan.yaml").write_text('events: [{name: "add\\e[31m", event: add}, order]')
    publish(tmp_path, "add", log=sqlite_url)
    arguments = ["plan.yaml", "--log", sqlite_url, "--from", "earliest", "--timeout", "60", "--settle", "0"]
    with Screen("verify", *arguments, cwd=tmp_path) as screen:
        screen.wait_for(r"✓ add\x1b[31m  seen 1 of 1 or more", "… order  missing: none of 1 or more seen")
        publish(tmp_path, "order", log=sqlite_url)
        assert screen.process.wait(timeout=30) == exit_codes.OK
        screen.wait_for("plan: fits (2 events, all was seen)")
        assert "✓ order" in screen.text
        assert "add\x1b[31m" not in screen.text


def test_ctrl_c_on_a_terminal_leaves_the_report_there(tmp_path, sqlite_url):
    (tmp_path / "plan.yaml").write_text("events: [add, order]")
    publish(tmp_path, "add", log=sqlite_url)
    with Screen("verify", "plan.yaml", "--log", sqlite_url, "--from", "earliest", cwd=tmp_path) as screen:
        screen.wait_for("… order")
        screen.press("\x03")
        assert screen.process.wait(timeout=30) == exit_codes.DOES_NOT_FIT
        screen.wait_for("plan: does not fit (1 event, stopped)", "✗ order  missing")
