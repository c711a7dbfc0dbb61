"""What the collector consumer is started with, and what it waits for."""

import asyncio
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.aio import eventually, run
from support.collector_double import CollectorDouble
from support.forwarding import FAST, numbered, publish, read_all

from snowbus.bus.errors import ConfigurationError, LogUnavailableError
from snowbus.bus.event import DEAD_TOPIC, ProducerRecord
from snowbus.bus.log import LogOptions, TopicInfo, open_log
from snowbus.bus.log.memory import MemoryLog
from snowbus.bus.log.sqlite import SqliteLog
from snowbus.bus.metrics import Metrics
from snowbus.bus.settings import Settings
from snowbus.consumers.collector.run import run_collect


def test_a_listen_address_in_use_ends_it(sqlite_url: str) -> None:
    async def main() -> None:
        async with await open_log(sqlite_url) as log:
            settings = Settings(log=sqlite_url, collector=collector.url, collect_listen=f"127.0.0.1:{collector.port}")
            with pytest.raises(ConfigurationError, match="cannot listen"):
                await run_collect(log, settings, Metrics(), ready=print, stop=asyncio.Event())

    with CollectorDouble() as collector:
        run(main())


class LogThatIsAway(SqliteLog):
    """The embedded log, with a network in between that is down for a while."""

    away = False
    refusals = 0

    async def create_topics(self, topics: Collection[str]) -> list[TopicInfo]:
        self._reach()
        return await super().create_topics(topics)

    async def join(self, topics: Collection[str], **options: Any) -> Any:
        self._reach()
        return await super().join(topics, **options)

    async def append(self, topic: str, records: Sequence[ProducerRecord]) -> list[tuple[int, int]]:
        self._reach()
        return await super().append(topic, records)

    def _reach(self) -> None:
        if self.away:
            self.refusals += 1
            raise LogUnavailableError("away")


async def run_on(log: SqliteLog, collector: CollectorDouble) -> tuple[asyncio.Task[None], asyncio.Event]:
    ready, stop = asyncio.Event(), asyncio.Event()
    settings = Settings(log=log.url, collector=collector.url, **FAST)
    task = asyncio.create_task(run_collect(log, settings, Metrics(), ready=lambda _: ready.set(), stop=stop))
    await ready.wait()
    return task, stop


def test_it_has_begun_once_it_serves_and_has_joined_its_group() -> None:
    async def main() -> None:
        told, stop = [], asyncio.Event()
        async with MemoryLog(LogOptions()) as log:  # where joining takes less time than to serve
            settings = Settings(collector=collector.url, **FAST)
            serves, begins = (lambda _: told.append("serves")), (lambda: told.append("has begun"))
            task = asyncio.create_task(run_collect(log, settings, Metrics(), ready=serves, begun=begins, stop=stop))
            await eventually(lambda: len(told) == 2)
            stop.set()
            await task
        assert told == ["serves", "has begun"]

    with CollectorDouble() as collector:
        run(main())


def test_it_has_not_begun_while_the_log_is_away(tmp_path: Path) -> None:
    async def main() -> None:
        ready, begun, stop = asyncio.Event(), asyncio.Event(), asyncio.Event()
        async with await LogThatIsAway.open(f"sqlite:///{tmp_path / 'log.db'}", Settings().log_options()) as log:
            log.away = True
            settings = Settings(log=log.url, collector=collector.url, **FAST)
            serves, begins = (lambda _: ready.set()), begun.set
            task = asyncio.create_task(run_collect(log, settings, Metrics(), ready=serves, begun=begins, stop=stop))
            await ready.wait()
            await eventually(lambda: log.refusals > 1)
            assert not begun.is_set()
            log.away = False
            await begun.wait()
            stop.set()
            await task

    with CollectorDouble() as collector:
        run(main())


def test_it_starts_before_the_log_does(tmp_path: Path) -> None:
    async def main() -> None:
        url = f"sqlite:///{tmp_path / 'log.db'}"
        async with await LogThatIsAway.open(url, Settings().log_options()) as log:
            log.away = True
            task, stop = await run_on(log, collector)
            log.away = False
            await publish(log, [numbered(1)])
            await eventually(lambda: collector.accepted)
            stop.set()
            await task

    with CollectorDouble() as collector:
        run(main())


def test_it_stops_while_the_log_is_away(tmp_path: Path) -> None:
    async def main() -> None:
        async with await LogThatIsAway.open(f"sqlite:///{tmp_path / 'log.db'}", Settings().log_options()) as log:
            log.away = True
            task, stop = await run_on(log, collector)
            stop.set()
            async with asyncio.timeout(5):
                await task

    with CollectorDouble() as collector:
        run(main())


def test_an_event_is_not_done_with_before_its_dead_letter_is_durable(tmp_path: Path) -> None:
    async def main() -> None:
        url = f"sqlite:///{tmp_path / 'log.db'}"
        async with await LogThatIsAway.open(url, Settings().log_options()) as log:
            await publish(log, [numbered(1)])
            task, stop = await run_on(log, collector)
            await eventually(lambda: collector.requests)
            log.away = True  # before the answer, which makes a dead letter of it
            stop.set()
            await task
            assert sum((await log.lag("collector")).values()) == 1
            log.away = False
            task, stop = await run_on(log, collector)
            await eventually(lambda: read_all(log, DEAD_TOPIC))
            stop.set()
            await task
            assert sum((await log.lag("collector")).values()) == 0

    with CollectorDouble(poison=lambda _: True, seconds=0.2) as collector:
        run(main())
