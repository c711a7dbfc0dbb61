"""Reading the log for one reader: in the order of time, and nothing missing without a word."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.aio import run
from support.gateway import numbered
from support.memory_log import MemoryLog

from snowbus.bus.event import EVENTS_TOPIC, Record, TopicPartition
from snowbus.bus.log.embedded_reader import EmbeddedReader
from snowbus.bus.start import Gap
from snowbus.consumers.history import History, by_time

P0, P1 = (TopicPartition(EVENTS_TOPIC, number) for number in range(2))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50)), max_size=40))
def test_partitions_are_woven_by_time_and_keep_their_own_order(places: list[tuple[int, int]]) -> None:
    records = [
        Record(EVENTS_TOPIC, partition, offset, time, None, b"", ())
        for offset, (partition, time) in enumerate(sorted(places, key=lambda place: place[0]))
    ]
    woven = by_time(records)
    assert sorted(woven) == sorted(records)
    for partition in range(4):
        assert [r for r in woven if r.partition == partition] == [r for r in records if r.partition == partition]
    if all(first.timestamp <= second.timestamp for p in range(4) for first, second in pairs(records, p)):
        assert [record.timestamp for record in woven] == sorted(record.timestamp for record in records)


def pairs(records: list[Record], partition: int) -> list[tuple[Record, Record]]:
    own = [record for record in records if record.partition == partition]
    return list(pairwise(own))


def test_what_expires_under_a_reader_is_counted() -> None:
    async def main() -> None:
        log = MemoryLog()
        log.grow(2)
        for number in range(10):
            log.put(0, numbered(number))
        async with await History.open(log, EVENTS_TOPIC, {P0: 2, P1: 0}) as history:
            log.expire(0, 5)
            gap, *records = await history.next()
            assert gap == Gap(P0, 2, 5, 3, "expired")
            assert [record.offset for record in records if isinstance(record, Record)] == [5, 6, 7, 8, 9]
            assert history.positions() == {P0: 10, P1: 0}
            log.put(0, numbered(10))
            log.expire(0, 11)
            assert await history.next() == [Gap(P0, 10, 11, 1, "expired")]
            assert history.positions() == {P0: 11, P1: 0}

    run(main())


def test_offsets_that_hold_no_record_are_no_gap() -> None:
    async def main() -> None:
        log = MemoryLog()
        log.grow(2)
        for number in range(4):
            log.put(0, numbered(number))
        log.stored[P0] = [record._replace(offset=record.offset * 3) for record in log.stored[P0]]
        async with await History.open(log, EVENTS_TOPIC, {P0: 0, P1: 0}) as history:
            found = await history.next()
            assert [item.offset for item in found if isinstance(item, Record)] == [0, 3, 6, 9]
            assert len(found) == 4

    run(main())


def test_a_log_that_began_anew_is_told() -> None:
    async def main() -> None:
        log = MemoryLog()
        log.grow(2)
        for number in range(4):
            log.put(0, numbered(number))
        async with await History.open(log, EVENTS_TOPIC, {P0: 3, P1: 0}) as history:
            log.begin_anew()
            log.put(0, numbered(0))
            gap, record = await history.next()
            assert gap == Gap(P0, 3, 0, None, "log restarted")
            assert isinstance(record, Record)
            assert record.offset == 0

    run(main())


def test_a_reader_that_is_cancelled_while_it_closes_is_closed_all_the_same() -> None:
    async def main() -> None:
        closing, closed = asyncio.Event(), []

        class Slow(EmbeddedReader):
            async def close(self) -> None:
                closing.set()
                await asyncio.sleep(0.05)
                closed.append(self)

        log = MemoryLog()
        log.grow(2)

        async def read() -> None:
            async with History(log, EVENTS_TOPIC, Slow(log, {P0: 0}), {P0: 0}):
                pass

        task = asyncio.create_task(read())
        await closing.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert closed

    run(main())
