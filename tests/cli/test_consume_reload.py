"""`snowbus consume --reload`: what has changed on disk is what runs."""

import signal

from support.aio import soon
from support.consuming import consume, is_running, publish, workers, write_consumer

from snowbus.cli import exit_codes


def test_a_change_is_what_runs_after_the_handler_has_finished(tmp_path, sqlite_url):
    write_consumer(tmp_path, 'print("begun", flush=True)\nawait asyncio.sleep(0.3)\nprint("old", flush=True)')
    publish(tmp_path, sqlite_url, "one")
    with consume(tmp_path, sqlite_url, "stock", "--reload") as process:
        process.line("begun")
        write_consumer(tmp_path, 'print("new", record.event_id, flush=True)')
        process.line("old")
        publish(tmp_path, sqlite_url, "two")
        process.line("new two")
        assert "new one" not in process.output
        assert process.stop() == exit_codes.OK
        assert not any(map(is_running, workers(process)))


def test_a_module_that_cannot_be_imported_is_waited_for(tmp_path, sqlite_url):
    write_consumer(tmp_path, 'print("old", record.event_id, flush=True)')
    with consume(tmp_path, sqlite_url, "stock", "--reload") as process:
        process.address("consume")
        (tmp_path / "stock.py").write_text("def stock(:\n")
        soon(lambda: any("stock.py, line 1: " in line for line in process.diagnostics))
        write_consumer(tmp_path, 'print("mended", record.event_id, flush=True)')
        publish(tmp_path, sqlite_url, "one")
        process.line("mended one")
        assert process.stop() == exit_codes.OK


def test_it_stops_while_it_waits_for_a_change(tmp_path, sqlite_url):
    with consume(tmp_path, sqlite_url, "stock", "--reload") as process:
        soon(lambda: any("the next change of a file starts it again" in line for line in process.diagnostics))
        assert process.stop() == exit_codes.OK


def test_no_worker_outlives_a_parent_that_was_killed(tmp_path, sqlite_url):
    write_consumer(tmp_path, "pass")
    with consume(tmp_path, sqlite_url, "stock", "--reload") as process:
        process.address("consume")
        (pid,) = workers(process)
        process.send(signal.SIGKILL)
        soon(lambda: not is_running(pid))
