"""Where a subscription starts, and what is missing before that."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.aio import run
from support.memory_log import MemoryLog

from snowbus.bus.event import EVENTS_TOPIC, ProducerRecord, TopicPartition
from snowbus.bus.start import Earliest, Gap, Latest, Resume, Since, check_positions, find_start, last_positions

P0, P1, P2, P9 = (TopicPartition(EVENTS_TOPIC, number) for number in (0, 1, 2, 9))
BEGINNINGS = {P0: 10, P1: 0, P2: 5}
ENDS = {P0: 20, P1: 0, P2: 9}


@pytest.mark.parametrize(
    ("asked", "positions", "gaps"),
    [
        ({P0: 12, P1: 0, P2: 9}, {P0: 12, P1: 0, P2: 9}, []),
        ({P0: 12, P1: 0}, {P0: 12, P1: 0, P2: 5}, []),
        ({P0: 3, P1: 0, P2: 5}, BEGINNINGS, [Gap(P0, 3, 10, 7, "expired")]),
        ({P0: 10, P1: 1, P2: 5}, BEGINNINGS, [Gap(P1, 1, 0, None, "log restarted")]),
        ({P0: 21, P2: 4}, BEGINNINGS, [Gap(P0, 21, 10, None, "log restarted"), Gap(P2, 4, 5, 1, "expired")]),
        ({P0: 10, P9: 4}, BEGINNINGS, [Gap(P9, 4, 0, None, "log restarted")]),
    ],
)
def test_a_cursor_is_held_against_the_log(
    asked: dict[TopicPartition, int], positions: dict[TopicPartition, int], gaps: list[Gap]
) -> None:
    assert check_positions(asked, BEGINNINGS, ENDS) == (positions, gaps)


def filled(log: MemoryLog, times: list[list[int]]) -> None:
    log.grow(len(times))
    for partition, stamps in enumerate(times):
        for stamp in stamps:
            log.put(partition, ProducerRecord(b"k", b"v", (), stamp))


def test_the_plain_starts() -> None:
    async def main() -> None:
        log = MemoryLog()
        filled(log, [[10, 20, 30], [15, 25]])
        log.expire(0, 1)
        assert await find_start(log, EVENTS_TOPIC, Earliest()) == ({P0: 1, P1: 0}, [])
        assert await find_start(log, EVENTS_TOPIC, Latest()) == ({P0: 3, P1: 2}, [])
        assert await find_start(log, EVENTS_TOPIC, Since(25)) == ({P0: 2, P1: 1}, [])
        found = await find_start(log, EVENTS_TOPIC, Resume({P0: 0}))
        assert found == ({P0: 1, P1: 0}, [Gap(P0, 0, 1, 1, "expired")])

    run(main())


NOW = 1_795_000_000_000
ages = st.lists(st.sampled_from([0, 1, 2, 5, 999, 60_000, 10**9, 10**12, -5, -(10**7)]), max_size=12)


@given(st.lists(ages, min_size=1, max_size=4), st.integers(1, 30))
def test_the_last_so_many_are_the_newest_of_all_partitions(by_partition: list[list[int]], count: int) -> None:
    async def main() -> None:
        log = MemoryLog()
        times = [sorted(NOW - age for age in ages) for ages in by_partition]
        filled(log, times)
        positions = await last_positions(log, EVENTS_TOPIC, count)
        chosen = [time for place, start in positions.items() for time in times[place.partition][start:]]
        everything = sorted(time for stamps in times for time in stamps)
        assert sorted(chosen) == everything[-count:]

    run(main())


def test_finding_the_last_ones_asks_the_log_a_bounded_number_of_times() -> None:
    class Counting(MemoryLog):
        asked = 0

        async def offsets_for_time(self, topic: str, timestamp: int) -> dict[TopicPartition, int]:
            self.asked += 1
            return await super().offsets_for_time(topic, timestamp)

    async def main() -> None:
        log = Counting()
        filled(log, [[NOW - age * 3_600_000 for age in range(200, 0, -1)]])
        await last_positions(log, EVENTS_TOPIC, 100)
        assert log.asked <= 50

    run(main())
