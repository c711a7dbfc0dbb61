"""Traces: from a view of a web app to the delivery of its events, with OpenTelemetry's SDK in every process."""

import json
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from support.aio import soon
from support.collector_double import CollectorDouble
from support.emitting import run
from support.forwarding import read_all
from support.snowbus import Process, environment
from support.trace_receiver import TraceReceiver
from support.watching import Watcher

from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.log import open_log

pytestmark = pytest.mark.real_kafka

INCOMING = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
USER = "ann@shop.example"


@pytest.fixture
def receiver():
    with TraceReceiver() as found:
        yield found


@pytest.fixture
def variables(receiver):
    return {
        **environment(tracing="true", session_timeout="8"),
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }


@pytest.fixture
def collector():
    with CollectorDouble() as found:
        yield found


@pytest.fixture
def bus(log_url, collector, variables, tmp_path):
    """All roles in one process."""
    addresses = ("--ingest-listen", "127.0.0.1:0", "--gateway-listen", "127.0.0.1:0")
    arguments = ("up", "--log", log_url, *addresses, "--collect-listen", "127.0.0.1:0", "--collector", collector.url)
    with Process(*arguments, cwd=tmp_path, variables=variables) as found:
        found.address("collect")
        yield found


def visit(framework, address, views, variables):
    command = [sys.executable, "-m", "support.traced_app", framework, address, views]
    subprocess.run(command, env=variables, check=True, timeout=60, cwd=Path(__file__).parents[1])


def trace_ids(request):
    return request.headers["traceparent"].split("-")[1:3]


def test_one_trace_from_a_view_by_ingest_to_the_delivery(bus, collector, receiver, variables):
    with Watcher(bus.address("gateway")) as watcher:
        visit("flask", bus.address("ingest"), "/view", variables)
        soon(lambda: receiver.named("process snowbus.events"))
        soon(lambda: watcher.events)
    spans = {span.name: span for span in receiver.spans}
    way = [spans[name] for name in ("GET /buy", "send snowbus.events", "POST", "process snowbus.events")]
    assert [span.parent for span in way] == ["", *(span.id for span in way[:-1])]
    assert {span.trace for span in receiver.spans} == {way[0].trace}
    assert [span.kind for span in way[1:]] == [4, 2, 5]  # producer, server, consumer
    assert way[2].attributes == {"http.request.method": "POST", "http.response.status_code": 200}
    assert way[3].attributes["messaging.consumer.group.name"] == "collector"
    assert way[3].attributes["messaging.batch.message_count"] == 1
    (request,) = collector.requests
    assert trace_ids(request) == [way[0].trace, way[3].id]
    assert watcher.events[0]["traceparent"].split("-")[1:3] == [way[0].trace, way[2].id]
    told = json.dumps([span.__dict__ for span in receiver.spans])
    assert "ann@" not in told
    assert "secret" not in told


def test_events_of_several_traces_and_of_none_that_travel_together(log_url, collector, receiver, variables, tmp_path):
    """Each keeps its own; what is done with all of them at once is linked to each."""
    visit("starlette", log_url, f"/view,/plain,/plain:{INCOMING},/plain:hostile", variables)

    async def traces():
        async with await open_log(log_url) as log:
            records = await read_all(log, EVENTS_TOPIC)
            return [(record.header("traceparent") or b"").decode() for record in records]

    view, untraced, incoming, hostile = run(traces())
    (viewed,) = receiver.named("GET /buy")
    assert view.split("-")[1:3] == [viewed.trace, viewed.id]
    assert (untraced, incoming, hostile) == ("", INCOMING, "")
    arguments = ("--log", log_url, "--listen", "127.0.0.1:0", "--collector", collector.url)
    with Process("collect", *arguments, cwd=tmp_path, variables=variables):
        (delivery,) = soon(lambda: receiver.named("process snowbus.events"))
    assert set(delivery.links) == {viewed.id, INCOMING.split("-")[2]}
    assert (delivery.parent, delivery.attributes["messaging.batch.message_count"]) == ("", 4)
    assert delivery.attributes["messaging.system"] == ("kafka" if log_url.startswith("kafka") else "snowbus")
    assert trace_ids(collector.requests[0]) == [delivery.trace, delivery.id]
    assert delivery.service == "snowbus-collect"


def test_a_receiver_that_hangs_does_not_hold_up_a_stop(variables, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Process("ingest", "--listen", "127.0.0.1:0", cwd=tmp_path, variables=variables) as ingest:
            address = ingest.address("ingest")
            for _ in range(600):  # more than are sent at once
                request = urllib.request.Request(f"{address}/i?e=pv&p=web", headers={"traceparent": INCOMING})
                with urllib.request.urlopen(request, timeout=10) as answer:
                    assert answer.status == 200
            assert ingest.stop(timeout=15) == 0
