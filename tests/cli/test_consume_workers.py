"""`snowbus consume --workers`: several processes, kept running, and ended together."""

import os
import signal
import subprocess
import sys
import time

import pytest
from support.aio import soon
from support.consuming import HEAD, consume, is_running, publish, workers, write_consumer
from support.snowbus import Process

from snowbus.bus.errors import ConfigurationError
from snowbus.cli import exit_codes
from snowbus.cli.worker_process import listen_addresses

# In one write each, as the workers share their parent's stdout.
HANDLED = 'os.write(1, f"handled {record.event_id} by {os.getpid()}\\n".encode())'

STUCK_SOON = ["--workers", "1", "--worker-stuck-timeout", "1", "--session-timeout", "2", "--append-timeout", "0.5"]


def ready(process, count):
    """Wait until so many workers have said where they listen; the ids of all that were started."""
    soon(lambda: sum("consume listens on" in line for line in process.output) == count)
    return workers(process)


def write_lifespan(folder, body):
    """As `write_consumer`, with a lifespan that does this first."""
    write_consumer(folder, HANDLED, options=", lifespan=lifespan")
    lifespan = f"import contextlib\n@contextlib.contextmanager\ndef lifespan():\n    {body}\n    yield\n\n"
    text = (folder / "stock.py").read_text()
    text = text.replace("@consumer", lifespan + "@consumer").replace("(record)", "(record, _)")
    (folder / "stock.py").write_text(text)


def handled(process):
    return sorted(line.split()[1] for line in process.output if line.startswith("handled"))


def test_workers_share_the_work_and_drain_together(tmp_path, sqlite_url):
    write_consumer(tmp_path, "await asyncio.sleep(0.02)\n" + HANDLED)
    names = [f"{number:02}" for number in range(40)]
    with consume(tmp_path, sqlite_url, "stock", "--workers", "2") as process:
        pids = ready(process, 2)
        assert len({*pids, process.pid}) == 3
        publish(tmp_path, sqlite_url, *names)
        soon(lambda: len(handled(process)) >= 20)
        assert process.stop() == exit_codes.OK
        assert not any(map(is_running, pids))
        first = handled(process)
    with consume(tmp_path, sqlite_url, "stock", "--workers", "1") as process:
        soon(lambda: len(first + handled(process)) >= 40)
        assert process.stop() == exit_codes.OK
        assert sorted(first + handled(process)) == names


def test_a_worker_that_was_killed_comes_back(tmp_path, sqlite_url):
    write_consumer(tmp_path, HANDLED)
    with consume(tmp_path, sqlite_url, "stock", "--workers", "2", "--session-timeout", "2") as process:
        pids = ready(process, 2)
        os.kill(pids[0], signal.SIGKILL)
        new = ready(process, 3)[-1]
        assert new not in pids
        assert any('"signal": 9' in line and str(pids[0]) in line for line in process.diagnostics)
        names = [f"{number:02}" for number in range(20)]
        publish(tmp_path, sqlite_url, *names)
        soon(lambda: handled(process) == names)
        assert process.stop() == exit_codes.OK
        assert not any(map(is_running, [*pids, new]))


def test_a_worker_that_was_asked_to_stop_comes_back(tmp_path, sqlite_url):
    write_consumer(tmp_path, HANDLED)
    with consume(tmp_path, sqlite_url, "stock", "--workers", "1") as process:
        (pid,) = ready(process, 1)
        os.kill(pid, signal.SIGTERM)
        ready(process, 2)
        assert any('"exit_code": 0' in line and str(pid) in line for line in process.diagnostics)
        assert process.stop() == exit_codes.OK


def test_no_worker_outlives_a_parent_that_was_killed_and_each_drains(tmp_path, sqlite_url):
    write_consumer(tmp_path, 'print("begun", flush=True)\nawait asyncio.sleep(0.5)\nprint("finished", flush=True)')
    publish(tmp_path, sqlite_url, "one")
    with consume(tmp_path, sqlite_url, "stock", "--workers", "2") as process:
        pids = ready(process, 2)
        process.line("begun")
        process.send(signal.SIGKILL)
        soon(lambda: not any(map(is_running, pids)))
        process.line("finished")


def test_a_second_signal_kills(tmp_path, sqlite_url):
    write_consumer(tmp_path, 'print("begun", flush=True)\nawait asyncio.sleep(100)')
    publish(tmp_path, sqlite_url, "one")
    with consume(tmp_path, sqlite_url, "stock", "--workers", "2") as process:
        pids = ready(process, 2)
        process.line("begun")
        process.signal_twice()
        assert process.wait() == exit_codes.INTERRUPTED
        assert not any(map(is_running, pids))


def test_a_worker_whose_loop_is_blocked_is_killed_and_comes_back(tmp_path, sqlite_url):
    block = 'if not os.path.exists("blocked"):\n    open("blocked", "w").close()\n    time.sleep(100)\n'
    write_consumer(tmp_path, block + HANDLED)
    with consume(tmp_path, sqlite_url, "stock", *STUCK_SOON) as process:
        ready(process, 1)
        publish(tmp_path, sqlite_url, "one")
        process.line("handled one")
        assert any("worker is stuck; killing it" in line for line in process.diagnostics)
        assert process.stop() == exit_codes.OK


def test_a_worker_that_is_blocked_before_it_listens_is_killed_and_comes_back(tmp_path, sqlite_url):
    block = 'if not os.path.exists("blocked"):\n    open("blocked", "w").close()\n    time.sleep(100)\n'
    write_consumer(tmp_path, block + HANDLED)
    publish(tmp_path, sqlite_url, "one")
    with consume(tmp_path, sqlite_url, "stock", *STUCK_SOON) as process:
        process.line("handled one")
        assert any("worker is stuck; killing it" in line for line in process.diagnostics)
        assert process.stop() == exit_codes.OK


def test_a_worker_that_says_it_is_stuck_is_killed_and_comes_back(tmp_path, sqlite_url):
    """A plain function cannot be stopped when its time is over; /health then says so."""
    stuck = 'if not os.path.exists("stuck"):\n    open("stuck", "w").close()\n    time.sleep(100)\n'
    write_consumer(tmp_path, stuck + HANDLED, options=", timeout=0.2")
    text = (tmp_path / "stock.py").read_text()
    (tmp_path / "stock.py").write_text(text.replace("async def", "def"))
    publish(tmp_path, sqlite_url, "one")
    with consume(tmp_path, sqlite_url, "stock", *STUCK_SOON) as process:
        process.line("handled one")
        assert any("worker is stuck; killing it" in line for line in process.diagnostics)
        assert process.stop() == exit_codes.OK


def test_what_does_not_drain_in_time_is_killed_and_makes_it_fail(tmp_path, sqlite_url):
    write_consumer(tmp_path, 'print("begun", flush=True)\ntime.sleep(100)')
    publish(tmp_path, sqlite_url, "one")
    with consume(tmp_path, sqlite_url, "stock", "--workers", "1", "--drain-timeout", "0.2") as process:
        process.line("begun")
        assert process.stop() == exit_codes.FAILED


def test_a_worker_that_is_stuck_in_an_import_has_nothing_to_drain(tmp_path, sqlite_url):
    (tmp_path / "stock.py").write_text(HEAD + "time.sleep(100)")
    with consume(tmp_path, sqlite_url, "stock", "--workers", "1") as process:
        process.line("worker")
        assert process.stop(timeout=10) == exit_codes.OK


def test_what_cannot_work_is_said_once_and_ends_it(tmp_path, sqlite_url):
    write_consumer(tmp_path, HANDLED)
    with consume(tmp_path, sqlite_url, "stock:stok", "--workers", "3") as process:
        assert process.wait() == exit_codes.CONFIGURATION
        assert sum("there is no stok in module stock" in line for line in process.diagnostics) == 1
        assert len(workers(process)) == 1


def test_what_cannot_begin_is_said_once_and_ends_it(tmp_path, sqlite_url):
    write_lifespan(tmp_path, 'raise RuntimeError("no settings")')
    with consume(tmp_path, sqlite_url, "stock", "--workers", "3") as process:
        assert process.wait() == exit_codes.CONFIGURATION
        assert sum("cannot begin: RuntimeError: no settings" in line for line in process.diagnostics) == 1
        assert len(workers(process)) == 1


def test_a_topic_that_is_not_there_ends_it(tmp_path, sqlite_url):
    write_consumer(tmp_path, HANDLED)
    text = (tmp_path / "stock.py").read_text()
    (tmp_path / "stock.py").write_text(text.replace("snowbus.events", "no.such.topic"))
    with consume(tmp_path, sqlite_url, "stock", "--workers", "2") as process:
        assert process.wait() == exit_codes.CONFIGURATION
        assert any("the log has no topic 'no.such.topic'" in line for line in process.diagnostics)
        assert len(workers(process)) == 1


def test_a_worker_that_has_run_and_cannot_begin_again_is_started_until_it_can(tmp_path, sqlite_url):
    write_lifespan(tmp_path, 'assert not os.path.exists("broken")')
    publish(tmp_path, sqlite_url, "one")
    with consume(tmp_path, sqlite_url, "stock", "--workers", "1", "--session-timeout", "2") as process:
        process.line("handled one")
        (tmp_path / "broken").touch()
        os.kill(workers(process)[0], signal.SIGKILL)
        soon(lambda: sum('"exit_code": 3' in line for line in process.diagnostics) == 2)
        (tmp_path / "broken").unlink()
        publish(tmp_path, sqlite_url, "two")
        process.line("handled two")
        assert process.stop() == exit_codes.OK


def test_a_log_that_is_not_there_is_waited_for(tmp_path):
    write_consumer(tmp_path, HANDLED)
    arguments = ["stock", "--workers", "1", "--log", "kafka://127.0.0.1:1", "--listen", "127.0.0.1:0"]
    with Process("consume", *arguments, "--append-timeout", "0.2", "--worker-backoff", "0.01", cwd=tmp_path) as process:
        soon(lambda: any("the log is away" in line for line in process.diagnostics))
        assert process.stop() == exit_codes.OK
        assert len(workers(process)) == 1


def test_each_worker_takes_the_next_port():
    assert listen_addresses("127.0.0.1:8083", 3) == ["127.0.0.1:8083", "127.0.0.1:8084", "127.0.0.1:8085"]
    assert listen_addresses("[::1]:8083", 2) == ["[::1]:8083", "[::1]:8084"]
    assert listen_addresses("127.0.0.1:0", 2) == ["127.0.0.1:0", "127.0.0.1:0"]
    with pytest.raises(ConfigurationError, match="2 workers need 2 ports"):
        listen_addresses("127.0.0.1:65535", 2)


def test_a_blocked_worker_whose_parent_is_gone_ends_all_the_same():
    script = """
import asyncio, socket, sys, time
from snowbus.cli.link import Link
async def main():
    parent, ours = socket.socketpair()
    Link(ours.detach(), listen="").on_end(lambda: None, deadline=0.1)
    parent.close()
    time.sleep(100)
asyncio.run(main())
"""
    started = time.monotonic()
    answer = subprocess.run([sys.executable, "-c", script], timeout=30, check=False)
    assert answer.returncode == exit_codes.FAILED
    assert time.monotonic() - started < 20
