"""The test kit runs the real runner in virtual time, and tells what became of each event."""

import asyncio
import contextlib
import gc
import itertools
import threading
import time

import pytest

from snowbus.consumers import DeadLetter, Dedupe, Hold, Retry, Skip, consumer
from snowbus.consumers.testing import event, run_consumer

ADD = "iglu:com.acme/add_to_cart/jsonschema/1-0-0"
USER = "iglu:com.acme/user/jsonschema/1-0-0"


def test_every_event_is_handled_and_committed():
    seen = []

    @consumer("snowbus.events", group_id="g")
    async def handle(record):
        seen.append((record.data["sku"], record.entity(USER), record.schema))

    result = run_consumer(handle, [event(schema=ADD, data={"sku": "a"}, entities=[(USER, {"age": 5})], user_id="u")])
    assert seen == [("a", {"age": 5}, ADD)]
    assert (result.handled, result.dead_letters, result.lag, sum(result.committed.values())) == (1, [], 0, 1)


def test_waits_pass_at_once_and_hold_back_their_own_key_only():
    order = []

    @consumer("snowbus.events", group_id="g")
    async def handle(record):
        order.append(record.event["page_title"])
        if record.event["page_title"] == "first" and record.attempt == 1:
            raise Retry("later", delay=3600)

    events = [
        event(page_title=title, user_id=user) for title, user in (("first", "a"), ("second", "a"), ("other", "b"))
    ]
    result = run_consumer(handle, events)
    assert [title for title in order if title != "other"] == ["first", "first", "second"]
    assert order.index("other") < 2
    assert (result.retries, result.handled) == (1, 3)
    assert 3600 <= result.elapsed < 3700


def test_what_fails_is_retried_and_then_a_dead_letter():
    @consumer("snowbus.events", group_id="g", retries=2)
    def handle(record):
        raise KeyError("sku")

    result = run_consumer(handle, [event(user_id="u")])
    (dead,) = result.dead_letters
    assert (dead.attempts, dead.exception, dead.record.event["user_id"]) == (3, "builtins.KeyError", "u")
    assert (result.handled, result.retries, result.lag) == (0, 2, 0)


def test_a_hold_keeps_everything_until_a_probe_is_answered():
    """Each wait ends in one call, and order is kept; what is held is neither a failure nor a dead letter."""
    calls = []

    @consumer("snowbus.events", group_id="g", concurrency=4, retries=0)
    async def handle(record):
        calls.append((record.event["user_id"], int(record.event["page_title"])))
        if (number := len(calls)) <= 6:
            await asyncio.sleep(1)
            raise Hold("the shop is closed", delay=60 + number)

    result = run_consumer(handle, [event(page_title=str(n), user_id=f"u{n % 5}") for n in range(20)])
    others = calls[6:]  # four that had begun before anybody knew, and two probes
    assert sorted(number for _, number in others) == list(range(20))
    for user in {user for user, _ in others}:
        numbers = [number for each, number in others if each == user]
        assert numbers == sorted(numbers)
    assert (result.handled, result.held, result.retries, result.dead_letters) == (20, 6, 0, [])
    assert 64 + 65 + 66 <= result.elapsed < 210


def test_a_batch_that_is_held_comes_again_whole():
    sizes = []

    @consumer("snowbus.events", group_id="g", batch=10)
    async def handle(records):
        sizes.append(len(records))
        if len(sizes) == 1:
            raise Hold("away")

    result = run_consumer(handle, [event(user_id=f"u{n}") for n in range(10)])
    assert sizes == [10, 10]
    assert (result.handled, result.held) == (10, 10)


def test_intents_and_filters_are_counted():
    @consumer("snowbus.events", group_id="g", app_id=["shop", "till"])
    async def handle(record):
        raise Skip if record.event["app_id"] == "shop" else DeadLetter("never")

    result = run_consumer(handle, [event(app_id=app_id) for app_id in ("shop", "till", "other")])
    assert (result.skipped, result.filtered, [dead.reason for dead in result.dead_letters]) == (1, 1, ["never"])


def test_one_poison_in_a_batch_dies_alone():
    handled = []

    @consumer("snowbus.events", group_id="g", batch=50, retries=1)
    async def handle(records):
        if any(record.event["page_title"] == "13" for record in records):
            raise ValueError("unlucky")
        handled.extend(record.event["page_title"] for record in records)

    result = run_consumer(handle, [event(page_title=str(number), user_id=f"u{number % 7}") for number in range(100)])
    assert len(result.dead_letters) == 1
    assert sorted(map(int, handled)) == [number for number in range(100) if number != 13]


def test_calls_of_different_keys_overlap_and_those_of_one_do_not():
    busy, most = set(), 0

    @consumer("snowbus.events", group_id="g", concurrency=10)
    async def handle(record):
        nonlocal most
        assert record.key not in busy
        busy.add(record.key)
        most = max(most, len(busy))
        await asyncio.sleep(1)
        busy.discard(record.key)

    result = run_consumer(handle, [event(user_id=f"u{number % 5}") for number in range(20)])
    assert (result.handled, most) == (20, 5)
    assert result.elapsed < 6


def test_what_is_retried_for_ever_is_the_lag():
    @consumer("snowbus.events", group_id="g")
    async def handle(record):
        raise Retry(delay=60)

    assert run_consumer(handle, [event()], max_seconds=600).lag == 1


def test_a_retry_without_a_delay_waits_longer_each_time_and_is_no_failure():
    @consumer("snowbus.events", group_id="g", retries=2, backoff_max=64)
    async def handle(record):
        if record.attempt <= 40:
            raise Retry

    result = run_consumer(handle, [event()])
    assert (result.handled, result.retries, result.dead_letters) == (1, 40, [])
    assert result.elapsed > 120  # 40 waits of a second at most, were they not to grow; with 64 at most, some 1,100


def test_a_call_that_takes_too_long_is_a_failure():
    @consumer("snowbus.events", group_id="g", timeout=10, retries=0)
    async def handle(record):
        await asyncio.sleep(1000)

    (dead,) = run_consumer(handle, [event()]).dead_letters
    assert "longer than 10 s" in dead.reason


def test_what_a_handler_raises_of_its_own_kind_is_only_a_failure():
    @consumer("snowbus.events", group_id="g", retries=0)
    async def handle(record):
        raise {"exit": SystemExit, "cancel": asyncio.CancelledError, "end": GeneratorExit}[record.event["page_title"]]

    result = run_consumer(handle, [event(page_title=title) for title in ("exit", "cancel", "end")])
    assert sorted(dead.exception for dead in result.dead_letters) == [
        "asyncio.exceptions.CancelledError",
        "builtins.GeneratorExit",
        "builtins.SystemExit",
    ]


class UntellableError(Exception):
    """Cannot say what it is."""

    def __str__(self):
        raise RuntimeError


def test_an_exception_that_cannot_be_described_is_a_failure_as_any_other():
    @consumer("snowbus.events", group_id="g", retries=1)
    async def handle(record):
        raise UntellableError

    (dead,) = run_consumer(handle, [event()]).dead_letters
    assert dead.reason == "failed in 2 attempts: UntellableError: it cannot be described"


@pytest.mark.parametrize("error", [ValueError("x" * 1_100_000), DeadLetter("x" * 1_100_000)], ids=["error", "letter"])
def test_a_reason_as_long_as_a_record_makes_a_dead_letter_all_the_same(error):
    @consumer("snowbus.events", group_id="g", retries=0)
    async def handle(record):
        raise error

    (dead,) = run_consumer(handle, [event()]).dead_letters
    assert 900 < len(dead.reason) <= 1_000


@pytest.mark.parametrize("delay", [-1, float("nan"), float("inf"), 10**400])
def test_a_delay_that_is_none_is_a_failure(delay):
    @consumer("snowbus.events", group_id="g", retries=0)
    async def handle(record):
        raise Retry("later", delay=delay)

    (dead,) = run_consumer(handle, [event()]).dead_letters
    assert "a delay is a number of seconds from 0" in dead.reason


async def swallows():
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(60)


async def converts():
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        raise ConnectionError from None


async def cancels_itself():
    asyncio.current_task().cancel()


async def cancels_itself_and_waits():
    asyncio.current_task().cancel()
    await asyncio.sleep(1)


@pytest.mark.parametrize("first", [swallows, converts, cancels_itself, cancels_itself_and_waits])
def test_what_a_handler_makes_of_a_cancellation_does_not_end_its_worker(first):
    """Nor does the next timeout, or cancellation, of that worker."""
    calls = []

    @consumer("snowbus.events", group_id="g", retries=0, timeout=10, concurrency=1)
    async def handle(record):
        calls.append(record.event_id)
        if len(calls) <= 2:
            await first()
        elif len(calls) == 3:
            await asyncio.sleep(60)

    result = run_consumer(handle, [event(user_id="ann") for _ in range(5)])
    assert (len(calls), result.lag) == (5, 0)
    assert result.handled + len(result.dead_letters) == 5
    assert any("longer than 10 s" in dead.reason for dead in result.dead_letters)


@pytest.mark.parametrize("is_async", [True, False])
def test_a_run_that_is_cut_off_leaves_no_task_behind(is_async, caplog):
    def handle(record):
        raise KeyboardInterrupt

    async def handle_async(record):
        raise KeyboardInterrupt

    declared = consumer("snowbus.events", group_id="g", concurrency=3, name="handle")
    with pytest.raises(KeyboardInterrupt):
        run_consumer(declared(handle_async if is_async else handle), [event(user_id=user) for user in "abcdef"])
    gc.collect()  # an orphan is said when it is collected
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []


@pytest.mark.parametrize("number", [52, 117, 206, 279])
def test_time_passes_whatever_the_waits_add_up_to(number):
    """Sums of waits are not exact: where one ends a little early, virtual time must go on all the same."""

    @consumer("snowbus.events", group_id="g")
    async def handle(record):
        if record.attempt <= 2:
            raise Retry("later", delay=31.7 + number * 0.37)

    assert run_consumer(handle, [event(user_id="u")]).handled == 1


@pytest.mark.parametrize("seconds", [30, 60, 90, 3600])
def test_a_retry_is_not_late_when_its_time_comes_a_little_early(seconds):
    """An event loop ends a wait early, by the resolution of its clock: what is not due yet must be waited for again."""
    called = []

    @consumer("snowbus.events", group_id="g")
    async def handle(record):
        called.append(asyncio.get_running_loop().time())
        if record.attempt == 1:
            raise Retry("later", delay=seconds)

    run_consumer(handle, [event(user_id="u")])
    assert called[1] - called[0] == pytest.approx(seconds, abs=0.01)


def test_what_a_handler_does_in_a_thread_takes_as_long_as_it_takes():
    @consumer("snowbus.events", group_id="g", retries=0, timeout=10)
    async def handle(record):
        await asyncio.to_thread(time.sleep, 0.02)
        await asyncio.sleep(5)

    result = run_consumer(handle, [event(user_id="u"), event(user_id="u")])
    assert (result.handled, result.dead_letters) == (2, [])
    assert 10 <= result.elapsed < 20


def test_what_hangs_in_a_thread_is_over_with_the_timeout():
    may_end = threading.Event()

    @consumer("snowbus.events", group_id="g", retries=0, timeout=0.05)
    async def handle(record):
        await asyncio.to_thread(may_end.wait)

    try:
        (dead,) = run_consumer(handle, [event()]).dead_letters
    finally:
        may_end.set()
    assert "longer than 0.05 s" in dead.reason


@pytest.mark.parametrize("batch", [None, 10])
def test_dedupe_remembers_in_a_test_too(tmp_path, batch):
    called = []

    @consumer("snowbus.events", group_id="g", dedupe=Dedupe(tmp_path / "seen.db"), batch=batch)
    async def handle(given):
        called.append(given)

    first = run_consumer(handle, [event(event_id="1", user_id="u")])
    again = run_consumer(handle, [event(event_id="1", user_id="u")])
    assert (first.handled, again.handled, again.lag, len(called)) == (1, 0, 0, 1)


async def spin():
    for _ in itertools.repeat(None):
        await asyncio.sleep(0)


async def again_at_once():
    raise Retry(delay=0)


@pytest.mark.parametrize("never_waits", [spin, again_at_once])
def test_what_never_waits_comes_to_the_end_of_the_time(never_waits):
    @consumer("snowbus.events", group_id="g")
    async def handle(record):
        await never_waits()

    assert run_consumer(handle, [event()], max_seconds=5).lag == 1


def test_in_a_running_loop_it_says_what_to_do_instead():
    @consumer("snowbus.events", group_id="g")
    async def handle(record):
        pass

    async def main():
        with pytest.raises(RuntimeError, match=r"await asyncio\.to_thread\(run_consumer"):
            run_consumer(handle, [event()])
        return await asyncio.to_thread(run_consumer, handle, [event()])

    assert asyncio.run(main()).handled == 1


def test_an_attempt_does_not_see_what_the_one_before_it_made_of_the_event():
    seen = []

    @consumer("snowbus.events", group_id="g", batch=2)
    async def handle(records):
        seen.append([record.event.pop("user_id", "gone") for record in records])
        if len(seen) < 4:
            raise ValueError

    run_consumer(handle, [event(user_id="ann"), event(user_id="ann")])
    assert "gone" not in str(seen)
    assert len(seen) > 3
