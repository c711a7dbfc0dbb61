"""What holds for every emitter, wherever it sends to."""

import logging
import subprocess
import sys
import threading
from collections import Counter

import pytest
from snowplow_tracker import Tracker
from support.aio import soon
from support.emitting import Recorder, lines_in, track

from snowbus.bus.errors import ConfigurationError
from snowbus.producers.emitters import BusEmitter, CollectorEmitter, LogfileEmitter, Outcome
from snowbus.producers.emitters.emitter import Emitter
from snowbus.producers.emitters.to_file import FileDestination, Rotation


class Unprintable:
    def __str__(self):
        raise RuntimeError("no text")


def run_script(script):
    """Run a program as strictly as Python can; returns what it printed."""
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", script]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def test_events_of_the_official_tracker_arrive_as_it_made_them(destination):
    """In order, once each, and equal to what the official emitter would have sent."""
    recorder = Recorder()
    emitter = destination.make()
    tracker = Tracker("ns", [emitter, recorder], app_id="shop")
    track(tracker, count=50)
    tracker.flush()
    assert emitter.flush() is True
    assert emitter.close() is True
    assert (emitter.counts.delivered, emitter.pending) == (100, 0)
    assert destination.arrived() == recorder.payloads


def test_what_waits_when_the_program_ends_is_delivered(destination):
    """Nobody has to remember to flush; and the program ends without a word, a warning or a resource left open."""
    script = f"""
from snowplow_tracker import PageView, Tracker
from snowbus.producers.emitters import BusEmitter, CollectorEmitter, LogfileEmitter
tracker = Tracker("ns", [{destination.script()}])
for number in range(100):
    tracker.track(PageView("https://shop.example/"))
"""
    assert run_script(script) == ""
    assert len({payload["eid"] for payload in destination.arrived()}) == 100


def test_threads_that_outlive_the_main_one_track_on(tmp_path):
    script = f"""
import threading
from snowbus.producers.emitters import LogfileEmitter
emitter = LogfileEmitter({str(tmp_path / "events.ndjson")!r})
emitter.input({{"e": "pv", "eid": "0"}})
def go_on():
    threading.main_thread().join()
    for number in range(1, 4):
        emitter.input({{"e": "pv", "eid": str(number)}})
        emitter.flush()
threading.Thread(target=go_on).start()
"""
    assert run_script(script) == ""
    assert [payload["eid"] for payload in lines_in(tmp_path / "events.ndjson")] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("durability", ["memory", "written", "synced"])
def test_what_is_tracked_in_the_middle_of_tracking_is_taken(tmp_path, durability):
    """As by signal handlers, and by `__del__`, which garbage collection calls at any allocation."""
    script = f"""
import gc
from snowbus.producers.emitters import LogfileEmitter
emitter = LogfileEmitter(
    {str(tmp_path / "events.ndjson")!r}, spool={str(tmp_path / "spool")!r}, durability={durability!r}
)
class Tracks:
    def __init__(self):
        self.myself = self
    def __del__(self):
        emitter.input({{"e": "pv"}})
        gone.append(1)
gone = []
for number in range(1000):
    gc.set_threshold(1 + number % 40)
    Tracks()
    emitter.input({{"e": "pv"}})
gc.set_threshold(1000)
while len(gone) < 1000:  # another thread may be at it, and collect waits for none
    gc.collect()
assert emitter.flush()
print(emitter.counts.delivered)
"""
    assert run_script(script) == "2000\n"


def test_a_callback_that_hangs_does_not_keep_the_program_from_ending(tmp_path):
    script = f"""
import threading
from snowbus.producers.emitters import LogfileEmitter, emitter
emitter._GRACE_SECONDS = 0.1
called = threading.Event()
def hang(outcome):
    called.set()
    threading.Event().wait()
LogfileEmitter({str(tmp_path / "events.ndjson")!r}, exit_timeout=0.1, on_outcome=hang).input({{"e": "pv"}})
called.wait()
"""
    assert run_script(script) == ""


def test_forked_processes_deliver_their_own_events(destination, tmp_path):
    """As under a server that forks its workers when the application is loaded, and in the middle of the tracking."""
    script = f"""
import os, threading, warnings
from snowplow_tracker import PageView, Tracker
from snowbus.producers.emitters import BusEmitter, CollectorEmitter, LogfileEmitter
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
tracker = Tracker("ns", [{destination.script(spool=str(tmp_path / "spool"), durability="written")}])
def track(who):
    for number in range(10):
        tracker.track(PageView(f"https://shop.example/{{who}}/{{number}}"))
stop = threading.Event()
def go_on():
    while not stop.wait(0.005):
        track("parent")
track("parent")
assert tracker.emitters[0].flush() is True  # now everything is imported, and the children need not
busy = threading.Thread(target=go_on)
busy.start()
for fork in range(5):
    child = os.fork()
    if not child:
        track("child")
        raise SystemExit
    track("parent")
    assert os.waitpid(child, 0)[1] == 0
stop.set()
"""
    run_script(script)
    arrived = destination.arrived()
    urls = Counter(tuple(payload["url"].split("/")[3:]) for payload in arrived)
    assert [urls["child", str(number)] for number in range(10)] == [5] * 10
    assert len({urls["parent", str(number)] for number in range(10)}) == 1
    assert urls["parent", "0"] > 5
    assert len({payload["eid"] for payload in arrived}) == len(arrived), "an event was sent twice"
    assert list((tmp_path / "spool").iterdir()) == []


def test_no_thread_ends_for_a_fork(tmp_path):
    """It would with locks of C libraries, such as OpenSSL's, which the child would wait for when it ends."""
    script = f"""
import os, threading, warnings
from snowbus.producers.emitters import LogfileEmitter
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
threads = []
tell = lambda outcome: threads.append(threading.get_native_id())
emitter = LogfileEmitter({str(tmp_path / "events.ndjson")!r}, on_outcome=tell)
for fork in range(3):
    emitter.input({{"e": "pv"}})
    assert emitter.flush()
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
assert emitter.close()
print(len(threads), len(set(threads)))
"""
    assert run_script(script) == "3 1\n"


@pytest.fixture(params=["memory", "written"])
def logfile(request, tmp_path):
    """An emitter to a file, the quickest; with and without a spool."""
    options = {} if request.param == "memory" else {"spool": tmp_path / "spool", "durability": "written"}
    told = []
    emitter = LogfileEmitter(tmp_path / "events.ndjson", on_outcome=told.append, **options)
    emitter.told = told
    yield emitter
    emitter.close()


def events_in(emitter, tmp_path):
    emitter.close()
    return lines_in(tmp_path / "events.ndjson")


def test_an_event_that_is_tracked_again_is_as_it_was_each_time(logfile, tmp_path):
    """The tracker changes the payload it handed over; what was taken is a copy, of what is mutable in it, too."""
    mutable = ["a"]
    payload = {"e": "pv", "eid": "1", "dtm": 1, "se_pr": mutable}
    logfile.input(payload)
    payload.update(eid="2", dtm=2)
    mutable.append("b")
    logfile.input(payload)
    found = [(event["eid"], event["dtm"], event["se_pr"]) for event in events_in(logfile, tmp_path)]
    assert found == [("1", "1", "['a']"), ("2", "2", "['a', 'b']")]


@pytest.mark.parametrize(
    "payload",
    [{"uid": Unprintable()}, {"uid": 10**5000}, {("a", "b"): "c"}, None],
    ids=["value", "huge", "name", "none"],
)
def test_nothing_makes_an_emitter_raise(logfile, tmp_path, payload):
    logfile.input(payload)
    logfile.input({"e": "pv", "eid": "good"})
    assert [event["eid"] for event in events_in(logfile, tmp_path)] == ["good"]
    assert (logfile.counts.refused, logfile.counts.delivered) == (1, 1)


def test_events_of_a_hundred_threads_all_arrive(logfile, tmp_path):
    tracker = Tracker("ns", [logfile])
    threads = [threading.Thread(target=track, args=(tracker, 20)) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [event["eid"] for event in events_in(logfile, tmp_path)]
    assert (len(found), len(set(found)), logfile.counts.dropped) == (4000, 4000, 0)


def test_an_event_without_an_id_gets_one(logfile, tmp_path):
    logfile.input({"e": "pv"})
    assert events_in(logfile, tmp_path)[0]["eid"]


def test_a_callback_hears_every_outcome_and_may_raise(tmp_path):
    told = []

    def hear(outcome: Outcome) -> None:
        told.append((threading.current_thread() is not threading.main_thread(), outcome))
        raise RuntimeError("from the callback")

    emitter = LogfileEmitter(tmp_path / "events.ndjson", on_outcome=hear)
    track(Tracker("ns", [emitter]), count=2)
    assert emitter.close() is True
    assert all(elsewhere for elsewhere, _ in told)
    assert sum(outcome.count for _, outcome in told if outcome.kind == "delivered") == 4
    assert {payload["uid"] for _, outcome in told for payload in outcome.payloads} == {"u-1"}


def test_a_failure_that_nobody_foresaw_ends_no_emitter(tmp_path):
    failures = [RuntimeError("not foreseen")]

    def make():
        if failures:
            raise failures.pop()
        return FileDestination(tmp_path / "events.ndjson", Rotation(0, 0, 0), "never")

    emitter = Emitter(make, name="file", at_once=10)
    emitter.input({"e": "pv"})
    assert emitter.flush() is True
    assert emitter.close() is True
    assert len(lines_in(tmp_path / "events.ndjson")) == 1


def test_a_flush_does_not_take_for_out_what_is_lost_meanwhile():
    emitter = CollectorEmitter("http://127.0.0.1:9")
    emitter.input({"e": "pv"})
    answers = []
    flushing = threading.Thread(target=lambda: answers.append(emitter.flush()))
    flushing.start()
    soon(lambda: emitter._outbox._settled._waiters)
    emitter.close(timeout=0.01)
    flushing.join()
    assert answers == [False]


def test_a_callback_may_flush(tmp_path):
    answers = []
    emitter = LogfileEmitter(tmp_path / "events.ndjson", on_outcome=lambda _: answers.append(emitter.flush()))
    emitter.input({"e": "pv"})
    emitter.close()
    assert answers == [False]


def test_what_comes_after_the_end_is_counted(logfile):
    logfile.close()
    logfile.input({"e": "pv"})
    assert (logfile.counts.dropped, logfile.pending) == (1, 0)
    assert logfile.close() is True


@pytest.mark.parametrize(
    ("emitter", "url"),
    [
        (CollectorEmitter, "http://127.0.0.1:9"),
        (BusEmitter, "kafka://127.0.0.1:9"),
        (BusEmitter, "http://127.0.0.1:9"),
        (BusEmitter, "sqlite:////dev"),
    ],
)
def test_an_emitter_that_has_nowhere_to_send_to_does_not_hold_up_another(tmp_path, caplog, emitter, url):
    """And memory is bounded: what does not fit is dropped, counted and told."""
    caplog.set_level(logging.CRITICAL, "aiokafka")
    outcomes = []
    away = emitter(url, max_queued=10, on_outcome=outcomes.append)
    near = LogfileEmitter(tmp_path / "events.ndjson")
    track(Tracker("ns", [away, near]), count=10)
    assert near.flush() is True
    assert (near.counts.delivered, away.counts.dropped, away.pending) == (20, 10, 10)
    assert away.flush(timeout=0.01) is False
    assert away.close(timeout=0.01) is False
    assert (away.counts.dropped, away.pending, away.flush()) == (20, 0, True)
    dropped = [(outcome.count, outcome.reason) for outcome in outcomes if outcome.kind == "dropped"]
    assert sum(count for count, _ in dropped) == 20
    assert {reason.partition(" (")[0] for _, reason in dropped} == {
        "too many events wait",
        "the emitter ended before they could be sent",
    }
    near.close()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda _: BusEmitter("amqp://host"), "kafka://"),
        (lambda _: BusEmitter("kafka://host:port"), "HOST:PORT"),
        (lambda _: BusEmitter("sqlite://file"), "sqlite:///"),
        (lambda _: BusEmitter("sqlite:///log.db", iglu_resolver="none.json"), "iglu_resolver"),
        (lambda path: BusEmitter(f"sqlite:///{path}/missing/log.db"), "there is no folder .*/missing"),
        (lambda _: BusEmitter("http://host:8080", on_invalid="divert"), "an ingest has its own"),
        (lambda _: CollectorEmitter("collector.example"), "http://HOST:PORT"),
        (lambda _: CollectorEmitter("http://a.example", headers=["Cookie: a"]), "Cookie"),
        (lambda _: BusEmitter(None), "url must be a text; it is None"),
        (lambda _: CollectorEmitter(None), "url must be a text; it is None"),
        (lambda _: LogfileEmitter(None), "path must be a text; it is None"),
        (lambda _: BusEmitter(""), "kafka://.* sqlite:///.* http://.* https://"),
        (lambda _: BusEmitter("sqlite:///log.db", on_invalid="drop"), "on_invalid 'drop'"),
        (lambda _: BusEmitter("sqlite:///log.db", timeout=3), "timeout .* for an ingest"),
        (lambda _: BusEmitter("https://a.example", ssl_cafile="/nope"), "ssl_cafile /nope: No such file"),
        (lambda _: CollectorEmitter("http://a.example", ssl_cafile="/nope"), "ssl_cafile is for https"),
        (lambda _: CollectorEmitter("http://a.example", headers=["a"]), "^headers: number 1"),
        (lambda _: CollectorEmitter("http://a.example", batch_events=0), "batch_events must be at least 1"),
        (lambda _: CollectorEmitter("http://a.example", timeout=0), "timeout must be more than 0 seconds"),
        (lambda _: CollectorEmitter("http://a.example", timeout=None), "timeout must be more than 0 seconds"),
        (lambda path: LogfileEmitter(path / "a", rotate_bytes=-1), "rotate_bytes must be at least 1"),
        (lambda path: LogfileEmitter(path / "a", keep_files=0), "keep_files must be at least 1"),
        (lambda path: LogfileEmitter(path / "a", exit_timeout=-1), "exit_timeout must be 0 or more"),
        (lambda path: LogfileEmitter(path / "a", on_outcome="x"), "on_outcome must be a function"),
        (lambda path: LogfileEmitter(path / "missing" / "events.ndjson"), "No such file"),
        (lambda path: LogfileEmitter(path / "events.ndjson", fsync="often"), "never, interval, always"),
        (lambda path: LogfileEmitter(path / "events.ndjson", durability="written"), "give spool"),
        (lambda path: LogfileEmitter(path / "events.ndjson", spool=path / "s", durability="x"), "memory, written"),
        (lambda path: LogfileEmitter(path / "events.ndjson", spool="/dev/null/spool"), "spool /dev/null/spool"),
    ],
)
def test_what_cannot_work_is_told_where_the_emitter_is_made(tmp_path, make, told):
    with pytest.raises(ConfigurationError, match=told):
        make(tmp_path)


def test_importing_emitters_imports_nothing_heavy():
    """What connects and checks is imported by the emitter's thread."""
    script = """
import sys
import snowbus.producers.emitters
heavy = ("aiohttp", "aiokafka", "fastavro", "jsonschema", "jsonschema_rs", "pydantic", "rich", "sqlite3", "structlog")
print([name for name in heavy if name in sys.modules])
"""
    assert run_script(script) == "[]\n"
