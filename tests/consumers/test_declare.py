"""`@consumer` refuses what cannot work where it stands, with a hint, and leaves the function what it was."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from snowbus.bus.errors import ConfigurationError
from snowbus.consumers import Dedupe, consumer


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
        ({"ordered": 1}, "True or False"),
        ({"batch": 0}, "from 1 on"),
        ({"retries": -1}, "from 0 on"),
        ({"retries": 1.5}, "whole number"),
        ({"timeout": 0}, "number of seconds"),
        ({"backoff": float("inf")}, "number of seconds"),
        ({"batch_wait": 1}, "batch=500"),
        ({"timeout": 1e-9}, "from 0.001 to 1e+09"),
        ({"timeout": float("nan")}, "number of seconds"),
        ({"timeout": 10**400}, "number of seconds"),
        ({"backoff": 100}, "backoff=100 is more than backoff_max=60.0; say backoff_max=100"),
        ({"backoff_max": 0.5}, "backoff=1.0 is more than backoff_max=0.5"),
        ({"dead_letter": "no topic"}, "name of a topic"),
        ({"dead_letter": ".."}, "name of a topic"),
        ({"dead_letter": "snowbus.retry"}, "not for dead letters; give a topic of its own"),
        ({"dead_letter": "snowbus.events"}, "dead_letter=False, or a topic of its own"),
        ({"auto_offset_reset": "lastest"}, "'earliest' or 'latest'"),
        ({"schema": "com.acme/add"}, "Iglu URI"),
        ({"valid": "perhaps"}, "neither true nor false"),
        ({"app_id": 7}, "a filter is a text"),
        ({"app_id": []}, "lets nothing through; leave it out"),
        ({"user_id": ()}, "lets nothing through; leave it out"),
        ({"dedupe": "file.db"}, "Dedupe(path)"),
        ({"group_id": " "}, "group_id"),
        ({"group_id": ""}, "group_id"),
        ({"group_id": "g" * 256}, "has 256 characters; 255 is the most"),
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


@pytest.mark.parametrize(
    ("topics", "hint"),
    [
        ((), "needs a topic"),
        (("no topic",), "cannot be the name of a topic"),
        ((".",), "cannot be the name of a topic"),
        (("..",), "cannot be the name of a topic"),
        ((["a", "b"],), "several are several arguments"),
        (("orders", "views", "orders"), "'orders' is there twice"),
        (("snowbus.events", "snowbus.retry"), "name the topics they are of"),
    ],
)
def test_topics_that_cannot_be_are_refused_with_a_hint(topics, hint):
    with pytest.raises(ConfigurationError) as refused:
        consumer(*topics, group_id="group")
    assert hint in str(refused.value)


@pytest.mark.parametrize(
    ("topics", "options"),
    [
        (["snowbus.dead"], {}),
        (["snowbus.events", "snowbus.dead"], {"dead_letter": True}),
        (["orders"], {"dead_letter": "orders"}),
    ],
)
def test_a_consumer_whose_dead_letters_would_come_back_to_it_is_refused(topics, options):
    with pytest.raises(ConfigurationError, match="each would make the next; give dead_letter=False, or a topic"):
        declare(ignore, *topics, **options)


def test_dead_letters_can_be_consumed_when_theirs_go_elsewhere_or_nowhere():
    assert declare(ignore, "snowbus.dead", dead_letter=False).dead_letter == ""
    assert declare(ignore, "snowbus.dead", dead_letter="alerts.dead").dead_letter == "alerts.dead"


@pytest.mark.parametrize("hours", ["x", None, True, 0, float("nan")])
def test_dedupe_needs_a_time(hours):
    with pytest.raises(ConfigurationError, match="number of hours above 0"):
        Dedupe("seen.db", hours=hours)


@pytest.mark.parametrize("path", [5, "", None, Path()])
def test_dedupe_needs_a_path(path):
    with pytest.raises(ConfigurationError, match="path of a file"):
        Dedupe(path)


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
