"""`snowbus collect --workers`: several processes that forward the events of one group, kept running, ended together."""

import itertools
import os
import random
import re
import signal
import socket

import pytest
from support.aio import eventually, run, soon
from support.collector_double import CollectorDouble
from support.consuming import append, is_running, records_of
from support.forwarding import forwarding, numbered
from support.processes import children
from support.snowbus import Process

from snowbus.bus.event import DELIVERIES_TOPIC
from snowbus.bus.log import open_log
from snowbus.cli import exit_codes
from snowbus.consumers.receipts import read_report

pytestmark = pytest.mark.real_kafka  # the mock cluster has no groups

MAX_IN_FLIGHT = 60
SLOWLY = ("--batch-events", "5", "--in-flight", "2", "--max-in-flight", str(MAX_IN_FLIGHT))


@pytest.fixture
def collector():
    with CollectorDouble(seconds=0.05) as double:
        yield double
        assert double.violations == []


def collect(folder, url, *arguments, listen="127.0.0.1:0"):
    return Process("collect", *arguments, "--log", url, "--listen", listen, cwd=folder)


def ready(process, count):
    """Wait until so many workers have said where they listen."""
    soon(lambda: sum("collect listens on" in line for line in process.output) == count)


def deliverers(url):
    """The ids of the processes that have told of deliveries."""
    reports = filter(None, map(read_report, records_of(url, DELIVERIES_TOPIC)))
    return {int(report.sender.rpartition(":")[2]) for report in reports if report.receipts}


def numbers_of(collector):
    return sorted(map(int, collector.event_ids))


async def deliver_the_rest(url, collector, count):
    async with forwarding(url, collector.url):
        await eventually(lambda: len(collector.accepted) >= count)


async def make_topic(url, name):
    async with await open_log(url) as log:
        await log.create_topics([name])


def test_workers_share_the_partitions_and_what_they_left_at_a_stop_comes_once(tmp_path, log_url, collector):
    run(make_topic(log_url, DELIVERIES_TOPIC))
    rising = itertools.count()

    def publish(count):
        append(log_url, [numbered(next(rising)) for _ in range(count)])

    def deliverers_of_more():
        publish(20)
        return deliverers(log_url)

    with collect(tmp_path, log_url, "--collector", collector.url, *SLOWLY, "--workers", "2") as process:
        ready(process, 2)
        pids = children(process.pid)
        assert len(pids) == 2
        soon(lambda: deliverers_of_more() == pids, every=0.2)
        publish(1000)
        before = len(collector.accepted)
        soon(lambda: len(collector.accepted) > before)
        assert process.stop() == exit_codes.OK
        assert not any(map(is_running, pids))
    count = next(rising)
    assert len(collector.accepted) < count
    run(deliver_the_rest(log_url, collector, count))
    assert numbers_of(collector) == list(range(count))


def test_a_worker_that_was_killed_comes_back_and_nothing_is_lost(tmp_path, sqlite_url, collector):
    arguments = (*SLOWLY, "--workers", "2", "--session-timeout", "2", "--worker-backoff", "0.05")
    with collect(tmp_path, sqlite_url, "--collector", collector.url, *arguments) as process:
        ready(process, 2)
        append(sqlite_url, map(numbered, range(400)))
        soon(lambda: len(collector.accepted) > 50)
        killed, *_ = children(process.pid)
        os.kill(killed, signal.SIGKILL)
        ready(process, 3)
        assert any('"signal": 9' in line and str(killed) in line for line in process.diagnostics)
        soon(lambda: len(set(collector.event_ids)) == 400)
        assert process.stop() == exit_codes.OK
    assert sum(times - 1 for times in collector.duplicates.values()) <= MAX_IN_FLIGHT


def test_what_cannot_work_is_said_once_and_ends_it(tmp_path, sqlite_url):
    with collect(tmp_path, sqlite_url, "--workers", "3") as process:
        assert process.wait() == exit_codes.CONFIGURATION
        assert re.fullmatch("snowbus: no collector to forward to: .*\n", "".join(process.diagnostics))


def test_each_worker_takes_the_next_port_and_one_that_is_taken_ends_them_all(tmp_path, sqlite_url, collector):
    with taken_port() as taken:
        port = taken.getsockname()[1]
        arguments = ("--collector", collector.url, "--workers", "2")
        with collect(tmp_path, sqlite_url, *arguments, listen=f"127.0.0.1:{port - 1}") as process:
            assert process.wait() == exit_codes.CONFIGURATION
            assert process.output == [f"collect listens on http://127.0.0.1:{port - 1}"]
            (told,) = [line for line in process.diagnostics if line.startswith("snowbus: ")]
            assert f"cannot listen on 127.0.0.1:{port}: " in told


def taken_port():
    """A socket that listens on a port, where the port before it is free, and not one that the kernel gives away."""
    for port in random.sample(range(20_000, 30_000), 100):
        with socket.socket() as before:
            try:
                before.bind(("127.0.0.1", port - 1))
                return socket.create_server(("127.0.0.1", port))
            except OSError:
                continue
    raise AssertionError("no two free ports")
