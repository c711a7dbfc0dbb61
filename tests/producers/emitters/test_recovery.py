"""Outages, ends and crashes: what waits is spooled, and whoever comes next delivers it, in order."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest
from snowplow_tracker import Tracker
from support.aio import run, soon
from support.collector_double import CollectorDouble, status
from support.collector_faults import hang
from support.disks import fill, small_disk
from support.emitting import lines_in, payloads_on, track
from support.forwarding import read_all

from snowbus.bus.event import BAD_TOPIC
from snowbus.bus.log import LogOptions, open_log
from snowbus.producers.emitters import BusEmitter, CollectorEmitter, LogfileEmitter

AWAY = "http://127.0.0.1:9"


def numbers(payloads):
    return [int(payload["eid"]) for payload in payloads]


def send(emitter, start, end):
    for number in range(start, end):
        emitter.input({"e": "pv", "p": "srv", "tv": "t", "eid": str(number), "uid": "u"})


def test_an_outage_costs_neither_events_nor_their_order(tmp_path):
    """Memory holds ten events, and a hundred are tracked while the collector is down; the next ones come after it."""
    with CollectorDouble() as collector:
        collector.always(status(503))
        emitter = CollectorEmitter(collector.url, spool=tmp_path / "spool", max_queued=10)
        for start in range(0, 100, 5):
            send(emitter, start, start + 5)
            soon(lambda: len(emitter._outbox._queue) <= 5)
        collector.always(None)
        send(emitter, 100, 105)
        assert emitter.flush(20) is True
        assert numbers(collector.accepted) == list(range(105))
        assert emitter.counts.retried > 0
        emitter.close()


def test_a_burst_goes_to_the_spool_when_memory_is_full(tmp_path):
    """Before the emitter's thread has had a turn to move it there; in order, and told."""
    spooled = []
    emitter = CollectorEmitter(AWAY, spool=tmp_path, max_queued=50, on_outcome=spooled.append)
    send(emitter, 0, 5000)
    emitter.close(timeout=0.01)
    assert (emitter.counts.spooled, emitter.counts.dropped) == (5000, 0)
    assert sum(outcome.count for outcome in spooled if outcome.kind == "spooled") == 5000
    with CollectorDouble() as collector:
        after = CollectorEmitter(collector.url, spool=tmp_path)
        soon(lambda: len(collector.accepted) == 5000)
        after.close()
        assert numbers(collector.accepted) == list(range(5000))


def test_what_exceeds_memory_and_spool_is_lost_and_told(tmp_path):
    lost = []
    emitter = CollectorEmitter(AWAY, spool=tmp_path, max_queued=50, spool_bytes=65_536, on_outcome=lost.append)
    send(emitter, 0, 5000)
    assert emitter.counts.dropped
    assert emitter.pending + emitter.counts.dropped == 5000
    emitter.close(timeout=0.01)
    assert sum(outcome.count for outcome in lost if outcome.kind == "dropped") == emitter.counts.dropped


@pytest.mark.parametrize("durability", ["memory", "synced"])
@pytest.mark.parametrize("before", [0, 1])
def test_what_handlers_of_atexit_track_is_kept(tmp_path, before, durability):
    """Whether the emitter has been used before or not; nobody waits for what no thread sends any more."""
    script = f"""
import atexit
from snowbus.producers.emitters import CollectorEmitter
emitter = CollectorEmitter({AWAY!r}, exit_timeout=0.1, spool={str(tmp_path)!r}, durability={durability!r})
def send(start, end):
    for number in range(start, end):
        emitter.input({{"e": "pv", "eid": str(number)}})
def late():
    send({before}, 20)
    print(emitter.flush(timeout=60), emitter.close(), emitter.counts.dropped)
atexit.register(late)
send(0, {before})
"""
    command = [sys.executable, "-X", "dev", "-c", script]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert ended.stdout == "False False 0\n"
    assert "Error" not in ended.stderr
    with CollectorDouble() as collector:
        after = CollectorEmitter(collector.url, spool=tmp_path)
        soon(lambda: len(collector.accepted) == 20)
        after.close()
        assert numbers(collector.accepted) == list(range(20))


def test_what_handlers_of_atexit_track_is_counted_where_nothing_keeps_it(tmp_path):
    script = f"""
import atexit
from snowbus.producers.emitters import LogfileEmitter
told = []
emitter = LogfileEmitter({str(tmp_path / "events.ndjson")!r}, on_outcome=told.append)
def late():
    emitter.input({{"e": "pv", "eid": "late"}})
    print(emitter.counts.dropped, told[-1].kind)
atexit.register(late)
emitter.input({{"e": "pv", "eid": "in time"}})
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert ended.stdout == "1 dropped\n"
    assert [event["eid"] for event in lines_in(tmp_path / "events.ndjson")] == ["in time"]


def test_a_spool_on_a_full_disk_costs_no_event_that_memory_holds_and_goes_on_once_there_is_room():
    with CollectorDouble() as collector, small_disk(mib=1) as disk:
        filler = fill(disk)
        collector.always(status(503))
        emitter = CollectorEmitter(collector.url, spool=disk / "spool")
        send(emitter, 0, 200)
        soon(lambda: emitter.counts.spool_failures)
        filler.unlink()
        soon(lambda: emitter.counts.spooled == 200)
        filler = fill(disk)
        send(emitter, 200, 300)
        collector.always(None)
        assert emitter.flush(20) is True
        assert numbers(collector.accepted) == list(range(300))
        assert emitter.counts.dropped == 0
        emitter.close()


def test_what_waits_while_a_try_takes_long_is_spooled(tmp_path):
    """Not only when it has failed at last."""
    with CollectorDouble() as collector:
        collector.always(hang(30))
        emitter = CollectorEmitter(collector.url, spool=tmp_path / "spool", timeout=60)
        send(emitter, 0, 5)
        soon(lambda: collector.requests)
        send(emitter, 5, 10)
        soon(lambda: emitter.counts.spooled == 10)
        assert emitter.counts.retried == 0
        emitter.close(timeout=0.01)


def test_what_is_left_at_the_end_is_delivered_at_the_next_start(tmp_path):
    """Nobody need track anything for that."""
    spool = tmp_path / "spool"
    first = CollectorEmitter(AWAY, spool=spool)
    send(first, 0, 20)
    assert first.close(timeout=0.05) is False
    assert (first.counts.spooled, first.counts.dropped) == (20, 0)
    with CollectorDouble() as collector:
        second = CollectorEmitter(collector.url, spool=spool)
        soon(lambda: len(collector.accepted) == 20)
        assert second.close() is True
        assert numbers(collector.accepted) == list(range(20))
    assert list(spool.iterdir()) == []


def test_the_end_of_a_program_does_not_wait_for_what_is_away(tmp_path):
    """Where the spool has the events; in the time it is given here, the test would not end."""
    script = f"""
from snowbus.producers.emitters import CollectorEmitter
CollectorEmitter({AWAY!r}, exit_timeout=1000, spool={str(tmp_path)!r}).input({{"e": "pv"}})
"""
    subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=True)
    (path,) = tmp_path.iterdir()
    assert path.read_bytes().count(b'"e":"pv"') == 1


def test_the_end_of_a_program_is_not_held_up_longer_than_it_is_told(tmp_path):
    """What waits goes to the spool; without one its loss is told."""
    script = f"""
import logging
from snowbus.producers.emitters import CollectorEmitter
logging.basicConfig(format="%(message)s")
kept = CollectorEmitter({AWAY!r}, exit_timeout=0.1, spool={str(tmp_path)!r})
lost = CollectorEmitter({AWAY!r}, exit_timeout=0.1)
for number in range(3):
    kept.input({{"e": "pv", "eid": str(number)}})
    lost.input({{"e": "pv", "eid": str(number)}})
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert "events lost" in ended.stderr
    assert "dropped=3" in ended.stderr
    (path,) = tmp_path.iterdir()
    assert path.read_bytes().count(b'"e":"pv"') == 3


def test_every_event_is_in_the_spool_before_track_returns(tmp_path):
    """The process kills itself; what it had tracked is there for the next one, though it never sent a thing."""
    script = f"""
import os, signal
from snowplow_tracker import PageView, Tracker
from snowbus.producers.emitters import CollectorEmitter
tracker = Tracker("ns", [CollectorEmitter({AWAY!r}, spool={str(tmp_path)!r}, durability="written")])
for number in range(50):
    print(tracker.track(PageView("https://shop.example/")), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL
    with CollectorDouble() as collector:
        emitter = CollectorEmitter(collector.url, spool=tmp_path)
        soon(lambda: len(collector.accepted) == 50)
        emitter.close()
        assert [payload["eid"] for payload in collector.accepted] == ended.stdout.split()


def test_a_neighbour_takes_over_what_a_killed_process_has_left(tmp_path, monkeypatch):
    monkeypatch.setattr("snowbus.producers.emitters.spool._LOOK_SECONDS", 0.05)
    monkeypatch.setattr("snowbus.producers.emitters.worker._LOOK_SECONDS", 0.05)
    with CollectorDouble() as collector:
        emitter = CollectorEmitter(collector.url, spool=tmp_path)
        send(emitter, 0, 1)
        emitter.flush()
        script = f"""
import os, signal
from snowbus.producers.emitters import CollectorEmitter
emitter = CollectorEmitter({AWAY!r}, spool={str(tmp_path)!r}, durability="written")
for number in range(1, 5):
    emitter.input({{"e": "pv", "p": "srv", "tv": "t", "eid": str(number)}})
os.kill(os.getpid(), signal.SIGKILL)
"""
        subprocess.run([sys.executable, "-c", script], timeout=60, check=False)
        soon(lambda: len(collector.accepted) == 5)
        assert numbers(collector.accepted) == list(range(5))
        assert emitter.close() is True


@pytest.mark.parametrize("durability", ["memory", "written", "synced"])
def test_a_spool_that_takes_nothing_costs_nothing_while_the_destination_does(tmp_path, durability):
    """As on a disk that is full; events go on from memory."""
    emitter = LogfileEmitter(tmp_path / "events.ndjson", spool=tmp_path / "spool", durability=durability)
    emitter._outbox.spool._full_until, emitter._outbox.spool._why_full = float("inf"), "the disk is full"
    send(emitter, 0, 500)
    assert emitter.close() is True
    assert numbers(lines_in(tmp_path / "events.ndjson")) == list(range(500))


def test_what_a_log_will_never_take_is_kept_on_the_log(sqlite_url):
    emitter = BusEmitter(sqlite_url, options=LogOptions(max_record_bytes=2000))
    emitter.input({"e": "nonsense", "eid": "1"})
    emitter.input({"e": "pv", "url": "x" * 3000, "eid": "2"})
    emitter.input({"e": "pv", "eid": "good"})
    emitter.close()
    assert (emitter.counts.refused, emitter.counts.delivered) == (2, 1)
    assert [payload["eid"] for payload in payloads_on(sqlite_url)] == ["good"]

    async def main():
        async with await open_log(sqlite_url) as log:
            return [record.header("reason").decode() for record in await read_all(log, BAD_TOPIC)]

    reasons = run(main())
    assert len(reasons) == 2
    assert any("'nonsense' is unknown" in reason for reason in reasons)
    assert any("larger than" in reason for reason in reasons)


def test_what_a_collector_will_never_take_is_kept_beside_the_spool(tmp_path):
    outcomes = []
    with CollectorDouble(refused={"3": 400, "7": 422}) as collector:
        emitter = CollectorEmitter(collector.url, spool=tmp_path, on_outcome=outcomes.append)
        send(emitter, 0, 10)
        assert emitter.close() is True
        assert numbers(collector.accepted) == [0, 1, 2, 4, 5, 6, 8, 9]
    refused = [json.loads(line) for line in (tmp_path / "refused.ndjson").read_text().splitlines()]
    assert [(line["payload"]["eid"], line["reason"]) for line in refused] == [
        ("3", "the collector answered 400"),
        ("7", "the collector answered 422"),
    ]
    assert [outcome.payloads[0]["eid"] for outcome in outcomes if outcome.kind == "refused"] == ["3", "7"]


def test_a_damaged_spool_is_told_and_kept(tmp_path):
    first = CollectorEmitter(AWAY, spool=tmp_path)
    send(first, 0, 5)
    first.close(timeout=0.01)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes().replace(b'"eid":"2"', b'"eid":"x"')[:-3])
    with CollectorDouble() as collector:
        second = CollectorEmitter(collector.url, spool=tmp_path)
        soon(lambda: len(collector.accepted) == 3)
        assert second.close() is True
        assert (second.counts.damaged, second.counts.delivered) == (2, 3)
    assert len((tmp_path / "refused.ndjson").read_text().splitlines()) == 2


def cut(path):
    os.truncate(path, 0)


def cut_in_the_middle(path):
    os.truncate(path, path.stat().st_size // 2)


def glue_lines(path):
    path.write_bytes(path.read_bytes().replace(b"}\n", b"} ", 3))


def break_lines(path):
    path.write_bytes(path.read_bytes().replace(b" {", b"\n{", 3))


@pytest.mark.parametrize("damage", [cut, cut_in_the_middle, glue_lines, break_lines])
def test_a_spool_damaged_under_an_emitter_does_not_hold_up_what_comes_after(tmp_path, damage):
    with CollectorDouble() as collector:
        collector.always(status(503))
        emitter = CollectorEmitter(collector.url, spool=tmp_path, durability="written")
        send(emitter, 0, 20)
        soon(lambda: emitter.counts.retried)
        (path,) = tmp_path.glob("*.spool")
        damage(path)
        collector.always(None)
        send(emitter, 20, 25)
        assert emitter.flush() is True
        assert emitter.close() is True
        assert emitter.counts.damaged
        assert numbers(collector.accepted)[-5:] == [20, 21, 22, 23, 24]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_of_multiprocessing_deliver_their_own(tmp_path, method):
    path, script = tmp_path / "events.ndjson", tmp_path / "service.py"
    script.write_text(f"""
import multiprocessing
from snowbus.producers.emitters import LogfileEmitter
emitter = LogfileEmitter({str(path)!r})
def send(start):
    for number in range(start, start + 10):
        emitter.input({{"e": "pv", "eid": str(number)}})
if __name__ == "__main__":
    send(0)
    context = multiprocessing.get_context({method!r})
    children = [context.Process(target=send, args=(start,)) for start in (10, 20)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0
""")
    subprocess.run([sys.executable, script], timeout=60, check=True)
    assert sorted(numbers(lines_in(path))) == list(range(30))


def test_a_fork_is_not_held_up_by_a_destination_that_hangs(tmp_path):
    """What the parent had waiting stays the parent's."""
    with CollectorDouble() as collector:
        collector.respond(_for_ever)
        emitter = CollectorEmitter(collector.url, timeout=60)
        send(emitter, 0, 5)
        soon(lambda: collector.requests)
        child = os.fork()
        if not child:
            os._exit(emitter.pending)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        send(emitter, 5, 10)
        assert emitter.flush() is True
        emitter.close()
        assert numbers(collector.accepted) == list(range(10))


async def _for_ever(writer):
    await writer.wait_closed()
    return False


def test_many_threads_track_through_a_fork(tmp_path):
    emitter = LogfileEmitter(tmp_path / "events.ndjson", spool=tmp_path / "spool", durability="written")
    threads = [threading.Thread(target=track, args=(Tracker("ns", [emitter]), 50)) for _ in range(10)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        if not (child := os.fork()):
            os._exit(0)
        os.waitpid(child, 0)
    for thread in threads:
        thread.join()
    assert emitter.close() is True
    assert len({payload["eid"] for payload in lines_in(tmp_path / "events.ndjson")}) == 1000
