"""What `snowbus verify` reads from the log: when it has caught up, and what it says of records that are missing."""

from contextlib import aclosing

from support.aio import run
from support.gateway import numbered
from support.memory_log import MemoryLog

from snowbus.bus.event import EVENTS_TOPIC, TopicPartition
from snowbus.bus.filters import parse_filter
from snowbus.bus.start import Earliest, Latest, Resume
from snowbus.cli.verify_sources import from_log


def batches(log, start, *filters):
    """Everything up to the moment when all has come that was there: the event ids, what was said, and then one more."""

    async def main():
        await log.create_topics([EVENTS_TOPIC])
        found, notes = [], []
        async with aclosing(from_log(log, start, parse_filter(filters))) as source:
            async for batch in source:
                found += [seen.event_id for seen in batch.events]
                notes += batch.notes
                if batch.is_live:
                    return found, notes
        raise AssertionError

    return run(main())


def log_of(*numbers):
    log = MemoryLog()
    log.grow(2)
    for number in numbers:
        log.put(number % 2, numbered(number, aid="odd" if number % 2 else "even"))
    return log


def test_it_is_live_once_all_that_was_there_has_come():
    found, notes = batches(log_of(1, 2, 3, 4), Earliest())
    assert (sorted(found), notes) == (["1", "2", "3", "4"], [])
    assert batches(log_of(1, 2, 3), Latest()) == ([], [])
    assert batches(log_of(), Earliest()) == ([], [])


def test_a_filter_lets_through_what_is_wanted():
    found, _ = batches(log_of(1, 2, 3), Earliest(), ("app_id", "even"))
    assert found == ["2"]


def test_records_that_have_expired_are_told():
    log = log_of(1, 3, 5, 7)
    log.expire(1, before=3)
    found, notes = batches(log, Resume({TopicPartition(EVENTS_TOPIC, 1): 1}))
    assert found == ["7"]
    assert notes == ["2 records of snowbus.events/1 could not be read: expired"]
