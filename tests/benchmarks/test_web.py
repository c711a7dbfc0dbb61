"""How long a view takes without tracking, with it, and beside a collector or a log that hangs; what `track` costs."""

import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from snowplow_tracker import PageView
from support.collector_double import CollectorDouble, hang
from support.snowbus import Process, environment
from support.web import COOKIE, Recorder, fetch

from snowbus.producers.web import Tracking, WsgiTracking

SERVER = Path(__file__).with_name("web_server.py")
REQUESTS = 1_000


@pytest.mark.parametrize("framework", ["flask", "fastapi", "django"])
def test_a_view_beside_what_hangs(framework, tmp_path):
    """One request after the other, each to the next server, so that what else the machine does hits all alike."""
    variables = {**environment(), "PYTHONPATH": str(SERVER.parents[1])}
    with CollectorDouble() as collector, ExitStack() as stack:
        collector.always(hang)
        cases = {
            "nothing tracked": ("/untracked", "memory", ""),
            "an emitter that takes all": ("/view", "memory", ""),
            "a collector that hangs, official emitter": ("/view", "collector", collector.url),
            "a log that is away": ("/view", "log", "kafka://127.0.0.1:1"),
        }
        servers = {}
        for what, (path, *emitter) in cases.items():
            command = Process(
                str(SERVER), framework, *emitter, program=sys.executable, cwd=tmp_path, stdin=True, variables=variables
            )
            stack.enter_context(command)
            servers[what] = ("127.0.0.1", int(command.line(r"^(\d+)$")[1])), path
        found = {what: [] for what in servers}
        for _ in range(REQUESTS):
            for what, (address, path) in servers.items():
                began = time.perf_counter()
                assert fetch(address, path, Cookie=COOKIE).status == 200
                found[what].append((time.perf_counter() - began) * 1000)
    for what, times in found.items():
        high = statistics.quantiles(times, n=100)[98]
        print(f"{framework:8} {what:41} p50 {statistics.median(times):6.2f} ms  p99 {high:6.2f} ms")


def test_the_cost_of_tracking_in_a_request():
    rounds, most = 300, 20
    tracking = Tracking([Recorder()], namespace="web", max_waiting=rounds * most)
    tracked = []

    def app(environ, start_response):
        began = time.perf_counter()
        for _ in range(environ["events"]):
            tracking.tracker.track(PageView("https://shop.example/"))
        tracked.append(time.perf_counter() - began)
        return []

    for count in (1, most):
        tracked.clear()
        whole = []
        for _ in range(rounds):
            environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_COOKIE": COOKIE, "events": count}
            began = time.perf_counter()
            WsgiTracking(app, tracking)(environ, None).close()
            whole.append(time.perf_counter() - began)
        tracking.flush()
        inside, all_of_it = (statistics.median(found) * 1e6 for found in (tracked, whole))
        print(f"{count:3} events a request: {inside:7.1f} µs in the view, {all_of_it - inside:6.1f} µs around it")
