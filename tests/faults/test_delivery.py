"""Kills, stops and joins collector consumers, brokers and ingest under a stream, and lets the collector be away."""

import itertools
import json
import random
import signal
import socket
import time
import urllib.request
from pathlib import Path

import pytest
from support.aio import run, soon
from support.collector_double import CollectorDouble
from support.http_sink import events_taken, http_sink, wait_for_events
from support.processes import peak_megabytes
from support.snowbus import COMMAND, Process
from support.streams import Taken, append_backlog, caught_up, restart_and_rebalance

from snowbus.bus.log import open_log
from snowbus.cli import exit_codes

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("quiet")]

KILLS = 20
RESTARTS = 10
REBALANCES = 4
MAX_IN_FLIGHT = 200
SESSION_SECONDS = 6
TAKE_OVER_SECONDS = 10
ANSWER_SECONDS = 0.02
BACKLOG = 1_000_000
MOST_MEGABYTES = 300
HOUR = 3600.0
SCALE = 100.0
PAYLOAD_DATA = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"


@pytest.fixture
def collector():
    with CollectorDouble(seconds=ANSWER_SECONDS) as double:
        yield double
        assert double.violations == []


@pytest.fixture
def collect(tmp_path):
    """Starts collector consumers; all are killed at the end."""
    started = []

    def start(url, collector_url, *flags, session_timeout=SESSION_SECONDS):
        arguments = ("--log", url, "--listen", "127.0.0.1:0", "--collector", collector_url)
        process = Process(
            "collect", *arguments, "--session-timeout", str(session_timeout), *flags, program=COMMAND, cwd=tmp_path
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.__exit__()


BOUNDS = ("--batch-events", "20", "--max-in-flight", str(MAX_IN_FLIGHT))


def grows(taken, size=None):
    """Wait until the collector takes more."""
    size = taken.size if size is None else size
    soon(lambda: taken.size > size, timeout=60)


def settled(taken):
    """How much the collector has taken, once what was sent to it before has been."""
    time.sleep(3 * ANSWER_SECONDS)
    return taken.size


def show(url, count, what, repeats):
    kind = url.partition(":")[0]
    print(
        f"\n{kind}: {count} events, {len(repeats)} kills of the {what}: 0 lost, {sum(repeats)} delivered again, "
        f"after one kill {max(repeats)} at most, of {MAX_IN_FLIGHT} that may be; key order kept"
    )


def test_a_consumer_that_is_killed(log_url, collector, collect, stream_to):
    chance, kills, taken = random.Random(1), [], Taken(collector)
    stream = stream_to(log_url)
    for _ in range(KILLS):
        process = collect(log_url, collector.url, *BOUNDS, session_timeout=1)
        grows(taken)
        time.sleep(chance.uniform(0.0, 0.5))
        process.send(signal.SIGKILL)
        process.wait()
        kills.append(settled(taken))
    collect(log_url, collector.url, *BOUNDS, session_timeout=1)
    count = caught_up(taken, stream)
    repeats = taken.repeats(kills)
    assert max(repeats) <= MAX_IN_FLIGHT
    assert taken.out_of_order() == []
    show(log_url, count, "consumer", repeats)


@pytest.mark.real_kafka
def test_a_broker_that_is_killed(own_kafka, collector, collect, stream_to):
    chance, kills, taken = random.Random(2), [], Taken(collector)
    stream = stream_to(own_kafka.url)
    collect(own_kafka.url, collector.url, *BOUNDS)
    for _ in range(KILLS):
        grows(taken)
        time.sleep(chance.uniform(0.0, 0.5))
        kills.append(taken.size)
        own_kafka.restart()
    count = caught_up(taken, stream)
    repeats = taken.repeats(kills)
    assert max(repeats) <= MAX_IN_FLIGHT
    assert taken.out_of_order() == []
    show(own_kafka.url, count, "broker", repeats)


def test_ingest_that_is_killed_right_after_its_200(log_url, tmp_path, collector, collect):
    numbers = itertools.count()
    acknowledged = set()
    collect(log_url, collector.url)
    for _ in range(KILLS):
        with Process("ingest", "--log", log_url, "--listen", "127.0.0.1:0", program=COMMAND, cwd=tmp_path) as ingest:
            url = f"{ingest.address('ingest')}/com.snowplowanalytics.snowplow/tp2"
            for _ in range(5):
                batch = [next(numbers) for _ in range(10)]
                events = [{"e": "pv", "p": "srv", "tv": "t", "eid": str(number)} for number in batch]
                body = json.dumps({"schema": PAYLOAD_DATA, "data": events}).encode()
                request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
                with urllib.request.urlopen(request, timeout=15) as answer:
                    assert answer.status == 200
                acknowledged.update(map(str, batch))
            ingest.send(signal.SIGKILL)
    soon(lambda: acknowledged <= set(collector.event_ids), timeout=60)
    assert collector.duplicates == {}
    kind = log_url.partition(":")[0]
    print(
        f"\n{kind}: {len(acknowledged)} events, {KILLS} kills of ingest right after its 200: 0 lost, 0 delivered again"
    )


def test_restarts_and_rebalances(log_url, collector, collect, stream_to):
    taken = Taken(collector)
    stream = stream_to(log_url)

    def joined():
        process = collect(log_url, collector.url, *BOUNDS)
        process.address("collect")
        grows(taken)
        time.sleep(0.3)
        return process

    restart_and_rebalance(joined, taken, stream, restarts=RESTARTS, rebalances=REBALANCES)


def test_another_takes_over_from_one_that_is_killed(log_url, collector, collect, stream_to):
    taken = Taken(collector)
    stream = stream_to(log_url)
    first = collect(log_url, collector.url, *BOUNDS, session_timeout=TAKE_OVER_SECONDS)
    grows(taken)
    collect(log_url, collector.url, *BOUNDS, session_timeout=TAKE_OVER_SECONDS).address("collect")
    time.sleep(3.0)  # until the partitions are shared out
    first.send(signal.SIGKILL)
    first.wait()
    killed_at, count = time.monotonic(), stream.count
    soon(lambda: taken.numbers() >= set(range(count)), timeout=60, every=0.05)
    seconds = time.monotonic() - killed_at
    caught_up(taken, stream)
    kind = log_url.partition(":")[0]
    print(f"\n{kind}: the other took over {seconds:.1f} s after the kill; the session timeout is {TAKE_OVER_SECONDS} s")
    assert seconds <= TAKE_OVER_SECONDS


def test_an_outage_of_an_hour_in_scaled_time(log_url, collector, collect, stream_to):
    """A hundredth of an hour, with a hundredth of the waits."""
    taken = Taken(collector)
    stream = stream_to(log_url, rate=200)
    waits = ("--backoff", str(0.5 / SCALE), "--backoff-max", str(5.0 / SCALE))
    process = collect(log_url, collector.url, *BOUNDS, *waits)
    grows(taken)
    collector.down()
    size = settled(taken)
    time.sleep(HOUR / SCALE)
    assert taken.size == size
    collector.up()
    back_at = time.monotonic()
    grows(taken, size)
    recovery = time.monotonic() - back_at
    count = caught_up(taken, stream)
    assert process.stop() == exit_codes.OK
    assert taken.out_of_order() == []
    assert taken.size == count
    kind = log_url.partition(":")[0]
    print(
        f"\n{kind}: {count} events, an outage of {HOUR / SCALE:.0f} s: 0 lost, 0 twice, recovered in {recovery:.2f} s"
    )
    assert recovery <= 5


def test_an_outage_with_a_million_events_of_backlog(log_url, collect):
    async def fill():
        async with await open_log(log_url) as log:
            await append_backlog(log, BACKLOG)

    run(fill(), timeout=300)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = collect(log_url, f"http://127.0.0.1:{port}")
    process.address("collect")
    time.sleep(5.0)
    with http_sink(port=port) as url:
        started = time.monotonic()
        soon(lambda: events_taken(url), timeout=30)
        recovery = time.monotonic() - started
        wait_for_events(url, BACKLOG)
        seconds = time.monotonic() - started
        peak = peak_megabytes(process.pid)
        assert process.stop() == exit_codes.OK
        delivered = events_taken(url)
    kind = log_url.partition(":")[0]
    print(
        f"\n{kind}: {BACKLOG} events of backlog: recovered in {recovery:.1f} s, caught up at {BACKLOG / seconds:,.0f} "
        f"a second, {delivered - BACKLOG} delivered again, memory {peak} MB at most"
    )
    assert delivered == BACKLOG, "".join(process.diagnostics[-20:])
    assert recovery <= 6
    assert peak <= MOST_MEGABYTES
    Path(log_url.removeprefix("sqlite:///")).unlink(missing_ok=True)  # pytest would keep it for days
