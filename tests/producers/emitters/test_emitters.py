"""Emitters, plugged into the official Python tracker."""

import json
import logging
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest
from snowplow_tracker import PageView, SelfDescribing, SelfDescribingJson, Subject, Tracker
from support.aio import run
from support.forwarding import read_all

from snowbus.bus.envelope import decode_event
from snowbus.bus.errors import ConfigurationError
from snowbus.bus.event import BAD_TOPIC, EVENTS_TOPIC
from snowbus.bus.iglu.config import own_config_file
from snowbus.bus.log import LogOptions, open_log
from snowbus.bus.payload import load_payload
from snowbus.producers.emitters import BusEmitter, LogfileEmitter

ADDED = SelfDescribingJson("iglu:com.acme/added/jsonschema/1-0-0", {"sku": "Ä-1"})


class Unprintable:
    def __str__(self):
        raise RuntimeError("no text")


class Recorder:
    """An emitter that keeps what the tracker handed over, as the official emitter would send it."""

    def __init__(self):
        self.payloads = []

    def input(self, payload):
        self.payloads.append({code: str(value) for code, value in payload.items()})


def payloads_on(url):
    """The payloads on the log, in the order of their partitions and offsets."""

    async def main():
        async with await open_log(url) as log:
            return [load_payload(decode_event(record.value).payload) for record in await read_all(log, EVENTS_TOPIC)]

    return run(main())


def track(tracker, count=1):
    for number in range(count):
        subject = Subject().set_user_id("u-1")
        tracker.track(PageView(f"https://shop.example/{number}", event_subject=subject))
        tracker.track(SelfDescribing(ADDED, event_subject=subject))


HELLO = "iglu:dev.snowbus.demo/hello/jsonschema/1-0-0"


def bad_and_good_on(url):
    """The reasons on `snowbus.bad`, and what was found of the events, with how often."""

    async def main():
        async with await open_log(url) as log:
            await log.create_topics([BAD_TOPIC])
            bad = [dict(record.headers)["reason"].decode() for record in await read_all(log, BAD_TOPIC)]
            good = [decode_event(record.value).validation for record in await read_all(log, EVENTS_TOPIC)]
            return bad, Counter(good)

    return run(main())


@pytest.mark.parametrize("diverts", [False, True])
def test_events_are_checked_before_they_are_on_the_log(sqlite_url, diverts):
    on_invalid = "divert" if diverts else "forward"
    emitter = BusEmitter(sqlite_url, iglu_resolver=str(own_config_file()), on_invalid=on_invalid)
    tracker = Tracker("ns", [emitter])
    for data in ({"from": "me"}, {"from": ""}):
        tracker.track(SelfDescribing(SelfDescribingJson(HELLO, data)))
    tracker.track(PageView("https://shop.example/"))
    emitter.close()
    assert (emitter.delivered, emitter.refused, emitter.pending) == (3, 0, 0)
    bad, good = bad_and_good_on(sqlite_url)
    if diverts:
        assert good == {"valid": 2}
        assert bad == ["invalid: unstruct_event/from: '\"\"' is not a string of at least 1 character"]
    else:
        assert (bad, good) == ([], {"valid": 2, "invalid": 1})


def test_a_resolver_that_cannot_be_read_is_told_where_the_emitter_is_made(sqlite_url):
    with pytest.raises(ConfigurationError, match="iglu_resolver"):
        BusEmitter(sqlite_url, iglu_resolver="none.json")


def test_events_of_the_official_tracker_arrive_on_the_log_as_it_made_them(log_url):
    """In order, once each, and equal to what the official emitter would have sent."""
    recorder = Recorder()
    emitter = BusEmitter(log_url)
    track(Tracker("ns", [emitter, recorder], app_id="shop"), count=50)
    emitter.flush()
    assert (emitter.delivered, emitter.pending, emitter.dropped, emitter.refused) == (100, 0, 0, 0)
    emitter.close()
    assert payloads_on(log_url) == recorder.payloads


def test_an_event_that_is_tracked_again_is_as_it_was_each_time(sqlite_url):
    """The tracker changes the payload it handed over; what was taken is a copy."""
    emitter = BusEmitter(sqlite_url)
    payload = {"e": "pv", "p": "srv", "tv": "t", "eid": "1", "uid": "u", "dtm": 1}
    emitter.input(payload)
    payload.update(eid="2", dtm=2)
    emitter.input(payload)
    emitter.close()
    assert [(found["eid"], found["dtm"]) for found in payloads_on(sqlite_url)] == [("1", "1"), ("2", "2")]


def test_a_log_that_is_away_neither_blocks_nor_raises(caplog):
    """Memory is bounded: what does not fit is dropped, counted and said."""
    caplog.set_level(logging.CRITICAL, "aiokafka")
    emitter = BusEmitter("kafka://127.0.0.1:1", options=LogOptions(append_timeout=0.5), max_queued=10)
    started = time.monotonic()
    track(Tracker("ns", [emitter]), count=10)
    assert time.monotonic() - started < 0.5
    emitter.flush(timeout=0.01)
    assert (emitter.pending, emitter.dropped, emitter.delivered) == (10, 10, 0)
    emitter.close(timeout=0.01)


def test_what_is_no_event_is_refused_and_the_next_one_goes(sqlite_url):
    emitter = BusEmitter(sqlite_url, options=LogOptions(max_record_bytes=2000))
    emitter.input({"e": "nonsense"})
    emitter.input({"e": "pv", "url": "x" * 3000})
    emitter.input({"e": "pv", "eid": "good"})
    emitter.close()
    assert (emitter.refused, emitter.delivered) == (2, 1)
    assert [payload["eid"] for payload in payloads_on(sqlite_url)] == ["good"]


def test_a_url_that_cannot_work_is_told_at_once():
    with pytest.raises(ConfigurationError, match="kafka://"):
        BusEmitter("amqp://host")


def test_events_of_many_threads_all_arrive(sqlite_url):
    emitter = BusEmitter(sqlite_url)
    tracker = Tracker("ns", [emitter])
    threads = [threading.Thread(target=track, args=(tracker, 100)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    emitter.close()
    assert len({payload["eid"] for payload in payloads_on(sqlite_url)}) == 1600


def test_what_is_pending_when_the_program_ends_is_delivered(log_url):
    """Nobody has to remember to flush; and the program ends without a word."""
    script = f"""
from snowplow_tracker import PageView, Tracker
from snowbus.producers.emitters import BusEmitter
tracker = Tracker("ns", [BusEmitter({log_url!r})])
for number in range(100):
    tracker.track(PageView("https://shop.example/"))
"""
    command = [sys.executable, "-W", "error", "-c", script]
    ended = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
    assert len(payloads_on(log_url)) == 100


def test_forked_processes_deliver_their_own_events(sqlite_url):
    """As under a server that forks its workers when the application is loaded, and in the middle of the tracking."""
    script = f"""
import os, threading
from snowplow_tracker import PageView, Tracker
from snowbus.producers.emitters import BusEmitter
tracker = Tracker("ns", [BusEmitter({sqlite_url!r})])
def track(who):
    for number in range(10):
        tracker.track(PageView(f"https://shop.example/{{who}}/{{number}}"))
stop = threading.Event()
def go_on():
    while not stop.wait(0.005):
        track("parent")
busy = threading.Thread(target=go_on)
busy.start()
for fork in range(10):
    child = os.fork()
    if not child:
        track("child")
        raise SystemExit
    track("parent")
    assert os.waitpid(child, 0)[1] == 0
stop.set()
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    urls = Counter(tuple(payload["url"].split("/")[3:]) for payload in payloads_on(sqlite_url))
    assert [urls["child", str(number)] for number in range(10)] == [10] * 10
    assert len({urls["parent", str(number)] for number in range(10)}) == 1
    assert urls["parent", "0"] > 10


@pytest.mark.parametrize("value", [Unprintable(), 10**5000], ids=["unprintable", "huge"])
def test_no_value_makes_an_emitter_raise(sqlite_url, tmp_path, value):
    bus, logfile = BusEmitter(sqlite_url), LogfileEmitter(tmp_path / "events.ndjson")
    for emitter in (bus, logfile):
        emitter.input({"e": "pv", "uid": value})
        emitter.close()
    assert (bus.refused, logfile.failed) == (1, 1)


def test_a_line_after_one_that_was_cut_off_stands_alone(tmp_path):
    """A limit on the file's size stands in for a full disk: the write comes back short."""
    script = f"""
import resource, signal
from snowbus.producers.emitters import LogfileEmitter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
emitter = LogfileEmitter({str(tmp_path / "events.ndjson")!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (40, resource.RLIM_INFINITY))
emitter.input({{"e": "pv", "eid": "1"}})
emitter.input({{"e": "pv", "eid": "2"}})
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
emitter.input({{"e": "pv", "eid": "3"}})
print(emitter.written, emitter.failed)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.splitlines()[-1] == "2 1"
    lines = (tmp_path / "events.ndjson").read_text().splitlines()
    assert [json.loads(line)["eid"] for line in (lines[0], lines[2])] == ["1", "3"]


def test_a_logfile_has_one_payload_a_line(tmp_path):
    recorder = Recorder()
    emitter = LogfileEmitter(tmp_path / "events.ndjson")
    track(Tracker("ns", [emitter, recorder], app_id="shop"))
    emitter.close()
    assert [json.loads(line) for line in (tmp_path / "events.ndjson").read_text().splitlines()] == recorder.payloads
    assert emitter.written == 2


def test_a_logfile_is_appended_to_whole_lines_at_a_time(tmp_path):
    """Several emitters may write to one file at once."""
    path = tmp_path / "events.ndjson"
    emitters = [LogfileEmitter(path) for _ in range(4)]
    threads = [threading.Thread(target=track, args=(Tracker("ns", [emitter]), 200)) for emitter in emitters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for emitter in emitters:
        emitter.close()
    assert len({json.loads(line)["eid"] for line in path.read_text().splitlines()}) == 1600


def test_a_logfile_that_cannot_be_written_is_counted_and_raises_nothing(tmp_path):
    emitter = LogfileEmitter(tmp_path / "events.ndjson")
    emitter.close()
    emitter.input({"e": "pv"})
    assert (emitter.written, emitter.failed) == (0, 1)


def test_a_logfile_that_cannot_be_opened_is_told_at_once(tmp_path):
    with pytest.raises(ConfigurationError, match="No such file"):
        LogfileEmitter(tmp_path / "missing" / "events.ndjson")
