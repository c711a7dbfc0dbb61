"""Records a second through a consumer whose handler does nothing, beside the barest loop that reads and commits."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
import uvloop
from aiokafka import AIOKafkaConsumer
from support.aio import eventually
from support.diagnostics import capture_logs
from support.forwarding import numbered

from snowbus.bus.event import TopicPartition
from snowbus.bus.log import Log, LogOptions, open_log
from snowbus.bus.metrics import Metrics
from snowbus.consumers import Record, consumer
from snowbus.consumers.runner import Runner

COUNT = 100_000
KEYS = 1_000
COMMIT_EVERY = 500
ROUNDS = 2
SLEEP_SECONDS = 0.005
SLEEPER_SECONDS = 3.0
PAGE = "https://shop.example/products/" + "x" * 330  # some 600 bytes an event


class Tally:
    """A handler that does nothing but count, from its first record to its last."""

    def __init__(self, count: int = COUNT) -> None:
        self.count = self.left = count
        self.done = asyncio.Event()
        self._started = 0.0
        self.seconds = 0.0

    async def one(self, _: Any) -> None:
        if self.left == self.count:
            self._started = time.perf_counter()
        self.left -= 1
        if not self.left:
            self._finish()

    async def several(self, records: Sequence[Any]) -> None:
        if self.left == self.count:
            self._started = time.perf_counter()
        self.left -= len(records)
        if not self.left:
            self._finish()

    def _finish(self) -> None:
        self.seconds = time.perf_counter() - self._started
        self.done.set()


Loop = Callable[[Log, str, str, bool], Awaitable[float]]


async def raw_aiokafka(log: Log, topic: str, group_id: str, batch: bool) -> float:
    """aiokafka's own consumer: one at a time, or `getmany`; a commit for every 500."""
    tally = Tally()
    servers = log.url.removeprefix("kafka://")
    options = {"bootstrap_servers": servers, "group_id": group_id, "enable_auto_commit": False}
    async with AIOKafkaConsumer(topic, auto_offset_reset="earliest", **options) as reader:
        while tally.left and batch:
            for found in (await reader.getmany(timeout_ms=1000, max_records=COMMIT_EVERY)).values():
                await tally.several(found)
            await reader.commit()
        while tally.left:
            async for record in reader:
                await tally.one(record)
                if tally.left % COMMIT_EVERY == 0:
                    await reader.commit()
                if not tally.left:
                    break
    return tally.seconds


async def bare_log(log: Log, topic: str, group_id: str, batch: bool) -> float:
    """A member of a group that polls, calls and commits; it knows nothing of keys, failures or rebalances."""
    tally = Tally()
    async with await log.join([topic], group_id=group_id) as reader:
        while tally.left:
            records = await reader.poll(max_records=COMMIT_EVERY)
            if batch and records:
                await tally.several(records)
            for record in () if batch else records:
                await tally.one(record)
            await reader.commit({TopicPartition(each.topic, each.partition): each.offset + 1 for each in records})
    return tally.seconds


async def ours(log: Log, topic: str, group_id: str, batch: bool) -> float:
    tally = Tally()
    declare = consumer(topic, group_id=group_id, batch=COMMIT_EVERY if batch else None)
    running = Runner(log, declare(tally.several if batch else tally.one), metrics=Metrics())
    await running.run(tally.done)
    return tally.seconds


async def sleepers_handled(log: Log, topic: str, group_id: str, concurrency: int) -> float:
    """Records a second through a handler that waits 5 ms."""
    times: list[float] = []
    stop = asyncio.Event()

    @consumer(topic, group_id=group_id, concurrency=concurrency)
    async def sleeper(_: object) -> None:
        await asyncio.sleep(SLEEP_SECONDS)
        times.append(time.perf_counter())

    running = asyncio.create_task(Runner(log, sleeper, metrics=Metrics()).run(stop))
    await eventually(lambda: times)
    await asyncio.sleep(SLEEPER_SECONDS)
    stop.set()
    await running
    return len(times) / (times[-1] - times[0])


async def fill(log_url: str, topic: str, *, partitions: int = 4) -> None:
    async with await open_log(log_url, LogOptions(partitions=partitions)) as log:
        await log.create_topics([topic])
        for start in range(0, COUNT, 5_000):
            numbers = range(start, start + 5_000)
            events = [numbered(number, user=f"user-{number % KEYS}", page=PAGE) for number in numbers]
            await log.append(topic, events)


async def best(log_url: str, loop: Loop, topic: str, *, batch: bool) -> float:
    """The least seconds of some rounds, each in a new group, so that everything is to be read."""
    rounds = []
    async with await open_log(log_url) as log:
        for number in range(ROUNDS):
            group_id = f"{loop.__name__}-{topic}-{batch}-{number}"
            rounds.append(await loop(log, topic, group_id, batch))
    return min(rounds)


def show(what: str, seconds: float, beside: str = "") -> None:
    print(f"  {what:<36} {COUNT / seconds:>10,.0f} records/s{beside}")


def compare(log_url: str, topic: str) -> None:
    floors = [raw_aiokafka, bare_log] if log_url.startswith("kafka") else [bare_log]
    for batch in (False, True):
        what = f"{COMMIT_EVERY} a call" if batch else "one a call"
        found: dict[str, float] = {}
        for floor in floors:
            name = floor.__name__.replace("_", " ")
            found[name] = uvloop.run(best(log_url, floor, topic, batch=batch))
            show(f"{name}, {what}", found[name])
        seconds = uvloop.run(best(log_url, ours, topic, batch=batch))
        ratios = (f"{each / seconds:.2f} of {name}" for name, each in found.items())
        show(f"@consumer, {what}", seconds, "   " + ", ".join(ratios))


def test_handlers_that_do_nothing(log_url: str) -> None:
    uvloop.run(fill(log_url, "test.events"))
    print(f"\nA handler that does nothing, {log_url.partition(':')[0]}")
    compare(log_url, "test.events")


@pytest.mark.kafka
def test_from_one_partition_to_many(real_kafka_url: str) -> None:
    for partitions in (1, 10, 100):
        topic = f"test.partitions-{partitions}"
        uvloop.run(fill(real_kafka_url, topic, partitions=partitions))
        print(f"\nA handler that does nothing, {partitions} partitions")
        compare(real_kafka_url, topic)


def test_handlers_that_wait(log_url: str) -> None:
    async def measure(concurrency: int) -> float:
        async with await open_log(log_url) as log:
            return await sleepers_handled(log, "test.events", f"sleepers-{concurrency}", concurrency)

    uvloop.run(fill(log_url, "test.events"))
    print(f"\nA handler that waits {SLEEP_SECONDS * 1000:.0f} ms, {log_url.partition(':')[0]}, {KEYS} keys")
    alone = 0.0
    for concurrency in (1, 8, 32):
        rate = uvloop.run(measure(concurrency))
        alone = alone or rate
        ideal = concurrency / SLEEP_SECONDS
        print(
            f"  concurrency {concurrency:>2} {rate:>10,.0f} records/s {rate / alone:6.1f} times one "
            f"   {rate / ideal:.2f} of {ideal:,.0f}, which waiting alone allows"
        )


async def slowest_of_others(log: Log, topic: str, group_id: str, failing: str) -> tuple[float, float]:
    """Records a second of all keys but one, and the longest that any of them waited behind its predecessor, in ms."""
    handled = 0
    last: dict[str, float] = {}
    longest = 0.0
    started = time.perf_counter()
    done = asyncio.Event()

    @consumer(topic, group_id=group_id, concurrency=8, retries=None, backoff=0.05, backoff_max=0.05)
    async def handle(record: Record) -> None:
        nonlocal handled, longest
        key = (record.key or b"").decode()
        if key == failing:
            raise ValueError("it always fails")
        await asyncio.sleep(0)
        now = time.perf_counter()
        longest = max(longest, now - last.get(key, now))
        last[key] = now
        handled += 1
        if handled == COUNT - (COUNT // KEYS if failing else 0):
            done.set()

    with capture_logs():
        await Runner(log, handle, metrics=Metrics()).run(done)
    return handled / (time.perf_counter() - started), longest * 1000


def test_a_key_that_always_fails(log_url: str) -> None:
    async def measure(failing: str) -> tuple[float, float]:
        async with await open_log(log_url) as log:
            return await slowest_of_others(log, "test.events", f"failing-{failing}", failing)

    uvloop.run(fill(log_url, "test.events"))
    print(f"\nOne of {KEYS} keys fails for ever, {log_url.partition(':')[0]}")
    for failing, what in (("", "none fails"), ("user-7", "one fails")):
        rate, longest = uvloop.run(measure(failing))
        print(f"  {what:<12} {rate:>10,.0f} records/s of the others, {longest:,.0f} ms between two of a key at most")
