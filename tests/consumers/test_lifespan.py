"""A lifespan is entered before the first record and left after the last, and the handler gets what it gives."""

import asyncio
import urllib.error
import urllib.request
from contextlib import asynccontextmanager, contextmanager, nullcontext

import pytest
from support.aio import soon
from support.consuming import consume, publish
from support.snowbus import snowbus

from snowbus.bus.errors import ConfigurationError
from snowbus.cli import exit_codes
from snowbus.consumers import consumer
from snowbus.consumers.testing import event, run_consumer

MODULE = """\
import contextlib, os
from snowbus.consumers import consumer

@contextlib.contextmanager
def files():
    with open(os.environ["STOCK_FILE"], "a") as file:
        yield file
        file.write("closed\\n")

@consumer("snowbus.events", group_id="stock", lifespan=files)
def stock(record, file):
    file.write(record.event_id + "\\n")
    file.flush()
    print("handled", record.event_id, flush=True)
"""


def test_an_async_one_spans_every_call():
    told = []

    @asynccontextmanager
    async def resource():
        await asyncio.sleep(1)
        told.append("entered")
        yield "given"
        await asyncio.sleep(1)
        told.append("left")

    @consumer("snowbus.events", group_id="g", concurrency=2, lifespan=resource)
    async def handle(record, given):
        told.append(given)

    assert run_consumer(handle, [event(user_id="a"), event(user_id="b")]).handled == 2
    assert told == ["entered", "given", "given", "left"]


def test_a_plain_one_goes_with_either_kind_of_handler():
    told = []

    @contextmanager
    def resource():
        yield told
        told.append("left")

    @consumer("snowbus.events", group_id="g", batch=10, lifespan=resource)
    def handle(records, given):
        given.append(len(records))

    @consumer("snowbus.events", group_id="g", lifespan=resource)
    async def handle_async(record, given):
        given.append(1)

    for each in (handle, handle_async):
        run_consumer(each, [event()])
    assert told == [1, "left", 1, "left"]


def test_a_test_may_put_another_in_its_place():
    told = []

    @contextmanager
    def network():
        raise AssertionError("there is none in tests")
        yield

    @consumer("snowbus.events", group_id="g", lifespan=network)
    async def handle(record, given):
        given.append(record.topic)

    run_consumer(handle, [event()], lifespan=lambda: nullcontext(told))
    assert told == ["snowbus.events"]


@pytest.mark.parametrize("error", [KeyError("STOCK_FILE"), SystemExit("STOCK_FILE")])
def test_one_that_cannot_begin_ends_the_consumer_before_any_record(error):
    @contextmanager
    def resource():
        raise error
        yield

    @consumer("snowbus.events", group_id="g", lifespan=resource)
    async def handle(record, given):
        raise AssertionError("it was called")

    with pytest.raises(ConfigurationError, match=r"consumer handle cannot begin: .*STOCK_FILE"):
        run_consumer(handle, [event()])


def test_the_command_leaves_it_after_the_last_record(tmp_path, sqlite_url, monkeypatch):
    monkeypatch.setenv("STOCK_FILE", "stock.txt")
    (tmp_path / "stock.py").write_text(MODULE)
    publish(tmp_path, sqlite_url, "one")
    with consume(tmp_path, sqlite_url, "stock") as process:
        process.line("handled one")
        assert process.stop() == exit_codes.OK
    assert (tmp_path / "stock.txt").read_text() == "one\nclosed\n"


def test_the_command_says_in_a_sentence_that_it_cannot_begin(tmp_path, sqlite_url):
    (tmp_path / "stock.py").write_text(MODULE)
    answer = snowbus("consume", "stock", "--log", sqlite_url, "--listen", "127.0.0.1:0", cwd=tmp_path)
    assert answer.returncode == exit_codes.CONFIGURATION
    assert answer.stderr.splitlines()[-1] == "snowbus: consumer stock cannot begin: KeyError: 'STOCK_FILE'"


def test_the_command_is_ready_once_it_is_entered_and_the_log_is_read(tmp_path, sqlite_url):
    slow = """\
import asyncio, contextlib, pathlib
from snowbus.consumers import consumer

@contextlib.asynccontextmanager
async def slow():
    while not pathlib.Path("open").exists():
        await asyncio.sleep(0.01)
    yield

@consumer("snowbus.events", group_id="stock", lifespan=slow)
async def stock(record, _):
    pass
"""
    (tmp_path / "stock.py").write_text(slow)
    with consume(tmp_path, sqlite_url, "stock") as process:
        url = process.address("consume")
        assert get(f"{url}/ready") == (503, "stock has not begun yet\n")
        assert get(f"{url}/health") == (200, "alive\n")
        (tmp_path / "open").touch()
        soon(lambda: get(f"{url}/ready") == (200, "ready\n"))
        assert process.stop() == exit_codes.OK


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
