"""`snowbus publish --file`: what is in files is published, and with `--resume` once, whatever happens in between."""

import gzip
import json
import os
import signal
import tracemalloc
from pathlib import Path

import pytest
from support.aio import run, soon
from support.ingest import PAYLOAD_DATA, all_records
from support.snowbus import COMMAND, Process, snowbus

from snowbus.bus.envelope import decode_event
from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.log import open_log
from snowbus.cli import exit_codes
from snowbus.cli.event_files import EventFile, FileError
from snowbus.cli.har import HarError, har_requests
from snowbus.producers.emitters import LogfileEmitter


def on_log(log_url):
    """The payloads of the events on the log."""

    async def main():
        async with await open_log(log_url) as log:
            await log.create_topics([EVENTS_TOPIC])
            return [decode_event(record.value) for record in await all_records(log, EVENTS_TOPIC)]

    return [json.loads(event.payload) for event in run(main())]


def ids(log_url):
    return sorted(payload["eid"] for payload in on_log(log_url))


def har(*events):
    post = {"schema": PAYLOAD_DATA, "data": [{"e": "pv", "p": "web", "tv": "js", "eid": each} for each in events[:-1]]}
    return {
        "log": {
            "entries": [
                {"request": {"method": "GET", "url": "https://shop.example/logo.png"}},
                {"request": {"method": "POST", "url": "https://c/tp2", "postData": {"text": json.dumps(post)}}},
                {"request": {"method": "GET", "url": f"https://c/i?e=pv&p=web&tv=js&eid={events[-1]}"}},
            ]
        }
    }


SHAPES = {
    "lines after a blank one": b'\n{"e":"pv","eid":"a"}\n{"e":"pv","eid":"b"}\n{"e":"pv","eid":"c"}',
    "lines": b'{"e":"pv","eid":"a"}\n\n{"event":"page_view","event_id":"b"}\n{"e":"pv","eid":"c"}',
    "payload_data": json.dumps({"schema": PAYLOAD_DATA, "data": [{"e": "pv", "eid": each} for each in "abc"]}).encode(),
    "HAR": json.dumps(har("a", "b", "c"), indent=2).encode(),
    "HAR on a line": b"\xef\xbb\xbf" + json.dumps(har("a", "b", "c")).encode(),
    "an array": json.dumps([{"e": "pv", "eid": each} for each in "abc"], indent=2).encode(),
    "an array after a blank line": b'\n[{"e":"pv","eid":"a"},\n{"e":"pv","eid":"b"},{"e":"pv","eid":"c"}]',
    "packed lines": gzip.compress(b'{"e":"pv","eid":"a"}\n{"e":"pv","eid":"b"}\n{"e":"pv","eid":"c"}\n'),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_file_is_known_by_what_is_in_it_and_published_once(tmp_path, sqlite_url, shape):
    (tmp_path / "events").write_bytes(SHAPES[shape])
    arguments = ("publish", "--log", sqlite_url, "--file", "events", "--resume", "state")
    answer = snowbus(*arguments, cwd=tmp_path)
    assert (answer.stdout, answer.returncode) == ("3 published\n", exit_codes.OK), answer.stderr
    assert snowbus(*arguments, cwd=tmp_path).stdout == "0 published\n"
    assert ids(sqlite_url) == ["a", "b", "c"]


@pytest.mark.parametrize("first", ["", "\ufeff \n\n", "no event\nnor this\n"])
def test_a_large_file_of_lines_is_read_line_by_line_whatever_it_begins_with(tmp_path, first):
    path = tmp_path / "events.ndjson"
    path.write_text(first + f"{json.dumps({'e': 'pv', 'page': 'x' * 2_000})}\n" * 10_000, "utf-8")
    tracemalloc.start()
    try:
        with EventFile(path) as file:
            assert len(next(file.batches()).items) > 400
        assert tracemalloc.get_traced_memory()[1] < path.stat().st_size / 2
    finally:
        tracemalloc.stop()


def test_a_trackers_logfile_that_grows_and_is_rotated_is_published_once(tmp_path, sqlite_url):
    path = tmp_path / "events.ndjson"
    emitter = LogfileEmitter(path)

    def track(*events):
        for each in events:
            emitter.input({"e": "pv", "eid": each, "dtm": 1})
        emitter.flush()

    def publish(*files):
        flags = [flag for file in files for flag in ("--file", file)]
        return snowbus("publish", "--log", sqlite_url, *flags, "--resume", "state", cwd=tmp_path).stdout

    track("a", "b")
    assert publish("events.ndjson") == "2 published\n"
    track("c")
    path.rename(tmp_path / "events.ndjson.1")
    emitter.close()
    emitter = LogfileEmitter(path)
    track("d")
    assert publish("events.ndjson.1", "events.ndjson") == "2 published\n"
    assert publish("events.ndjson.1", "events.ndjson") == "0 published\n"
    emitter.close()
    assert ids(sqlite_url) == ["a", "b", "c", "d"]


def test_what_is_no_event_is_named_with_its_file_and_a_torn_last_line_is_read_again(tmp_path, sqlite_url):
    path = tmp_path / "events"
    path.write_bytes(b" " * 1_500_000 + b"\n" + b'{"e":"pv"}\nnonsense\n{"e":"pv"')
    arguments = ("publish", "--log", sqlite_url, "--file", "events", "--resume", "state")
    answer = snowbus(*arguments, cwd=tmp_path)
    assert (answer.stdout, answer.returncode) == ("1 published, 2 refused\n", exit_codes.FAILED)
    assert "events, line 3: " in answer.stderr
    assert "events, line 4: " in answer.stderr
    with path.open("ab") as file:
        file.write(b"}\n")
    assert snowbus(*arguments, cwd=tmp_path).stdout == "1 published\n"


def test_an_event_without_an_id_gets_the_same_one_whenever_it_is_read(tmp_path, sqlite_url):
    (tmp_path / "events").write_bytes(b'{"e":"pv"}\n' * 3)
    for _ in range(2):
        snowbus("publish", "--log", sqlite_url, "--file", "events", cwd=tmp_path)
    assert len(ids(sqlite_url)) == 6
    assert len(set(ids(sqlite_url))) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_after_an_interruption_the_rest_is_published(tmp_path, sqlite_url, number):
    count = 20_000
    lines = "".join(f'{{"e":"pv","eid":"{each:05}"}}\n' for each in range(count))
    (tmp_path / "big").write_text(lines)
    arguments = ("publish", "--log", sqlite_url, "--file", "big", "--resume", "state")
    with Process(*arguments, program=COMMAND, cwd=tmp_path) as publish:
        soon((tmp_path / "state").exists, every=0.001)
        publish.send(number)
        code = publish.wait()
        if number is signal.SIGTERM:
            assert code == exit_codes.INTERRUPTED
            assert "what follows is not published" in publish.diagnostics[-1]
            assert "big, line " in publish.diagnostics[-1]
    published = int(publish.text.split()[0]) if number is signal.SIGTERM else None
    answer = snowbus(*arguments, cwd=tmp_path)
    assert answer.returncode == exit_codes.OK
    found = ids(sqlite_url)
    assert sorted(set(found)) == [f"{each:05}" for each in range(count)]
    assert len(found) - count <= (0 if published else 500), "no more than the batch in flight is there twice"
    if published:
        assert answer.stdout == f"{count - published} published\n"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--file", "nowhere"), "nowhere: No such file"),
        (("--file", "events", "--resume", "events"), "events is not what --resume has written"),
        (("--file", "events", "--event", "page_view"), "--file is for events in files"),
        (("--resume", "state"), "name them with --file"),
        (("--file", "broken.gz"), "broken.gz: Compressed file ended"),
        (("--file", "broken.har"), "log.entries[0] is no request"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path, sqlite_url, arguments, reason):
    (tmp_path / "events").write_text('{"e":"pv"}\n')
    (tmp_path / "broken.gz").write_bytes(gzip.compress(b'{"e":"pv"}\n' * 100)[:-9])
    (tmp_path / "broken.har").write_text('{"log":{"entries":[1]}}')
    answer = snowbus("publish", "--log", sqlite_url, *arguments, cwd=tmp_path)
    assert answer.returncode != exit_codes.OK
    assert reason in answer.stderr


def test_a_pipe_is_for_stdin():
    reading, writing = os.pipe()
    with os.fdopen(reading), os.fdopen(writing, "w"), pytest.raises(FileError, match="no file but a pipe"):
        EventFile(Path(f"/dev/fd/{reading}"))


@pytest.mark.parametrize("odd", [{"url": None}, {"url": 1}, {"postData": {"text": 1}}, {"postData": "text"}])
def test_an_entry_of_a_har_file_that_is_none_is_named(odd):
    request = {"method": "GET", "url": "http://collector.example/i?e=pv&tv=x", **odd}
    with pytest.raises(HarError, match=r"log.entries\[0\] is no request"):
        list(har_requests({"log": {"entries": [{"request": request}]}}))


def test_half_a_surrogate_pair_in_a_har_file_costs_no_event():
    request = {"method": "GET", "url": "http://collector.example/i?e=pv&tv=x&page=\ud800"}
    (found,) = har_requests({"log": {"entries": [{"request": request}]}})
    assert [payload["page"] for payload in found.understood.payloads] == ["?"]
