"""Events a second through the whole path, for a minute on this one machine with its broker, and what each role costs.

Official payloads → ingest → Kafka, acks=all → the collector consumer → a collector double, and → the gateway → ten
websocket readers. Each role is a process. The load sends as much as arrives at the double, so that the lag stays as it
is. Beside it the floor: the same path with no Snowbus in it (whole_path_floor.py).
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import uvloop
from support import http_sink
from support.fanout import sink
from support.http_sink import events_taken, wait_for_events
from support.kafka import KafkaServer
from support.loading import cpu_seconds, figures, start_load
from support.snowbus import COMMAND, Process

from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.log import open_log

FLOOR = Path(__file__).with_name("whole_path_floor.py")
FLOOR_TOPIC = "floor.events"
SECONDS = 60.0
WARM_UP_SECONDS = 10.0
READERS = 10
QUIET_SECONDS = 1.0
GOAL = 26_400  # events a second: 95 million in an hour


class Running(NamedTuple):
    """The whole path, started: where its ends listen, and the process of each role."""

    ingest: str
    gateway: str
    collector: str
    pids: dict[str, int]


class Figure(NamedTuple):
    """What came of it: events a second at the double, CPU seconds an event by role, and how it ended."""

    rate: float
    cpu: dict[str, float]
    p50: float
    p99: float
    readers_behind: float


def commands_of_snowbus(kafka: KafkaServer, collector: str) -> dict[str, list[str]]:
    """The roles as users run them."""
    log = ["--log", kafka.url]
    return {
        "ingest": [str(COMMAND), "ingest", "--listen", "127.0.0.1:0", *log],
        "collect": [str(COMMAND), "collect", "--collector", collector, "--listen", "127.0.0.1:0", *log],
        "gateway": [str(COMMAND), "gateway", "--listen", "127.0.0.1:0", *log, "--ping", "3600"],  # no reader answers
    }


def commands_of_floor(kafka: KafkaServer, collector: str) -> dict[str, list[str]]:
    """The same without Snowbus."""
    command = [sys.executable, str(FLOOR)]
    servers = kafka.bootstrap_servers
    return {
        "ingest": [*command, "ingest", servers],
        "collect": [*command, "collect", servers, collector],
        "gateway": [*command, "gateway", servers],
    }


@contextmanager
def running(
    commands_of: Callable[[KafkaServer, str], dict[str, list[str]]], kafka: KafkaServer, folder: Path
) -> Iterator[Running]:
    """Run the roles of a path, and the collector double at its end."""
    with ExitStack() as stack:

        def start(program: str, *arguments: str) -> tuple[str, int]:
            process = stack.enter_context(Process(*arguments, program=program, cwd=folder))
            return process.line("http://.*")[0], process.pid

        collector, double = start(sys.executable, http_sink.__file__, "0", "0")
        started = {role: start(*command) for role, command in commands_of(kafka, collector).items()}
        pids = {role: pid for role, (_, pid) in started.items()}
        yield Running(
            started["ingest"][0], started["gateway"][0], collector, {**pids, "kafka": kafka.pid, "double": double}
        )


async def make_topics(url: str) -> None:
    """As Snowbus makes them."""
    async with await open_log(url) as log:
        await log.create_topics([EVENTS_TOPIC, FLOOR_TOPIC])


def measure(path: Running, folder: Path, *, events: int) -> Figure:
    """Load a path; what is measured begins when it has warmed up."""
    with sink(int(path.gateway.rpartition(":")[2]), READERS) as readers:
        readers.begin(sys.maxsize, quiet=QUIET_SECONDS)
        options = ("--seconds", str(WARM_UP_SECONDS + SECONDS), "--sink", path.collector.rpartition(":")[2])
        load = start_load(path.ingest, folder, *options, "--events", str(events), events=events)
        pids = path.pids | {"load": load.pid, "readers": readers.process.pid}
        time.sleep(WARM_UP_SECONDS)
        before, began = {role: cpu_seconds(pid) for role, pid in pids.items()}, time.monotonic()
        arrived = events_taken(path.collector)
        time.sleep(SECONDS - 1)
        arrived, seconds = events_taken(path.collector) - arrived, time.monotonic() - began
        cpu = {role: (cpu_seconds(pid) - before[role]) / arrived for role, pid in pids.items()}
        found, ended = figures(load), time.monotonic()
        taken = readers.result()
        behind = max(0.0, time.monotonic() - ended - QUIET_SECONDS)
        sent = found["count"] * events
        wait_for_events(path.collector, sent)
        assert min(taken.messages) >= sent  # receipts are messages, too
        return Figure(arrived / seconds, cpu, found["p50"], found["p99"], behind)


def show(what: str, figure: Figure) -> None:
    """Print a figure: each role's cost in microseconds an event, and as a share of a core at this rate."""
    roles = " ".join(f"{role} {each * 1e6:.1f} ({each * figure.rate:.0%})" for role, each in figure.cpu.items())
    print(
        f"  {what:<8} {figure.rate:>7,.0f} events/s, answers p50 {figure.p50 * 1e3:.0f} ms p99 {figure.p99 * 1e3:.0f} "
        f"ms, readers at most {figure.readers_behind:.1f} s behind\n"
        f"           CPU µs an event (cores): {roles}; {sum(figure.cpu.values()) * 1e6:.1f} in all"
    )


@pytest.mark.real_kafka
@pytest.mark.parametrize("events", [1, 10, 50])
def test_whole_path(own_kafka: KafkaServer, tmp_path: Path, events: int) -> None:
    print(f"\nThe whole path, {events} events a POST, {SECONDS:g} s")
    uvloop.run(make_topics(own_kafka.url))
    rates = {}
    for what, commands_of in (("Snowbus", commands_of_snowbus), ("floor", commands_of_floor)):
        with running(commands_of, own_kafka, tmp_path) as path:
            figure = measure(path, tmp_path, events=events)
        rates[what] = figure.rate
        show(what, figure)
    print(f"  {rates['Snowbus'] / rates['floor']:.2f} of the floor, {rates['Snowbus'] / GOAL:.0%} of {GOAL:,} events/s")
