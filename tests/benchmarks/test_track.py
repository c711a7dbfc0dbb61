"""What `track()` costs the caller with each emitter and durability, beside the official emitters in the same run."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from snowplow_tracker import AsyncEmitter, Emitter, PageView, SelfDescribingJson, Subject, Tracker

from snowbus.producers.emitters import BusEmitter, CollectorEmitter, LogfileEmitter

EVENTS = 5_000
SYNCED_EVENTS = 500
PAUSE = 0.0002
CONTEXT = SelfDescribingJson("iglu:com.acme/product/jsonschema/1-0-0", {"sku": "A-113", "name": "Trail bottle"})


class Nothing:
    """The floor: what the tracker itself takes."""

    def input(self, payload):
        pass


class Timed:
    """An emitter, and how long each of its `input` took, in ns."""

    def __init__(self, emitter):
        self.took = []
        self._emitter = emitter

    def input(self, payload):
        started = time.perf_counter_ns()
        self._emitter.input(payload)
        self.took.append(time.perf_counter_ns() - started)


def measure(emitter, events):
    """How long each `track` and each `input` took, in ns, at about 4,000 events a second."""
    timed = Timed(emitter)
    subject = Subject().set_user_id("u-1").set_domain_user_id("d" * 36).set_useragent("Mozilla/5.0 (X11; Linux x86_64)")
    tracker = Tracker("shop", [timed], subject=subject, app_id="shop-api")
    took = []
    for number in range(events):
        event = PageView(f"https://shop.example/{number}", "Check out", "https://shop.example/", context=[CONTEXT])
        started = time.perf_counter_ns()
        tracker.track(event)
        took.append(time.perf_counter_ns() - started)
        while time.perf_counter_ns() - started < PAUSE * 1e9:
            time.sleep(0)  # the caller has other things to do, in which threads have their turn
    return took, timed.took


def microseconds(took):
    ordered = sorted(took)
    return f"{ordered[len(ordered) // 2] / 1000:8.1f}{ordered[len(ordered) * 99 // 100] / 1000:10.1f}"


def emitters(collector, folder):
    """Name, emitter, and what to call at the end."""
    host = collector.removeprefix("http://")
    log = f"sqlite:///{folder / 'log.db'}"
    official = {"protocol": "http", "buffer_capacity": 2 * EVENTS}
    yield "none (the tracker alone)", Nothing
    yield "official Emitter", lambda: Emitter(host, **official)
    yield "official AsyncEmitter", lambda: AsyncEmitter(host, **official)
    yield "CollectorEmitter", lambda: CollectorEmitter(collector)
    yield "BusEmitter, embedded log", lambda: BusEmitter(log)
    yield "LogfileEmitter", lambda: LogfileEmitter(folder / "events.ndjson")
    for durability in ("memory", "written", "synced"):
        spool = folder / durability
        yield (
            f"CollectorEmitter, {durability}",
            lambda spool=spool, durability=durability: CollectorEmitter(collector, spool=spool, durability=durability),
        )
    yield (
        "CollectorEmitter, written, down",
        lambda: CollectorEmitter("http://127.0.0.1:9", spool=folder / "down", durability="written", exit_timeout=0),
    )


@pytest.fixture
def collector():
    """The URL of a collector in a process of its own, which takes no turns from the caller's threads."""
    command = [sys.executable, "-m", "support.collector_double"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as process:
        yield process.stdout.readline().strip()
        process.kill()


def test_what_track_costs(tmp_path, collector):
    print(f"\n{'µs':34}{'track p50':>11}{'p99':>8}{'input p50':>12}{'p99':>7}")
    for name, make in emitters(collector, tmp_path):
        emitter = make()
        track, accept = measure(emitter, SYNCED_EVENTS if "synced" in name else EVENTS)
        print(f"{name:34}{microseconds(track)}{microseconds(accept)}")
        if hasattr(emitter, "close"):
            emitter.close(0 if "down" in name else 30)
            assert emitter.counts.dropped == 0
        elif hasattr(emitter, "flush"):
            emitter.flush()
