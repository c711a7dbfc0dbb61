"""`@consumer` refuses what cannot work where it stands, with a hint, and leaves the function what it was."""

from contextlib import nullcontext

import pytest

from snowbus.bus.errors import ConfigurationError
from snowbus.consumers import consumer


def ignore(record):
    pass


def yielding():
    yield


async def yielding_async():
    yield


def declare(function=ignore, *topics, group_id="group", **options):
    return consumer(*(topics or ("snowbus.events",)), group_id=group_id, **options)(function)


def test_the_function_stays_callable():
    @consumer("snowbus.events", group_id="group")
    def double(number):
        """Twice as much."""
        return 2 * number

    assert double(21) == 42
    assert (double.__name__, double.__doc__, double.name) == ("double", "Twice as much.", "double")


def test_a_coroutine_function_is_known_as_one():
    async def handle(record):
        pass

    assert declare(handle).is_async
    assert not declare().is_async


def test_filters_are_those_of_the_gateway_one_value_or_several():
    declared = declare(app_id=["shop", "till"], schema="iglu:com.acme/add/jsonschema/1-*-*", valid=True)
    assert dict(declared.filter.conditions) == {
        "app_id": ("shop", "till"),
        "schema": ("iglu:com.acme/add/jsonschema/1-*-*",),
        "valid": ("true",),
    }


def test_without_dead_letters_there_is_no_topic_for_them():
    assert declare(dead_letter=False).dead_letter == ""
    assert declare(dead_letter="my.dead").dead_letter == "my.dead"


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"concurency": 3}, "did you mean concurrency"),
        ({"wholly_unknown": 3}, "options are name, batch"),
        ({"concurrency": 0}, "from 1 on"),
        ({"concurrency": "adaptive"}, "or Adaptive()"),
        ({"batch_bytes": 1_000}, "say how many records"),
        ({"batch": 2, "batch_bytes": 0}, "from 1 on"),
        ({"concurrency": True}, "from 1 on"),
        ({"batch": 0}, "from 1 on"),
        ({"retries": -1}, "from 0 on"),
        ({"retries": 1.5}, "whole number"),
        ({"timeout": 0}, "number of seconds"),
        ({"backoff": float("inf")}, "number of seconds"),
        ({"batch_wait": 1}, "batch=500"),
        ({"dead_letter": "no topic"}, "name of a topic"),
        ({"auto_offset_reset": "lastest"}, "'earliest' or 'latest'"),
        ({"schema": "com.acme/add"}, "Iglu URI"),
        ({"valid": "perhaps"}, "neither true nor false"),
        ({"app_id": 7}, "a filter is a text"),
        ({"dedupe": "file.db"}, "Dedupe(path)"),
        ({"group_id": " "}, "group_id"),
        ({"batch": 6_000}, "say max_in_flight=6000"),
        ({"batch": 50, "buffer": 10}, "say buffer=50"),
        ({"lifespan": 7}, "gives a context manager"),
        ({"lifespan": yielding}, "decorate it with @contextlib.contextmanager"),
        ({"lifespan": yielding_async}, "decorate it with @contextlib.asynccontextmanager"),
    ],
)
def test_an_option_that_cannot_work_is_refused_with_a_hint(options, hint):
    with pytest.raises(ConfigurationError) as refused:
        declare(**options)
    assert hint in str(refused.value)


@pytest.mark.parametrize("topics", [(), ("no topic",), (["a", "b"],)])
def test_topics_that_cannot_be_are_refused(topics):
    with pytest.raises(ConfigurationError):
        consumer(*topics, group_id="group")


def test_a_handler_takes_one_argument():
    def handle(record, other):
        pass

    with pytest.raises(ConfigurationError, match="one argument"):
        declare(handle)


def test_a_handler_with_a_lifespan_takes_two():
    with pytest.raises(ConfigurationError, match="two arguments"):
        declare(lifespan=nullcontext)


def test_a_handler_does_not_yield():
    def handle(record):
        yield

    with pytest.raises(ConfigurationError, match="yield"):
        declare(handle)


def test_a_decorator_without_arguments_is_refused():
    with pytest.raises((ConfigurationError, TypeError)):
        consumer(ignore)
