"""Mixed load on all roles on a real Kafka, with kills, freezes and a collector that comes and goes: nothing is lost.

`make soak` runs it for eight minutes, or as many as SOAK_MINUTES says. It prints what became of the events by their
`eid`s, how long their ways took, and the memory and open files of members that lived through it all.
"""

import os
import statistics
import time
from collections.abc import Collection, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from support.aio import soon
from support.collector_double import CollectorDouble
from support.collector_faults import random_weather
from support.fleet import Fleet
from support.services import Services
from support.steadiness import Watch
from support.traffic import Follower, Publisher, flowing
from support.troubles import Troubles

from snowbus.producers.emitters import BusEmitter, CollectorEmitter

SECONDS = 60 * float(os.environ.get("SOAK_MINUTES", "8"))
CALM = 0.15 * SECONDS
"""At the beginning and at the end nothing fails."""
SECONDS_BETWEEN_TROUBLES = 2.0
SEED = 9
ROLES = ("ingest", "collect", "gateway", "consume")
FLAGS = ("--session-timeout", "6", "--append-timeout", "5", "--partitions", "8")
MOST_MORE_MEGABYTES = 25
MOST_MORE_FILES = 10
HANDLER = """\
import os
from snowbus.consumers import consumer

journal = os.open({journal!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

@consumer("snowbus.events", group_id="audit")
async def audit(record):
    os.write(journal, record.event_id.encode() + b"\\n")
"""


@pytest.fixture
def collector():
    with CollectorDouble(seconds=0.005, weather=random_weather(SEED, good=0.95)) as double:
        yield double
        assert double.violations == []


@pytest.fixture
def journal(tmp_path):
    """What a consumer of one's own writes for each event that it has handled."""
    path = tmp_path / "journal.txt"
    path.touch()
    (tmp_path / "audit.py").write_text(HANDLER.format(journal=str(path)), "utf-8")
    return path


def sent_by_the_next(kind: type, url: str, spool: Path) -> None:
    """Let an emitter that comes later send what killed ones have left in their spool."""
    with closing(kind(url, spool=spool)):
        soon(lambda: not list(spool.glob("*.spool")), timeout=60)


def arrived(events: Collection[str], at: Mapping[str, object]) -> None:
    soon(lambda: all(event_id in at for event_id in events), timeout=90, every=0.5)


def times(sent: Mapping[str, float], came: Mapping[str, float], calm: list[tuple[float, float]]) -> str:
    """How long events were under way, at the median and for the slowest of a hundred: in calm, and all of them."""
    ways = [(at, came[event_id] - at) for event_id, at in sent.items()]
    quiet = [way for at, way in ways if any(begin <= at < end for begin, end in calm)]
    return f"{percentiles(quiet)} in calm, {percentiles([way for _, way in ways])} with all faults"


def percentiles(seconds: list[float]) -> str:
    cuts = statistics.quantiles(seconds, n=100)
    return f"{cuts[49] * 1e3:,.0f} / {cuts[98] * 1e3:,.0f} ms"


@pytest.mark.real_kafka
@pytest.mark.usefixtures("quiet")
def test_nothing_is_lost(own_kafka, collector, journal, tmp_path):
    arguments = {"collect": ("--collector", collector.url), "consume": ("audit:audit",)}
    with Fleet(own_kafka.url, tmp_path, arguments=arguments, flags=FLAGS) as fleet:
        for role in ROLES * 2:
            fleet.start(role)
        steady = {role: fleet.of(role)[0] for role in ROLES}
        ingest = steady["ingest"].address
        by_log = Services(own_kafka.url, tmp_path / "by_log", durability="written", every=0.02)
        by_http = Services(ingest, tmp_path / "by_http", durability="written", every=0.02)
        publishers = [
            Publisher(lambda: fleet.addresses("ingest"), name=f"{number}-", batch=10, every=0.1) for number in range(2)
        ]
        followers = [Follower(lambda: fleet.addresses("gateway")) for _ in range(2)]
        watch = Watch({role: member.pid for role, member in steady.items()})
        with flowing(*followers):
            with flowing(watch, *publishers), by_log, by_http:
                began = time.monotonic()
                time.sleep(CALM)
                trouble = time.monotonic()
                troubles = Troubles(
                    fleet,
                    [by_log, by_http],
                    collector=collector,
                    kafka=own_kafka,
                    spared=list(steady.values()),
                    seed=SEED,
                )
                while time.monotonic() < began + SECONDS - CALM:
                    time.sleep(SECONDS_BETWEEN_TROUBLES)
                    troubles.one()
                time.sleep(CALM / 3)  # what waited meanwhile comes first
                peace = time.monotonic()
                time.sleep(CALM * 2 / 3)
                end = time.monotonic()
            sent_by_the_next(BusEmitter, own_kafka.url, tmp_path / "by_log")
            sent_by_the_next(CollectorEmitter, ingest, tmp_path / "by_http")
            ways = {
                "tracked, straight to Kafka": by_log.tracked(),
                "tracked, to ingest": by_http.tracked(),
                "posted to ingest": {key: at for each in publishers for key, at in each.acknowledged.items()},
            }
            everything = [event_id for sent in ways.values() for event_id in sent]
            arrived(everything, collector.taken_at)
            for follower in followers:
                arrived(everything, follower.seen)
            soon(lambda: set(everything) <= set(journal.read_text("utf-8").split()), timeout=90, every=0.5)
        delivered = {event_id: at[0] for event_id, at in collector.taken_at.items()}
        handled = journal.read_text("utf-8").split()
        print(f"\n{len(everything)} events in {SECONDS:.0f} s, none lost at the collector, two websocket readers and a")
        print(f"consumer of one's own; {dict(troubles.counts)}; delivered again")
        print(f"{len(collector.accepted) - len(delivered)} (collector), {len(handled) - len(set(handled))} (consumer)")
        calm = [(began, trouble), (peace, end)]
        for name, sent in ways.items():
            print(f"{name}, p50 / p99: at the collector {times(sent, delivered, calm)};")
            print(f"  on the websocket {times(sent, followers[0].seen, calm)}")
        for role in steady:
            quarters = watch.quarters(role)
            print(f"{role}: MB and open files in each quarter", *(f"{m:.0f} ({f})" for m, f in quarters))
            assert quarters[3].megabytes < quarters[1].megabytes + MOST_MORE_MEGABYTES
            assert quarters[3].open_files <= quarters[1].open_files + MOST_MORE_FILES
        for follower in followers:
            assert follower.gaps == []
            assert len(set(follower.places)) == len(follower.places), "a reader got a record twice"
