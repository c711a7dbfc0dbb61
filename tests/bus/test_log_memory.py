"""What is special about the log in memory: who shares it, and whose clock it waits by."""

import asyncio
import time

import pytest
from support.aio import run
from support.logs import numbered, opened, read_on

from snowbus.bus.errors import ConfigurationError
from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.log import open_log
from snowbus.bus.log.memory import MemoryLog


class VirtualTime(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to whatever comes next."""

    now = 0.0

    def time(self):
        return self.now

    def _run_once(self):
        if not self._ready and self._scheduled:
            self.now = max(self.now, self._scheduled[0].when())
        super()._run_once()


def test_a_log_without_a_name_is_nobody_elses():
    async def main():
        async with opened("memory:") as one, await open_log("memory:") as other:
            await one.append(EVENTS_TOPIC, numbered(3))
            assert await other.topics() == []

    run(main())


def test_a_log_with_a_name_is_there_as_long_as_it_is_open():
    async def main():
        async with opened("memory:shared") as one, await open_log("memory://shared", create=False) as other:
            await one.append(EVENTS_TOPIC, numbered(3))
            assert sum((await other.end_offsets(EVENTS_TOPIC)).values()) == 3
        del one, other
        for url in ("memory:shared", "memory:"):
            with pytest.raises(ConfigurationError, match="no log"):
                await open_log(url, create=False)

    run(main())


def test_it_can_be_made_before_there_is_a_loop():
    log = MemoryLog()
    run(log.create_topics([EVENTS_TOPIC]))
    assert run(log.append(EVENTS_TOPIC, numbered(1)))[0][1] == 0


def test_it_waits_by_the_clock_of_the_loop():
    """An hour passes at once, also for members of groups that share partitions out."""

    async def main():
        loop = asyncio.get_running_loop()
        async with opened("memory:") as log:
            one = await log.join([EVENTS_TOPIC], group_id="group")
            assert await one.poll(timeout=3600) == []
            assert loop.time() == pytest.approx(3600)
            two = await log.join([EVENTS_TOPIC], group_id="group")
            assert await two.poll(timeout=1) == []
            assert [len(reader.assignment) for reader in (one, two)] == [2, 2]
            loop.call_later(60, lambda: appending.append(asyncio.create_task(log.append(EVENTS_TOPIC, numbered(1)))))
            appending = []
            await asyncio.wait(
                [asyncio.create_task(read_on(reader, 1, timeout=90)) for reader in (one, two)],
                return_when=asyncio.FIRST_COMPLETED,
            )
            assert loop.time() == pytest.approx(3661, abs=2)

    start = time.monotonic()
    run(main(), loop_factory=VirtualTime, timeout=10_000)
    assert time.monotonic() - start < 5
