"""The archive: whole files only, every event in one of them, and at most one batch again after a kill."""

import gzip
import json
import os
import signal
from dataclasses import replace

import pytest
from support.aio import soon
from support.consuming import append, consume

from snowbus.bus.errors import ConfigurationError
from snowbus.cli import exit_codes
from snowbus.consumers.examples.archive import archive
from snowbus.consumers.testing import event, run_consumer

EVENTS = 4_000
BATCH = 100
# The example with smaller files, so that there are many, and with time to kill it between a file and the commit.
SMALL = f"""\
import time
from snowbus.consumers import consumer
from snowbus.consumers.examples import archive as example

small = dict(batch={BATCH}, batch_wait=0.1, max_in_flight={BATCH}, lifespan=example.directory)

@consumer("snowbus.events", group_id="archive", **small)
def archive(records, directory):
    example.archive(records, directory)
    time.sleep(0.02)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ARCHIVE_DIRECTORY", str(tmp_path / "archive"))
    return tmp_path / "archive"


def lines_of(folder):
    """What stands in each file, files in the order of their names."""
    files = [gzip.decompress(path.read_bytes()).decode() for path in sorted(folder.glob("*.ndjson.gz"))]
    return [[json.loads(line) for line in text.splitlines()] for text in files]


def test_a_minute_of_events_is_one_file(folder):
    result = run_consumer(archive, [event(page_title=str(number)) for number in range(25)])
    (lines,) = lines_of(folder)
    assert sorted(int(line["event"]["page_title"]) for line in lines) == list(range(25))
    assert (result.handled, result.dead_letters) == (25, [])
    assert 60 <= result.elapsed < 62


def test_a_line_says_where_the_event_stood_and_keeps_it_as_it_was_sent(folder):
    run_consumer(archive, [event("page_view", event_id="one", user_id="ann")])
    ((line,),) = lines_of(folder)
    assert set(line) == {"topic", "partition", "offset", "timestamp", "event", "payload", "source"}
    assert (line["topic"], line["offset"]) == ("snowbus.events", 0)
    assert (line["event"]["event"], line["payload"]["e"], line["payload"]["eid"]) == ("page_view", "pv", "one")


def test_a_full_batch_is_a_file_at_once(folder):
    run_consumer(replace(archive, batch=10), [event(user_id="ann") for _ in range(25)])
    assert [len(lines) for lines in lines_of(folder)].count(10) == 2


def test_what_is_no_event_dies_alone(folder):
    broken = event()._replace(value=b"nonsense")
    result = run_consumer(archive, [*(event() for _ in range(5)), broken, *(event() for _ in range(5))])
    assert (result.handled, len(result.dead_letters)) == (10, 1)
    assert sum(map(len, lines_of(folder))) == 10


def test_a_full_disk_kills_no_event_and_leaves_nothing_half_written(folder, monkeypatch):
    calls = []

    def fsync(descriptor):
        calls.append(descriptor)
        if len(calls) <= 10:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    result = run_consumer(archive, [event() for _ in range(5)])
    assert (result.handled, result.retries, result.dead_letters) == (5, 10 * 5, [])
    assert [path.suffix for path in folder.iterdir()] == [".gz"]


def test_a_file_is_on_the_disk_before_it_has_its_name(folder, monkeypatch):
    named_when_flushed = []
    monkeypatch.setattr(os, "fsync", lambda _: named_when_flushed.append(len(list(folder.glob("*.gz")))))
    run_consumer(archive, [event()])
    assert named_when_flushed == [0, 1]  # the file first, then the folder that holds its name


def test_without_a_directory_it_does_not_begin():
    with pytest.raises(ConfigurationError, match="ARCHIVE_DIRECTORY is not set"):
        run_consumer(archive, [event()])


def test_a_kill_loses_no_line_and_repeats_one_batch_at_most(tmp_path, sqlite_url, folder):
    append(sqlite_url, [event(event_id=str(number), user_id=f"u{number % 97}") for number in range(EVENTS)])
    (tmp_path / "small.py").write_text(SMALL)
    with consume(tmp_path, sqlite_url, "small:archive", "--session-timeout", "1") as process:
        soon(lambda: len(list(folder.glob("*.gz"))) >= 3, every=0.001)
        process.send(signal.SIGKILL)
    assert len(places(folder)) < EVENTS
    with consume(tmp_path, sqlite_url, "small:archive", "--session-timeout", "1") as process:
        soon(lambda: len(set(places(folder))) == EVENTS)
        assert process.stop() == exit_codes.OK
    assert len(places(folder)) - EVENTS <= BATCH


def places(folder):
    """Where each event stood that is in a file."""
    return [(line["partition"], line["offset"]) for file in lines_of(folder) for line in file]
