"""Stretches of a log, read to their ends, and single records where they stand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.aio import run
from support.logs import numbered, opened
from support.memory_log import MemoryLog

from snowbus.bus.event import EVENTS_TOPIC, ProducerRecord, TopicPartition
from snowbus.bus.reading import read_places, read_stretch

P0, P1 = TopicPartition(EVENTS_TOPIC, 0), TopicPartition(EVENTS_TOPIC, 1)


async def places_in(log, starts, ends, **options):
    return [
        (record.topic_partition, record.offset)
        async for records in read_stretch(log, starts, ends, **options)
        for record in records
    ]


def filled(*counts, kind=MemoryLog):
    log = kind()
    log.grow(len(counts))
    for partition, count in enumerate(counts):
        for number in range(count):
            log.put(partition, ProducerRecord(b"k", b"%d" % number))
    return log


bounds = st.tuples(st.integers(0, 40), st.integers(0, 40))


@given(st.lists(bounds, min_size=1, max_size=3))
def test_a_stretch_is_read_whole_and_no_further(stretches):
    async def main():
        log = filled(*(40 for _ in stretches))
        places = [TopicPartition(EVENTS_TOPIC, number) for number in range(len(stretches))]
        starts = {place: start for place, (start, _) in zip(places, stretches, strict=True)}
        ends = {place: end for place, (_, end) in zip(places, stretches, strict=True)}
        found = await places_in(log, starts, ends)
        for place in places:
            assert [offset for where, offset in found if where == place] == list(range(starts[place], ends[place]))
        assert len(found) == sum(max(0, ends[place] - starts[place]) for place in places)

    run(main())


def test_a_stretch_is_read_on_every_log(log_url):
    async def main():
        async with opened(log_url) as log:
            await log.append(EVENTS_TOPIC, numbered(3_000, key=None))
            ends = await log.end_offsets(EVENTS_TOPIC)
            starts = dict.fromkeys(ends, 10)
            found = await places_in(log, starts, ends)
            assert sorted(found) == [(place, offset) for place, end in ends.items() for offset in range(10, end)]
            wanted = [(P0, 3), (P1, 500), (P1, 7), (P1, 10**6), (TopicPartition("none", 0), 0)]
            assert set(await read_places(log, wanted)) == {(P0, 3), (P1, 500), (P1, 7)}

    run(main())


def test_what_is_read_is_told_up_to_the_total():
    async def main():
        told = []
        await places_in(filled(1_500, 5), {P0: 100, P1: 5}, {P0: 1_500, P1: 5}, told=lambda *count: told.append(count))
        assert (told[0], told[-1]) == ((0, 1_400), (1_400, 1_400))
        assert told == sorted(told)

    run(main())


def test_what_has_expired_is_left_out():
    async def main():
        log = filled(10, 10)
        log.expire(0, 10)
        log.expire(1, 8)
        assert await places_in(log, {P0: 2, P1: 2}, {P0: 10, P1: 10}) == [(P1, 8), (P1, 9)]

    run(main())


def test_nothing_at_the_end_of_a_partition_ends_the_reading():
    """As after the marker of a transaction, which some other program writes."""

    class Quiet(MemoryLog):
        async def read(self, offsets):
            reader = await super().read(offsets)
            poll = reader.poll

            async def at_once(**_):
                return await poll(max_records=10, timeout=0)

            reader.poll = at_once
            return reader

    async def main():
        assert await places_in(filled(1, kind=Quiet), {P0: 0}, {P0: 2}) == [(P0, 0)]

    run(main())


@pytest.mark.parametrize("wanted", [[], [(P0, 0)], [(P0, 9), (P0, 0), (P1, 4)], [(P0, 10), (P0, -1), (P0, 3)]])
def test_single_records_are_found_where_they_stand(wanted):
    async def main():
        found = await read_places(filled(10, 5), wanted)
        assert {place: int(record.value) for place, record in found.items()} == {
            (partition, offset): offset for partition, offset in wanted if 0 <= offset < 10
        }

    run(main())


def test_records_far_apart_are_found_without_all_between():
    class Counting(MemoryLog):
        taken = 0

        async def take(self, positions, max_records):
            records = await super().take(positions, max_records)
            self.taken += len(records)
            return records

    async def main():
        log = filled(20_000, kind=Counting)
        assert len(await read_places(log, [(P0, 5), (P0, 10_000), (P0, 19_000)])) == 3
        assert log.taken <= 3_000

    run(main())
