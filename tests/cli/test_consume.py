"""`snowbus consume` in one process."""

import pytest
from support.consuming import consume, publish, write_consumer
from support.snowbus import snowbus

from snowbus.cli import exit_codes

HANDLED = 'print("handled", record.event_id, flush=True)'


@pytest.mark.parametrize("target", ["stock:stock", "stock"])
def test_a_consumer_handles_what_is_and_what_comes(tmp_path, sqlite_url, target):
    write_consumer(tmp_path, HANDLED)
    publish(tmp_path, sqlite_url, "before")
    with consume(tmp_path, sqlite_url, target) as process:
        assert process.address("consume").startswith("http://127.0.0.1:")
        process.line("handled before")
        publish(tmp_path, sqlite_url, "after")
        process.line("handled after")
        assert process.stop() == exit_codes.OK


def test_what_was_handled_is_not_handled_again(tmp_path, sqlite_url):
    write_consumer(tmp_path, HANDLED)
    publish(tmp_path, sqlite_url, "one")
    for expected, event_id in (("one", "two"), ("two", "three")):
        with consume(tmp_path, sqlite_url, "stock") as process:
            process.line("handled " + expected)
            assert process.stop() == exit_codes.OK
            assert [line for line in process.output if line.startswith("handled")] == ["handled " + expected]
        publish(tmp_path, sqlite_url, event_id)


def test_several_consumers_each_get_every_event(tmp_path, sqlite_url):
    write_consumer(tmp_path, 'print("stock", record.event_id, flush=True)')
    write_consumer(tmp_path, 'print("prices", record.event_id, flush=True)', name="prices")
    publish(tmp_path, sqlite_url, "one")
    with consume(tmp_path, sqlite_url, "stock:stock", "prices:prices") as process:
        process.line("stock one")
        process.line("prices one")
        assert process.stop() == exit_codes.OK


def test_a_stop_lets_the_handler_finish(tmp_path, sqlite_url):
    write_consumer(tmp_path, 'print("begun", flush=True)\nawait asyncio.sleep(0.5)\nprint("finished", flush=True)')
    publish(tmp_path, sqlite_url, "one")
    with consume(tmp_path, sqlite_url, "stock") as process:
        process.line("begun")
        assert "finished" not in process.output
        assert process.stop() == exit_codes.OK
        assert "finished" in process.output


def test_a_second_signal_does_not(tmp_path, sqlite_url):
    write_consumer(tmp_path, 'print("begun", flush=True)\nawait asyncio.sleep(100)')
    publish(tmp_path, sqlite_url, "one")
    with consume(tmp_path, sqlite_url, "stock") as process:
        process.line("begun")
        process.signal_twice()
        assert process.wait() == exit_codes.INTERRUPTED


def test_what_cannot_be_found_is_a_sentence_and_an_exit_code(tmp_path, sqlite_url):
    write_consumer(tmp_path, HANDLED)
    answer = snowbus("consume", "stock:stok", "--log", sqlite_url, cwd=tmp_path)
    assert answer.returncode == exit_codes.CONFIGURATION
    assert answer.stderr == (
        "snowbus: there is no stok in module stock (stock.py); did you mean stock? Consumers in it: stock\n"
    )
    assert not (tmp_path / "log.db").exists()


def test_an_address_that_is_taken_is_a_sentence_and_an_exit_code(tmp_path, sqlite_url):
    write_consumer(tmp_path, HANDLED)
    with consume(tmp_path, sqlite_url, "stock") as process:
        taken = process.address("consume").removeprefix("http://")
        answer = snowbus("consume", "stock", "--log", sqlite_url, "--listen", taken, cwd=tmp_path)
    assert answer.returncode == exit_codes.CONFIGURATION
    assert f"snowbus: cannot listen on {taken}" in answer.stderr


@pytest.mark.parametrize("arguments", [[], ["stock", "--workers", "0"], ["stock", "--workers", "2", "--reload"]])
def test_a_command_line_that_cannot_work_is_a_usage_error(tmp_path, arguments):
    assert snowbus("consume", *arguments, cwd=tmp_path).returncode == exit_codes.USAGE


def test_a_record_that_is_tried_again_at_once_is_handled(tmp_path, sqlite_url):
    write_consumer(tmp_path, f"if record.attempt < 3:\n    raise ValueError\n{HANDLED}", options=", backoff=0")
    publish(tmp_path, sqlite_url, "one")
    with consume(tmp_path, sqlite_url, "stock") as process:
        process.line("handled one")
        assert process.stop() == exit_codes.OK
