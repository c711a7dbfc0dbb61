"""How groups stand, from what a log tells."""

from hypothesis import given
from hypothesis import strategies as st

from snowbus.bus.event import RETRY_TOPIC, TopicPartition
from snowbus.bus.log.interface import Committed
from snowbus.consumers.offsets import Position
from snowbus.consumers.progress import Progress, write_metadata
from snowbus.consumers.status import Look, oldest_places, partition_statuses, topic_statuses, with_rates

NOW = 1_700_000_000_000
P0, P1 = TopicPartition("orders", 0), TopicPartition("orders", 1)


def committed(offset, *done, at=NOW, **progress):
    return Committed(offset, write_metadata(Position(offset, done), Progress(at=at, **progress)))


def look(commits, *, ends, at=NOW, beginnings=None, **fields):
    """A look at one group."""
    return Look(
        at=at, committed={"stock": commits}, ends=ends, beginnings=beginnings or dict.fromkeys(ends, 0), **fields
    )


def of_topic(commits, **fields):
    (status,) = topic_statuses(partition_statuses(look(commits, **fields)))
    return status


def state(**progress):
    status = of_topic({P0: committed(5, **progress)}, ends={P0: 9})
    return status.state, status.state_age


# What it does


def test_who_has_something_to_do_runs_and_who_has_nothing_is_idle():
    assert of_topic({P0: committed(5)}, ends={P0: 9}).state == "running"
    assert of_topic({P0: committed(9)}, ends={P0: 9}).state == "idle"
    assert of_topic({P0: committed(9, in_flight=1)}, ends={P0: 9}).state == "running"


def test_who_has_only_records_that_wait_waits_for_a_retry():
    status = of_topic({P0: committed(5, waiting=2, next_try=NOW + 30_000, last_error="no")}, ends={P0: 9})
    assert (status.state, status.waiting, status.next_try_in, status.last_error) == ("waiting", 2, 30.0, "no")
    assert state(waiting=2, in_flight=1) == ("running", None)
    assert state(next_try=NOW + 5) == ("waiting", None), "everything waits, not single records"


def test_a_try_that_is_due_is_due_now():
    assert of_topic({P0: committed(5, waiting=1, next_try=NOW - 5)}, ends={P0: 9}).next_try_in == 0.0


def test_who_says_nothing_for_ten_seconds_is_silent():
    assert state(at=NOW - 10_000) == ("running", None)
    assert state(at=NOW - 10_001) == ("silent", 10.001)


def test_a_clock_that_is_ahead_makes_nobody_silent():
    assert state(at=NOW + 60_000) == ("running", None)


def test_who_stopped_is_not_silent_however_long_ago():
    assert state(at=NOW - 3_600_000, left=True) == ("stopped", 3600.0)


def test_who_is_in_a_call_that_does_not_end_is_stuck():
    assert state(stuck_since=NOW - 60_000, in_flight=1) == ("stuck", 60.0)
    assert state(stuck_since=NOW - 60_000, in_flight=1, at=NOW - 20_000) == ("silent", 20.0)


def test_of_commits_without_a_word_nothing_is_known_but_the_lag():
    status = of_topic({P0: Committed(5)}, ends={P0: 9})
    assert (status.state, status.heard_age, status.lag) == ("unknown", None, 4)


def test_a_group_without_commits_stands_nowhere():
    status = of_topic({}, ends={})
    assert (status.group, status.topic, status.state, status.lag) == ("stock", None, "never_committed", None)


def test_a_partition_that_was_never_committed_is_all_to_do():
    statuses = partition_statuses(look({P0: committed(5)}, ends={P0: 5, P1: 7}, beginnings={P0: 0, P1: 3}))
    assert [(status.state, status.lag) for status in statuses] == [("idle", 0), ("never_committed", 4)]
    assert topic_statuses(statuses)[0].state == "idle"


def test_the_partition_that_is_worst_off_tells_how_the_topic_stands():
    silent = committed(5, at=NOW - 20_000)
    status = of_topic({P0: committed(5), P1: silent}, ends={P0: 9, P1: 9})
    assert (status.state, status.state_age, status.state_partitions, status.partitions) == ("silent", 20.0, 1, 2)


def test_a_topic_has_stopped_since_the_last_of_its_partitions_has():
    left = {P0: committed(5, left=True, at=NOW - 9_000), P1: committed(5, left=True, at=NOW - 4_000)}
    assert of_topic(left, ends={P0: 9, P1: 9}).state_age == 4.0
    silent = {P0: committed(5, at=NOW - 90_000), P1: committed(5, at=NOW - 40_000)}
    assert of_topic(silent, ends={P0: 9, P1: 9}).state_age == 90.0


# How far it is behind


@given(
    beginning=st.integers(0, 20),
    size=st.integers(0, 20),
    offset=st.integers(0, 45),
    done=st.sets(st.integers(0, 50)),
)
def test_the_lag_is_what_is_not_done(beginning, size, offset, done):
    """What expired, or lies beyond the end, is read from the earliest record on."""
    end = beginning + size
    ranges = tuple((each, each + 1) for each in sorted(done) if each > offset)
    seen = look({P0: committed(offset, *ranges)}, ends={P0: end}, beginnings={P0: beginning})
    still = set(range(beginning, end))
    if offset <= end:
        still -= set(range(offset)) | {each for each in done if each > offset}
    (status,) = partition_statuses(seen)
    assert status.lag == len(still)
    assert oldest_places(seen) == ({(P0, min(still))} if still else frozenset())


def test_a_record_that_waits_does_not_make_what_is_done_behind_it_undone():
    status = of_topic({P0: committed(0, (1, 1000), waiting=1)}, ends={P0: 1000})
    assert (status.committed, status.lag, status.done_ahead, status.waiting) == (0, 1, 999, 1)


def test_the_oldest_age_is_that_of_the_oldest_record_that_is_not_done():
    commits, ends = {P0: committed(5), P1: committed(2, (3, 4))}, {P0: 9, P1: 9}
    stamps = {(P0, 5): NOW - 2_000, (P1, 2): NOW - 7_000}
    assert oldest_places(look(commits, ends=ends)) == stamps.keys()
    assert of_topic(commits, ends=ends, timestamps=stamps).oldest_age == 7.0
    assert of_topic(commits, ends=ends, timestamps={}).oldest_age is None


def test_what_the_log_does_not_tell_is_unknown():
    status = of_topic({P0: committed(5, in_flight=1)}, ends={}, silent_topics={"orders": "no leader"})
    assert (status.lag, status.end_offset, status.oldest_age, status.state) == (None, None, None, "running")


def test_the_numbers_of_a_topic_are_those_of_its_partitions_together():
    commits = {
        P0: committed(5, (6, 8), in_flight=2, waiting=1, next_try=NOW + 9_000, last_error="older", at=NOW - 2_000),
        P1: committed(3, in_flight=1, waiting=2, next_try=NOW + 4_000, last_error="newer", at=NOW - 1_000),
    }
    status = of_topic(commits, ends={P0: 9, P1: 4})
    assert (status.committed, status.end_offset, status.lag, status.done_ahead) == (8, 13, 3, 2)
    assert (status.in_flight, status.waiting, status.next_try_in, status.heard_age) == (3, 3, 4.0, 1.0)
    assert status.last_error == "newer"


def test_the_topic_of_retries_is_shown_when_something_waits_in_it():
    retry = TopicPartition(RETRY_TOPIC, 0)
    commits = {P0: committed(5), retry: committed(2)}
    topics = [
        [status.topic for status in topic_statuses(partition_statuses(look(commits, ends={P0: 9, retry: end})))]
        for end in (2, 3)
    ]
    assert topics == [["orders"], ["orders", RETRY_TOPIC]]


# How fast it works


def rated(before, after, *, ends, seconds=2.0):
    first, second = (look({P0: each}, ends={P0: end}) for each, end in zip((before, after), ends, strict=True))
    (status,) = topic_statuses(with_rates(partition_statuses(second), partition_statuses(first), seconds=seconds))
    return status.handled_per_second, status.appended_per_second, status.backlog_done_in


def test_the_backlog_is_done_when_what_is_gained_on_it_has_made_up_for_it():
    assert rated(committed(0), committed(200), ends=(1000, 1100)) == (100.0, 50.0, 900 / 50)


def test_what_is_done_behind_a_record_that_waits_counts_as_handled():
    assert rated(committed(0, (1, 101)), committed(0, (1, 301)), ends=(1000, 1000))[0] == 100.0


def test_a_backlog_that_grows_or_stands_still_is_never_done():
    assert rated(committed(0), committed(200), ends=(1000, 2000)) == (100.0, 500.0, None)
    assert rated(committed(0), committed(0), ends=(1000, 1000)) == (0.0, 0.0, None)


def test_what_is_handled_in_a_moment_is_no_backlog():
    assert rated(committed(0), committed(200), ends=(250, 390)) == (100.0, 70.0, None)


def test_a_group_that_was_set_back_has_no_rate():
    assert rated(committed(500), committed(0), ends=(1000, 1000)) == (None, 0.0, None)


def test_what_was_not_seen_before_has_no_rate():
    now = partition_statuses(look({P0: committed(5)}, ends={P0: 9}))
    assert with_rates(now, [], seconds=1.0) == now
