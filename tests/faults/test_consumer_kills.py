"""Kills, stops and joins consumers while numbered events flow: none is lost, and repeats stay in the window."""

import random
import signal
import time
from pathlib import Path

import pytest
from support.aio import run, soon
from support.consuming import consume
from support.processes import peak_megabytes
from support.streams import Journal, append_backlog, caught_up, restart_and_rebalance

from snowbus.bus.log import open_log
from snowbus.cli import exit_codes

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("quiet")]

KILLS = 20
BROKER_KILLS = 10  # tests/faults/test_brokers.py kills one more often
RESTARTS = 10
REBALANCES = 6
MAX_IN_FLIGHT = 100
BACKLOG = 1_000_000
MOST_MEGABYTES = 150
CATCH_UP = """\
from snowbus.consumers import consumer

seen = 0

@consumer("snowbus.events", group_id="stock", concurrency=8)
async def stock(record):
    global seen
    seen += 1
    if seen == 1 or seen % 100_000 == 0:
        print("seen", seen, flush=True)
"""


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path, max_in_flight=MAX_IN_FLIGHT)


@pytest.fixture
def processes():
    """Whatever a test starts and does not end; killed at the end."""
    started = []
    yield started
    for process in started:
        process.__exit__()


def start(processes, folder, url, *, session_timeout):
    process = consume(folder, url, "stock", "--session-timeout", str(session_timeout))
    processes.append(process)
    return process


def show(url, count, what, repeats, more=""):
    kind = url.partition(":")[0]
    print(
        f"\n{kind}: {count} events, {len(repeats)} kills of the {what}: 0 lost, {sum(repeats)} handled again, "
        f"after one kill {max(repeats)} at most, of {MAX_IN_FLIGHT} that may be{more}; key order kept"
    )


def test_a_consumer_that_is_killed(log_url, tmp_path, journal, processes, stream_to):
    chance, kills = random.Random(1), []
    stream = stream_to(log_url)
    for _ in range(KILLS):
        process = start(processes, tmp_path, log_url, session_timeout=1)
        soon(lambda pid=process.pid: journal.has(pid))
        time.sleep(chance.uniform(0.0, 0.6))
        process.send(signal.SIGKILL)
        process.wait()
        kills.append(journal.size)
    start(processes, tmp_path, log_url, session_timeout=1)
    count = caught_up(journal, stream)
    repeats, furthest = journal.repeats(kills), journal.furthest(kills)
    assert max(repeats) <= MAX_IN_FLIGHT
    assert furthest <= MAX_IN_FLIGHT
    assert journal.out_of_order() == []
    show(log_url, count, "consumer", repeats, f", {furthest} back")


@pytest.mark.real_kafka
def test_a_broker_that_is_killed(own_kafka, tmp_path, journal, processes, stream_to):
    chance, kills = random.Random(2), []
    stream = stream_to(own_kafka.url)
    start(processes, tmp_path, own_kafka.url, session_timeout=6)
    for _ in range(BROKER_KILLS):
        size = journal.size
        soon(lambda size=size: journal.size > size, timeout=60)
        time.sleep(chance.uniform(0.0, 0.6))
        kills.append(journal.size)
        own_kafka.restart()
    count = caught_up(journal, stream)
    repeats = journal.repeats(kills)
    assert max(repeats) <= MAX_IN_FLIGHT
    assert journal.out_of_order() == []
    show(own_kafka.url, count, "broker", repeats)


def test_restarts_and_rebalances(log_url, tmp_path, journal, processes, stream_to):
    chance = random.Random(3)
    stream = stream_to(log_url)

    def joined():
        process = start(processes, tmp_path, log_url, session_timeout=6)
        soon(lambda: journal.has(process.pid))
        time.sleep(chance.uniform(0.0, 0.4))
        return process

    restart_and_rebalance(joined, journal, stream, restarts=RESTARTS, rebalances=REBALANCES)


def test_a_backlog(log_url, tmp_path):
    async def fill():
        async with await open_log(log_url) as log:
            await append_backlog(log, BACKLOG)

    run(fill(), timeout=300)
    (tmp_path / "stock.py").write_text(CATCH_UP)
    with consume(tmp_path, log_url, "stock") as process:
        process.line("seen 1$")
        started = time.monotonic()
        process.line(f"seen {BACKLOG}$", timeout=300)
        seconds = time.monotonic() - started
        peak = peak_megabytes(process.pid)
        assert process.stop() == exit_codes.OK
        assert [line for line in process.output if line.startswith("seen")][-1] == f"seen {BACKLOG}"
    kind = log_url.partition(":")[0]
    print(f"\n{kind}: {BACKLOG} events caught up at {BACKLOG / seconds:,.0f} a second, memory {peak} MB at most")
    assert peak <= MOST_MEGABYTES
    Path(log_url.removeprefix("sqlite:///")).unlink(missing_ok=True)  # pytest would keep it for days
