"""Whatever a handler is made of, what it does is done when its call is over."""

import asyncio
import functools
import threading

import pytest
from support.aio import run

from snowbus.bus import event as bus
from snowbus.consumers import Record, consumer
from snowbus.consumers.calls import Calls
from snowbus.consumers.testing import event, run_consumer

RECORD = Record(bus.Record("snowbus.events", 0, 0, 0, None, b"", ()))
handled = []


@pytest.fixture(autouse=True)
def nothing_handled():
    handled.clear()


async def handle(record):
    await asyncio.sleep(0)
    handled.append(record)


async def handle_of(shop, record):
    handled.append(record)


class Handler:
    async def __call__(self, record):
        handled.append(record)


def decorated(function):
    @functools.wraps(function)
    def call(*arguments):
        return function(*arguments)

    return call


async def forgets_to_await(record):
    return handle(record)


async def begins_a_task(record):
    return asyncio.create_task(handle(record))


KINDS = {
    "a decorated one": decorated(handle),
    "one decorated twice": decorated(decorated(handle)),
    "a partial": functools.partial(handle_of, "shop"),
    "a partial of an object": functools.partial(Handler()),
    "a partial of a decorated one": functools.partial(decorated(handle_of), "shop"),
    "a static method": staticmethod(handle),
    "an object": Handler(),
    "a lambda": lambda record: handle_of("shop", record),
    "one that returns a coroutine": forgets_to_await,
    "one that returns a task": begins_a_task,
}


def declared(function, **options):
    return consumer("snowbus.events", group_id="g", **options)(function)


def call(declaration, argument):
    async def main():
        calls = Calls(declaration, None)
        await calls.open()
        try:
            await calls.call(argument)
        finally:
            await calls.close()

    run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_what_gives_a_coroutine_is_awaited(kind):
    call(declared(KINDS[kind]), RECORD)
    assert handled == [RECORD]


@pytest.mark.parametrize("kind", KINDS)
def test_what_gives_a_coroutine_is_awaited_in_the_test_kit_too(kind):
    result = run_consumer(declared(KINDS[kind], name="handle"), [event()])
    assert (result.handled, len(handled)) == (1, 1)


@pytest.mark.parametrize("kind", ["a partial of an object", "a static method", "an object", "a partial"])
def test_what_is_surely_async_needs_no_thread(kind):
    assert declared(KINDS[kind]).is_async


def test_a_plain_decorator_may_block_and_the_handler_in_it_runs_in_the_event_loop():
    threads = []

    async def inner(record):
        threads.append(threading.current_thread())

    def outer(record):
        threads.append(threading.current_thread())
        return inner(record)

    call(declared(outer), RECORD)
    assert (threads[0] is threading.main_thread(), threads[1] is threading.main_thread()) == (False, True)


def test_what_a_decorated_handler_raises_is_raised():
    @decorated
    async def fail(record):
        raise KeyError("sku")

    with pytest.raises(KeyError, match="sku"):
        call(declared(fail), RECORD)


def test_a_decorated_handler_has_its_timeout():
    @decorated
    async def hang(record):
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError, match=r"the handler took longer than 0\.01 s"):
        call(declared(hang, timeout=0.01), RECORD)


def yields(record):
    handled.append(record)
    yield


async def yields_async(record):
    handled.append(record)
    yield


@pytest.mark.parametrize("function", [yields, yields_async])
def test_a_handler_that_yields_behind_a_decorator_fails(function):
    with pytest.raises(TypeError, match="a handler cannot yield"):
        call(declared(decorated(function)), RECORD)
