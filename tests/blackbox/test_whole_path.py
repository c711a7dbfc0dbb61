"""The whole path, with the installed command: trackers → ingest → log → collector and websocket."""

import json
import signal
from contextlib import ExitStack

import pytest
import requests
from snowplow_tracker import Emitter, PageView, SelfDescribing, SelfDescribingJson, StructuredEvent, Subject, Tracker
from support.aio import soon
from support.collector_double import CollectorDouble, status
from support.node import run_node
from support.snowbus import COMMAND, Process, environment, snowbus
from support.watching import Watcher

pytestmark = pytest.mark.real_kafka  # the mock cluster has no groups

ROLES = ("ingest", "collect", "gateway")
FREE_PORT = ("--listen", "127.0.0.1:0")
CLIENT_FACTS = {"ip", "ua", "tnuid", "lang", "url", "refr", "stm"}


class Recorder:
    """An emitter that keeps the payloads as they are sent, by `eid`."""

    def __init__(self):
        self.sent = {}

    def input(self, payload):
        self.sent[payload["eid"]] = {code: str(value) for code, value in payload.items()}


def start(stack, role, log_url, cwd, *arguments):
    return stack.enter_context(Process(role, "--log", log_url, *FREE_PORT, *arguments, program=COMMAND, cwd=cwd))


def collect_arguments(collector):
    return ("--collector", collector.url, "--backoff", "0.1", "--backoff-max", "0.2", "--session-timeout", "6")


def tracker_for(address, recorder, *, method="post", batch_size=1):
    emitter = Emitter(address.removeprefix("http://"), protocol="http", method=method, batch_size=batch_size)
    return Tracker("ns", [emitter, recorder], app_id="shop"), emitter


def track_some(tracker, count):
    for number in range(count):
        subject = Subject().set_platform("web").set_user_id(f"u-{number % 5}").set_useragent("test")
        tracker.track(PageView(f"https://shop.example/Straße?n={number}", "Käse & 🧀", event_subject=subject))
        data = {"sku": f"A-{number}", "note": '"quoted" + 100 %', "price": 10**18 + number}
        event = SelfDescribingJson("iglu:com.acme/added/jsonschema/1-0-0", data)
        entity = SelfDescribingJson("iglu:com.acme/product/jsonschema/1-0-0", {"number": number})
        tracker.track(SelfDescribing(event, context=[entity], event_subject=subject))
        tracker.track(StructuredEvent("cart", "add", value=1.5, event_subject=subject))


def check_everything_arrived_once(sent, collector, watcher):
    """Every `eid` exactly once at both ends, with the payload that was sent."""
    soon(lambda: len(watcher.event_ids) >= len(sent))
    soon(lambda: len(collector.accepted) >= len(sent))
    assert collector.violations == []
    assert sorted(watcher.event_ids) == sorted(sent)
    assert sorted(collector.event_ids) == sorted(sent)
    for message in watcher.events:
        seen = message["payload"]
        assert {**seen, "stm": ""} == {**sent[seen["eid"]], "stm": ""}
    for taken in collector.accepted:
        expected = sent[taken["eid"]]
        assert expected.items() <= {**taken, "stm": expected.get("stm", "")}.items()
        assert taken.keys() - expected.keys() <= CLIENT_FACTS


def test_three_processes_carry_every_event_of_a_tracker_once(tmp_path, log_url):
    recorder = Recorder()
    with ExitStack() as stack:
        collector = stack.enter_context(CollectorDouble())
        ingest = start(stack, "ingest", log_url, tmp_path)
        start(stack, "collect", log_url, tmp_path, *collect_arguments(collector)).address("collect")
        gateway = start(stack, "gateway", log_url, tmp_path)
        watcher = stack.enter_context(Watcher(gateway.address("gateway")))
        for method, batch_size in (("post", 1), ("post", 10), ("get", 1)):
            tracker, emitter = tracker_for(ingest.address("ingest"), recorder, method=method, batch_size=batch_size)
            track_some(tracker, 10)
            emitter.flush()
        check_everything_arrived_once(recorder.sent, collector, watcher)


@pytest.mark.node
def test_three_processes_carry_every_event_of_the_node_tracker_once(tmp_path, log_url):
    with ExitStack() as stack:
        collector = stack.enter_context(CollectorDouble())
        ingest = start(stack, "ingest", log_url, tmp_path)
        start(stack, "collect", log_url, tmp_path, *collect_arguments(collector)).address("collect")
        gateway = start(stack, "gateway", log_url, tmp_path)
        watcher = stack.enter_context(Watcher(gateway.address("gateway")))
        sent = {}
        for method in ("post", "get"):
            payloads = run_node("track.cjs", ingest.address("ingest"), method, "10")
            sent |= {payload["eid"]: payload for payload in payloads}
        assert len(sent) == 80
        check_everything_arrived_once(sent, collector, watcher)


def test_one_process_carries_every_event_of_a_tracker_once(tmp_path, sqlite_url):
    recorder = Recorder()
    listen = [f"--{role}-listen=127.0.0.1:0" for role in ROLES]
    with ExitStack() as stack:
        collector = stack.enter_context(CollectorDouble())
        up = Process("up", "--log", sqlite_url, "--collector", collector.url, *listen, program=COMMAND, cwd=tmp_path)
        stack.enter_context(up)
        watcher = stack.enter_context(Watcher(up.address("gateway")))
        tracker, emitter = tracker_for(up.address("ingest"), recorder)
        track_some(tracker, 10)
        emitter.flush()
        check_everything_arrived_once(recorder.sent, collector, watcher)
        assert up.stop() == 0


@pytest.mark.parametrize("order", [ROLES, ROLES[::-1], ("collect", "ingest", "gateway")], ids="-".join)
def test_roles_start_and_stop_in_any_order(tmp_path, sqlite_url, order):
    check_order(tmp_path, sqlite_url, order)


@pytest.mark.kafka
def test_roles_start_and_stop_in_any_order_on_kafka(tmp_path, kafka_url):
    check_order(tmp_path, kafka_url, ("gateway", "ingest", "collect"))


def check_order(tmp_path, log_url, order):
    """Events sent while the others are not there yet, or stopped, arrive when they are (back)."""
    recorder = Recorder()
    with ExitStack() as stack:
        collector = stack.enter_context(CollectorDouble())
        processes = {}

        def begin(role):
            arguments = collect_arguments(collector) if role == "collect" else ()
            processes[role] = start(stack, role, log_url, tmp_path, *arguments)
            if role == "ingest":
                tracker, emitter = tracker_for(processes[role].address(role), recorder)
                track_some(tracker, 2)
                emitter.flush()

        for role in order:
            begin(role)
        soon(lambda: len(collector.accepted) >= len(recorder.sent))
        for role in order:
            processes[role].address(role)
            assert processes[role].stop() == 0
            begin(role)
        with Watcher(processes["gateway"].address("gateway"), "from=earliest") as watcher:
            check_everything_arrived_once(recorder.sent, collector, watcher)


def test_a_collector_that_is_down_for_a_while_costs_lag_and_no_event(tmp_path, log_url):
    """The lag is visible in `snowbus status`, and delivery resumes by itself."""
    recorder = Recorder()
    with ExitStack() as stack:
        collector = stack.enter_context(CollectorDouble())
        ingest = start(stack, "ingest", log_url, tmp_path)
        gateway = start(stack, "gateway", log_url, tmp_path)
        collect = start(stack, "collect", log_url, tmp_path, *collect_arguments(collector))
        watcher = stack.enter_context(Watcher(gateway.address("gateway")))
        tracker, emitter = tracker_for(ingest.address("ingest"), recorder)
        collect.address("collect")
        collector.down()
        track_some(tracker, 5)
        emitter.flush()
        soon(lambda: len(watcher.event_ids) == 15)

        def lag():
            answer = snowbus("status", "--json", "--log", log_url, cwd=tmp_path)
            return {line["group"]: line["lag"] for line in map(json.loads, answer.stdout.splitlines())}

        soon(lambda: lag().get("collector") == 15)
        collector.up()
        collector.respond(*[status(503)] * 2)
        check_everything_arrived_once(recorder.sent, collector, watcher)
        soon(lambda: lag().get("collector") == 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_demo_shows_the_whole_path_and_says_what_was_delivered(tmp_path, number):
    variables = environment(log="sqlite:///not-the-demos/log.db", collector="https://collector.example")
    with Process("up", "--demo", "--demo-rate", "100", program=COMMAND, cwd=tmp_path, variables=variables) as demo:
        with Watcher(demo.address("gateway"), "from=earliest") as watcher:
            soon(lambda: len(watcher.event_ids) >= 50)
            assert {message["event"]["app_id"] for message in watcher.events} == {"shop-web", "shop-api"}
            of_pages = [message for message in watcher.events if message["event"]["app_id"] == "shop-web"]
            assert {message["validation"]["status"] for message in of_pages} == {"valid", "invalid"}
            own = '{"schema": "iglu:com.acme/own/jsonschema/1-0-0", "data": {}, "app_id": "mine"}'
            log = demo.line(r"SNOWBUS_LOG=(\S+)")[1]
            requests.post(f"{demo.address('ingest')}/tracking", data=own, timeout=20).raise_for_status()
            first = ("--from", "earliest", "--count", "1", "app_id=mine")
            told = json.loads(snowbus("tail", "--json", *first, "--log", log, cwd=tmp_path).stdout)
            assert told["validation"] == {"status": "unchecked", "errors": []}
            demo.send(number)
            assert demo.wait() == 0
        tracked, delivered = map(int, demo.line(r"tracked (\d+) events. The collector took (\d+)").groups())
        assert tracked + 1 == delivered > 50
        assert demo.line(r"Undelivered: 0\.")
    assert list(tmp_path.iterdir()) == []


def test_the_demo_on_a_log_of_ones_own_leaves_the_groups_there_alone(tmp_path, sqlite_url):
    def groups():
        answer = snowbus("status", "--json", "--log", sqlite_url, cwd=tmp_path)
        return {json.loads(line).get("group") for line in answer.stdout.splitlines()}

    with Process("up", "--demo", "--demo-rate", "50", "--log", sqlite_url, program=COMMAND, cwd=tmp_path):
        soon(lambda: "demo" in groups())
        assert "collector" not in groups()
