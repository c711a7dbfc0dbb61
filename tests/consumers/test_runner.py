"""The runner drains when it is told to stop, and outlives whatever a handler does."""

import asyncio
import contextlib
import random
import threading
import time
from collections import Counter
from contextlib import asynccontextmanager

import pytest
from support.aio import eventually, run
from support.diagnostics import capture_logs
from support.forwarding import read_all

from snowbus.bus import database
from snowbus.bus.errors import NotAssignedError
from snowbus.bus.event import DEAD_TOPIC, EVENTS_TOPIC, RETRY_TOPIC, Record, TopicPartition
from snowbus.bus.log import LogOptions
from snowbus.bus.log.memory import MemoryLog
from snowbus.bus.metrics import Metrics
from snowbus.consumers import Dedupe, Retry, consumer, progress
from snowbus.consumers.dead_letters import read_death
from snowbus.consumers.retries import retry_record
from snowbus.consumers.runner import Runner
from snowbus.consumers.testing import event
from snowbus.consumers.work import Work


class Running:
    """A runner in a task of its own."""

    def __init__(self, log, declared, *, drain_timeout=5.0):
        self.metrics = Metrics()
        self.runner = Runner(log, declared, metrics=self.metrics, drain_timeout=drain_timeout)
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self.runner.run(self._stop))

    async def stop(self):
        self._stop.set()
        await self._task

    def count(self, outcome):
        labels = {"consumer": self.runner.consumer.name, "outcome": outcome}
        return self.metrics.registry.get_sample_value("snowbus_consumer_records_total", labels)


@asynccontextmanager
async def log_with(*events):
    async with MemoryLog() as log:
        await log.create_topics([EVENTS_TOPIC, DEAD_TOPIC, RETRY_TOPIC])
        await log.append(EVENTS_TOPIC, events)
        yield log


async def lag(log):
    return sum((await log.lag("g")).values())


async def dead_letters(log):
    return sum((await log.end_offsets(DEAD_TOPIC)).values())


def test_a_stop_lets_the_calls_under_way_finish_and_begins_no_other():
    calls, may_end = [], asyncio.Event()

    @consumer("snowbus.events", group_id="g")
    async def handle(record):
        calls.append(record.event_id)
        await may_end.wait()

    async def main():
        async with log_with(event(user_id="a"), event(user_id="a")) as log:
            running = Running(log, handle)
            await eventually(lambda: calls)
            stopping = asyncio.create_task(running.stop())
            await asyncio.sleep(0)
            may_end.set()
            await stopping
            assert (len(calls), await lag(log)) == (1, 1)

    run(main())


def test_a_call_that_outlasts_the_drain_is_ended_and_its_record_comes_again():
    calls = []

    @consumer("snowbus.events", group_id="g")
    async def handle(record):
        calls.append(record.event_id)
        if len(calls) == 1:
            await asyncio.Event().wait()

    async def main():
        async with log_with(event(user_id="a")) as log:
            first = Running(log, handle, drain_timeout=0.05)
            await eventually(lambda: calls)
            await first.stop()
            assert await lag(log) == 1
            second = Running(log, handle)
            await eventually(lambda: len(calls) == 2)
            await second.stop()
            assert await lag(log) == 0

    run(main())


def test_a_call_that_takes_too_long_has_failed():
    @consumer("snowbus.events", group_id="g", timeout=0.05, retries=1, backoff=0.01)
    async def handle(record):
        if record.event["user_id"] == "slow":
            await asyncio.Event().wait()

    async def main():
        async with log_with(event(user_id="slow"), event(user_id="slow"), event(user_id="quick")) as log:
            running = Running(log, handle)
            await eventually(lambda: lag_is_none(log))
            await running.stop()
            assert await dead_letters(log) == 2
            assert (running.count("failed"), running.count("dead"), running.count("handled")) == (2, 2, 1)

    async def lag_is_none(log):
        return bool(await log.group_offsets("g")) and await lag(log) == 0

    run(main())


def test_a_plain_function_that_hangs_is_said_to_be_stuck_while_it_does():
    may_end = threading.Event()

    @consumer("snowbus.events", group_id="g", timeout=0.02)
    def handle(record):
        may_end.wait(10)

    async def main():
        async with log_with(event(user_id="a")) as log:
            running = Running(log, handle)
            stuck = await eventually(lambda: running.runner.stuck)
            assert stuck.startswith("handle has been in one call for")
            assert "snowbus.events" in stuck
            may_end.set()
            await eventually(lambda: not running.runner.stuck)
            await running.stop()

    run(main())


def test_plain_functions_run_side_by_side():
    together = threading.Barrier(3, timeout=10)

    @consumer("snowbus.events", group_id="g", concurrency=3)
    def handle(record):
        together.wait()

    async def main():
        async with log_with(*(event(user_id=user) for user in "abc")) as log:
            running = Running(log, handle)
            await eventually(lambda: together.n_waiting == 0 and not together.broken)
            await eventually(lambda: _handled(running) == 3)
            await running.stop()

    run(main())


def _handled(running):
    running.runner._counts.flush()
    return running.count("handled")


def test_whatever_a_handler_raises_is_its_own_failure():
    """Not even what ends a task or a process takes other records along."""

    @consumer("snowbus.events", group_id="g", retries=0, concurrency=2)
    async def handle(record):
        match record.event["user_id"]:
            case "exits":
                raise SystemExit(3)
            case "is cancelled":
                raise asyncio.CancelledError
            case "fails":
                raise MemoryError

    async def main():
        users = ("exits", "is cancelled", "fails", "a", "b")
        async with log_with(*(event(user_id=user) for user in users)) as log:
            running = Running(log, handle)
            await eventually(lambda: _handled(running) == 2)
            await eventually(lambda: is_dead(log, 3))
            await running.stop()
            assert await lag(log) == 0

    async def is_dead(log, count):
        return await dead_letters(log) == count

    run(main())


def test_a_batch_that_fails_is_halved_down_to_the_one_to_blame():
    sizes = []

    @consumer("snowbus.events", group_id="g", batch=16, retries=0)
    async def handle(records):
        sizes.append(len(records))
        if any(record.event["page_title"] == "bad" for record in records):
            raise ValueError("bad")

    async def main():
        events = [event(page_title="bad" if number == 5 else "good", user_id=f"u{number}") for number in range(16)]
        async with log_with(*events) as log:
            running = Running(log, handle)
            await eventually(lambda: _handled(running) == 15)
            await eventually(lambda: is_dead(log))
            await running.stop()
            assert len(sizes) <= 9

    async def is_dead(log):
        return await dead_letters(log) == 1

    run(main())


def test_two_members_share_the_partitions_and_neither_repeats_the_other():
    calls = []

    @consumer("snowbus.events", group_id="g", concurrency=8)
    async def handle(record):
        calls.append(record.event_id)
        await asyncio.sleep(0.005)

    async def main():
        async with log_with(*(event(user_id=f"u{number % 40}") for number in range(200))) as log:
            first = Running(log, handle)
            await eventually(lambda: len(calls) > 20)
            second = Running(log, handle)
            await eventually(lambda: second.runner._work.held)
            await first.stop()
            await log.append(EVENTS_TOPIC, [event(user_id=f"u{number}") for number in range(50)])
            await eventually(lambda: len(calls) >= 250)
            await second.stop()
            assert await lag(log) == 0
        assert len(calls) == len(set(calls)) == 250

    run(main())


def test_of_two_copies_of_a_dead_letter_that_were_made_at_the_same_time_one_is_handled():
    """And of two letters, or of copies that were made hours apart, each."""
    calls = []

    @consumer("snowbus.events", group_id="g")
    async def handle(record):
        calls.append(record.event_id)

    def copy(letter, *, event_id, at):
        """A copy with this time, in seconds, of the letter that stands at an offset."""
        made = event(event_id=event_id, user_id="ann")
        original = Record(EVENTS_TOPIC, 0, 0, 0, made.key, made.value, made.headers)
        dead = Record(DEAD_TOPIC, 0, letter, 0, None, b"", ())
        return retry_record(original, group="g", dead_letter=dead)._replace(timestamp=1000 * at)

    async def main():
        now = time.time_ns() // 1_000_000_000
        async with log_with() as log:
            made = (("one", 1, 0), ("one again", 1, 60), ("two", 2, 60), ("one much later", 1, 7200))
            copies = [copy(letter, event_id=name, at=now - 10_000 + at) for name, letter, at in made]
            await log.append(RETRY_TOPIC, copies)
            running = Running(log, handle)
            await eventually(lambda: len(calls) == 3)
            await running.stop()
            assert sum((await log.lag("g")).values()) == 0
        assert calls == ["one", "two", "one much later"]

    run(main())


def test_a_copy_that_this_process_cannot_handle_is_a_dead_letter_again():
    """As when a group has members that read different topics: the copy comes to any of them."""
    calls = []

    @consumer("snowbus.events", group_id="g")
    async def handle(record):
        calls.append(record.event_id)

    async def main():
        made = event(event_id="one")
        original = Record("orders", 0, 7, 0, made.key, made.value, made.headers)
        copy = retry_record(original, group="g", dead_letter=Record(DEAD_TOPIC, 0, 1, 0, None, b"", ()))
        async with log_with(event(event_id="two")) as log:
            await log.append(RETRY_TOPIC, [copy])
            running = Running(log, handle)
            await eventually(lambda: dead_letters(log))
            await eventually(lambda: calls)
            await running.stop()
            (letter,) = await read_all(log, DEAD_TOPIC)
            assert await lag(log) == 0
        death = read_death(letter)
        assert (death.topic, death.offset, death.group) == ("orders", 7, "g")
        assert "does not read orders" in death.reason
        assert calls == ["two"]

    run(main())


def test_an_event_that_comes_twice_in_one_batch_is_handled_once(tmp_path):
    batches = []

    @consumer(
        "snowbus.events", group_id="g", batch=10, batch_wait=0.1, dedupe=Dedupe(tmp_path / "handled.db"), backoff=0.01
    )
    async def handle(records):
        batches.append([record.event_id for record in records])
        if len(batches) == 1:
            raise Retry(delay=0.01)

    async def main():
        sent = [event(event_id=each, user_id="ann") for each in ("one", "two", "one", "three", "two")]
        async with log_with(*sent) as log:
            running = Running(log, handle)
            await eventually(lambda: running.count("handled") == 3)
            await running.stop()
            assert await lag(log) == 0
            assert running.count("known") == 2
        assert batches[0] == ["one", "two", "three"]
        assert sorted(each for batch in batches[1:] for each in batch) == ["one", "three", "two"]

    run(main())


def test_a_consumer_waits_for_its_dedupe_file_and_commits_what_it_handled_without(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    path, calls = tmp_path / "handled.db", []

    @consumer("snowbus.events", group_id="g", dedupe=Dedupe(path), concurrency=1)
    async def handle(record):
        calls.append(record.event_id)
        other.execute("BEGIN IMMEDIATE")

    async def main():
        async with log_with(event(event_id="one", user_id="a"), event(event_id="two", user_id="a")) as log:
            running = Running(log, handle)
            await eventually(lambda: any(line["event"] == "what is handled cannot be noted" for line in said))
            assert (calls, await lag(log)) == (["one"], 2)
            other.execute("COMMIT")
            await eventually(lambda: len(calls) == 2)
            await running.stop()
            assert (calls, await lag(log)) == (["one", "two"], 0)

    with contextlib.closing(database.connect(path, create=True)) as other, capture_logs() as said:
        run(main())


def test_a_user_who_waits_holds_back_nobody_else_however_much_waits_behind_him():
    """All with the usual options."""

    @consumer("snowbus.events", group_id="g")
    async def handle(record):
        if record.event["user_id"] == "ann":
            raise Retry(delay=3600)

    async def main():
        users = ["ann", "bob", "eve", "ida"]
        async with log_with(*(event(user_id=users[number % 4]) for number in range(12_000))) as log:
            running = Running(log, handle)
            await eventually(lambda: running.count("handled") == 9_000)
            await running.stop()

    run(main())


def test_what_commits_have_no_room_for_is_no_more_than_may_be_handled_again(monkeypatch):
    """Many records wait for hours, here and there."""
    monkeypatch.setattr(progress, "_DONE_LIMIT", 300)
    calls, due = Counter(), asyncio.Event()
    draw = random.Random(7)
    waits = {f"u{number}" for number in range(4_000) if draw.random() < 0.4}

    @consumer("snowbus.events", group_id="g", max_in_flight=300, buffer=50_000, concurrency=4)
    async def handle(record):
        user = record.event["user_id"]
        calls[user] += 1
        if user in waits and not due.is_set():
            raise Retry(delay=3600)

    async def main():
        async with MemoryLog(LogOptions(partitions=1)) as log:
            await log.create_topics([EVENTS_TOPIC, DEAD_TOPIC, RETRY_TOPIC])
            await log.append(EVENTS_TOPIC, [event(user_id=f"u{number}") for number in range(4_000)])
            running = Running(log, handle)
            await eventually(lambda: running.runner._work.tracker.untold > 250)
            await running.stop()
            before = Counter({user: count for user, count in calls.items() if user not in waits})
            assert 600 < len(before) < 2_400
            due.set()
            running = Running(log, handle)
            await eventually(lambda: len(calls) == 4_000)
            await running.stop()
            again = [user for user, count in before.items() if calls[user] > count]
            assert len(again) <= 300 + 4

    run(main())


def test_without_order_the_events_of_one_user_do_not_wait_for_each_other():
    calls, may_end = [], asyncio.Event()

    @consumer(EVENTS_TOPIC, group_id="g", concurrency=200, ordered=False)
    async def handler(record):
        calls.append(record.event_id)
        await may_end.wait()

    async def main():
        async with log_with(*(event(user_id="ann", event_id=str(number)) for number in range(200))) as log:
            running = Running(log, handler)
            await eventually(lambda: len(calls) == 200)  # more than a runner begins with, each in a call of its own
            may_end.set()
            await running.stop()
            assert await lag(log) == 0

    run(main())
    assert calls == [str(number) for number in range(200)]


def test_there_are_never_more_calls_than_may_be():
    under_way = most = 0

    @consumer(EVENTS_TOPIC, group_id="g", concurrency=70, ordered=False)
    async def handler(record):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1

    async def main():
        async with log_with(*(event(event_id=str(number)) for number in range(500))) as log:
            running = Running(log, handler)
            await eventually(lambda: running.count("handled") == 500)
            await running.stop()

    run(main())
    assert most == 70


def test_what_is_read_of_a_partition_that_never_came_is_not_dropped_in_silence():
    @consumer(EVENTS_TOPIC, group_id="g")
    async def handle(record):
        pass

    async def main():
        work = Work(handle, Metrics().of_consumer("handle"))
        with pytest.raises(NotAssignedError, match=r"snowbus\.events-0"):
            work.offer(TopicPartition(EVENTS_TOPIC, 0), [])

    run(main())
