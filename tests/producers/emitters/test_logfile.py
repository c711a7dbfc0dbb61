"""The logfile emitter: lines that are whole, in files that are put aside, by several processes at once."""

import os
import subprocess
import sys

import pytest
from support.aio import soon
from support.emitting import lines_in

from snowbus.producers.emitters import LogfileEmitter


def send(emitter, start, end):
    for number in range(start, end):
        emitter.input({"e": "pv", "eid": str(number)})


def numbers(*paths):
    return [int(payload["eid"]) for payload in lines_in(*paths)]


def test_processes_share_a_file_and_put_it_aside_by_size(tmp_path):
    path = tmp_path / "events.ndjson"
    script = f"""
import sys
from snowbus.producers.emitters import LogfileEmitter
emitter = LogfileEmitter({str(path)!r}, rotate_bytes=2000)
start = 1000 * int(sys.argv[1])
for number in range(start, start + 500):
    emitter.input({{"e": "pv", "eid": str(number)}})
    if number % 50 == 0:
        emitter.flush()
assert emitter.close()
"""
    writers = [subprocess.Popen([sys.executable, "-c", script, str(number)]) for number in range(4)]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    files = sorted(tmp_path.iterdir())
    assert len(files) > 5
    assert max(file.stat().st_size for file in files) <= 2000
    found = numbers(*files)
    assert sorted(found) == [1000 * writer + number for writer in range(4) for number in range(500)]


def test_a_file_of_another_day_is_put_aside_and_the_oldest_deleted(tmp_path):
    path = tmp_path / "events.ndjson"
    other = tmp_path / "events.ndjson.20230101T000000.txt"
    other.touch()
    emitter = LogfileEmitter(path, rotate_seconds=86_400, keep_files=2)
    for number in range(4):
        send(emitter, number, number + 1)
        assert emitter.flush() is True
        os.utime(path, (1_700_000_000, 1_700_000_000))
    send(emitter, 4, 6)
    emitter.close()
    other.unlink()  # nobody else has
    *aside, current = sorted(tmp_path.iterdir(), key=lambda file: (file == path, file.name))
    assert (numbers(*aside), numbers(current)) == ([2, 3], [4, 5])


def test_a_file_that_others_move_is_begun_anew(tmp_path):
    path = tmp_path / "events.ndjson"
    emitter = LogfileEmitter(path)
    send(emitter, 0, 2)
    emitter.flush()
    path.rename(tmp_path / "moved")
    send(emitter, 2, 4)
    emitter.close()
    assert (numbers(tmp_path / "moved"), numbers(path)) == ([0, 1], [2, 3])


def test_a_line_after_one_that_was_cut_off_stands_alone(tmp_path):
    path = tmp_path / "events.ndjson"
    path.write_bytes(b'{"e":"p')
    emitter = LogfileEmitter(path)
    send(emitter, 0, 1)
    emitter.close()
    torn, whole = path.read_bytes().splitlines()
    assert (torn, whole) == (b'{"e":"p', b'{"e":"pv","eid":"0"}')


@pytest.mark.parametrize("fsync", ["never", "interval", "always"])
def test_it_writes_through_as_it_is_told(tmp_path, monkeypatch, fsync):
    synced = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    emitter = LogfileEmitter(tmp_path / "events.ndjson", fsync=fsync)
    send(emitter, 0, 5)
    assert emitter.flush() is True
    assert bool(synced) == (fsync == "always")
    emitter.close()
    assert bool(synced) == (fsync != "never")


def test_a_full_disk_delays_events_and_leaves_no_half_line(tmp_path):
    """A limit on the file's size stands in for a full disk: the write comes back short."""
    path = tmp_path / "events.ndjson"
    script = f"""
import resource, signal, time
from snowbus.producers.emitters import LogfileEmitter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
emitter = LogfileEmitter({str(path)!r})
emitter.input({{"e": "pv", "eid": "1"}})
emitter.flush()
resource.setrlimit(resource.RLIMIT_FSIZE, (40, resource.RLIM_INFINITY))
for number in (2, 3, 4):
    emitter.input({{"e": "pv", "eid": str(number)}})
while not emitter.counts.retried:
    time.sleep(0.01)
print(open({str(path)!r}).read().count("\\n"))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert emitter.close()
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (0, "1\n"), ended.stderr
    assert numbers(path) == [1, 2, 3, 4]


def test_a_file_that_another_process_holds_is_waited_for(tmp_path):
    path = tmp_path / "events.ndjson"
    path.touch()
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import fcntl; fcntl.flock(f := open({str(path)!r}), 2); print(1, flush=True); input()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout.readline() == b"1\n"
        emitter = LogfileEmitter(path)
        send(emitter, 0, 1)
        soon(lambda: emitter.counts.retried)
        assert emitter.counts.delivered == 0
        holder.communicate(b"\n")
        assert emitter.close() is True
