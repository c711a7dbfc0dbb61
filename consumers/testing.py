"""The test kit: runs a consumer on a log in memory, with the real runner, in virtual time.

result = run_consumer(reserve, [event(schema="iglu:com.acme/add_to_cart/jsonschema/1-0-0", data={"sku": "a"})])
assert result.handled == 1
"""

import asyncio
import contextlib
import selectors
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any, TypeVar, TypeVarTuple

from snowbus.bus import event as bus
from snowbus.bus.acceptance import accept
from snowbus.bus.clock import now_ms
from snowbus.bus.log.interface import Log
from snowbus.bus.log.memory import MemoryLog
from snowbus.bus.metrics import Metrics
from snowbus.bus.payload import payload_from_plain_json

from .dead_letters import read_death, record_as_it_was
from .declare import Consumer, Lifespan
from .record import Record
from .runner import Runner

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

_LOOK_SECONDS = 0.05
_LOOKS_AT_NO_COST, _LOOK_COST = 20_000, 0.001  # at the clock: what never waits must come to max_seconds, too
_LEAST_STEP = 1e-6  # less than a clock of hours can add would be no time at all, for ever
_LOOK_SHARE = 0.01  # of the time that has passed, so that a wait of hours is not looked at a million times


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFound:
    """A dead letter: the record as it was, why it died, the exception's type, and after how many attempts."""

    record: Record
    reason: str
    exception: str
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of the events.

    `retries` counts those that were to be handled again, because they failed or asked for it, and `held` those that had
    to wait for what the handler needs, each time; `committed` has the offset of each partition; `lag` is what is
    unfinished; `elapsed` is in seconds of virtual time.
    """

    handled: int
    skipped: int
    filtered: int
    retries: int
    held: int
    dead_letters: Sequence[DeadLetterFound]
    committed: Mapping[bus.TopicPartition, int]
    lag: int
    elapsed: float


def event(
    name: str = "",
    /,
    *,
    schema: str = "",
    data: Any = None,
    entities: Iterable[tuple[str, Any]] = (),
    **fields: Any,
) -> bus.ProducerRecord:
    """An event as it stands on the log: of this type (`page_view`, …), or self-describing by `schema` and `data`, when
    the name is only for who reads the test; with `entities` of (schema, data) and other canonical fields, such as
    `user_id`. Raises PayloadError when it cannot be one.
    """
    described: dict[str, Any] = dict(fields)
    if schema:
        described["unstruct_event"] = {"schema": schema, "data": {} if data is None else data}
    else:
        described["event"] = name or "page_view"
    if contexts := [{"schema": uri, "data": value} for uri, value in entities]:
        described["contexts"] = contexts
    payload = payload_from_plain_json(described)
    return accept(payload, now=now_ms(), producer="testing")


def run_consumer(
    consumer: Consumer[..., Any],
    events: Iterable[bus.ProducerRecord],
    *,
    max_seconds: float = 86_400.0,
    lifespan: Lifespan | None = None,
) -> Result:
    """Publish events to the consumer's first topic, run the consumer until they are finished, and tell what became of
    them.

    Waits pass at once: time is virtual, but for what `asyncio.to_thread` runs, which takes as long as it takes. A
    plain function is called in this thread. What is not finished after `max_seconds`, because it is retried for ever,
    is the `lag`. A `lifespan` stands in for the consumer's own: a network, above all, knows nothing of virtual time.

    Raises RuntimeError in a thread in which an event loop is running.
    """
    _check_no_loop()
    if lifespan is not None:
        consumer = replace(consumer, lifespan=lifespan)
    if not consumer.is_async:
        consumer = replace(consumer, function=_as_async(consumer.function))
    loop = _VirtualLoop()
    try:
        return loop.run_until_complete(_run(consumer, list(events), max_seconds))
    finally:
        _end_tasks(loop)
        loop.close()


def _check_no_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(
        "run_consumer has an event loop of its own, and one is running here: call it in a test that is a plain "
        "function, or write await asyncio.to_thread(run_consumer, …)"
    )


def _end_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """End what is left when the run was cut off, by Ctrl-C above all, which leaves a loop as it stands."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    for _ in left:  # a KeyboardInterrupt stops the loop once more with each task that passes it on
        with contextlib.suppress(BaseException):
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))


def _as_async(function: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*arguments: Any) -> Any:
        return function(*arguments)

    return call


async def _run(consumer: Consumer[..., Any], events: Sequence[bus.ProducerRecord], max_seconds: float) -> Result:
    loop = asyncio.get_running_loop()
    begin, metrics, stop = loop.time(), Metrics(), asyncio.Event()
    async with MemoryLog() as log:
        await log.create_topics([*consumer.topics, bus.RETRY_TOPIC, consumer.dead_letter or bus.DEAD_TOPIC])
        await log.append(consumer.topics[0], events)
        running = asyncio.create_task(Runner(log, consumer, metrics=metrics).run(stop))
        try:
            while not (  # noqa: ASYNC110 - the log tells nobody that a group is through
                running.done() or loop.time() - begin > max_seconds or await _is_finished(log, consumer)
            ):
                await asyncio.sleep(max(_LOOK_SECONDS, (loop.time() - begin) * _LOOK_SHARE))
        finally:
            stop.set()
            await running
        return await _result(log, consumer, metrics, loop.time() - begin)


async def _is_finished(log: Log, consumer: Consumer[..., Any]) -> bool:
    return bool(await log.group_offsets(consumer.group_id)) and await _lag(log, consumer) == 0


async def _lag(log: Log, consumer: Consumer[..., Any]) -> int:
    return sum((await log.lag(consumer.group_id)).values())


async def _result(log: Log, consumer: Consumer[..., Any], metrics: Metrics, elapsed: float) -> Result:
    def count(outcome: str) -> int:
        labels = {"consumer": consumer.name, "outcome": outcome}
        return int(metrics.registry.get_sample_value("snowbus_consumer_records_total", labels) or 0)

    committed = await log.group_offsets(consumer.group_id)
    return Result(
        handled=count("handled"),
        skipped=count("skipped"),
        filtered=count("filtered"),
        retries=count("failed") + count("retried"),
        held=count("held"),
        dead_letters=await _dead_letters(log, consumer.dead_letter),
        committed={place: found.offset for place, found in committed.items() if place.topic in consumer.topics},
        lag=await _lag(log, consumer),
        elapsed=elapsed,
    )


async def _dead_letters(log: Log, topic: str) -> list[DeadLetterFound]:
    if not topic:
        return []
    left = sum((await log.end_offsets(topic)).values())
    found: list[DeadLetterFound] = []
    async with await log.read(await log.beginning_offsets(topic)) as reader:
        while len(found) < left:
            for raw in await reader.poll():
                death = read_death(raw)
                found.append(
                    DeadLetterFound(
                        record=Record(record_as_it_was(raw, death)),
                        reason=death.reason,
                        exception=death.exception,
                        attempts=death.attempts,
                    )
                )
    return found


class _VirtualSelector(selectors.DefaultSelector):
    """Passes the time that the loop would wait, instead of waiting; while a thread works for it, it waits."""

    now = 0.0
    looks = 0
    jobs = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """See selectors.BaseSelector.select."""
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if ready or timeout == 0:
            return ready
        self.looks = 0
        if self.jobs:
            return self._wait(timeout)
        if timeout is None:
            raise RuntimeError("the handler waits for something that nothing in this test will bring about")
        self.now += max(timeout, _LEAST_STEP)
        return ready

    def _wait(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        begin = time.monotonic()
        ready = super().select(timeout)
        self.now += max(time.monotonic() - begin, _LEAST_STEP)
        return ready


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._virtual = _VirtualSelector()
        super().__init__(self._virtual)

    def time(self) -> float:
        virtual = self._virtual
        virtual.looks += 1
        if virtual.looks > _LOOKS_AT_NO_COST:
            virtual.now += _LOOK_COST
        return virtual.now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Arguments], T], *args: *Arguments
    ) -> asyncio.Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self._virtual.jobs += 1
        future.add_done_callback(self._end_job)
        return future

    def _end_job(self, _: object) -> None:
        self._virtual.jobs -= 1
