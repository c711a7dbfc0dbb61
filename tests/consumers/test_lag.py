"""How many records a consumer's partitions have still to do."""

from snowbus.bus.event import TopicPartition
from snowbus.consumers.lag import lag_by_topic
from snowbus.consumers.offsets import Position

HERE, THERE, OTHER = TopicPartition("a", 0), TopicPartition("a", 1), TopicPartition("b", 0)


def test_what_is_done_behind_a_record_that_is_not_is_no_lag():
    assert lag_by_topic({HERE: Position(10, ((12, 15), (20, 21)))}, {HERE: 30}) == {"a": 16}


def test_the_partitions_of_a_topic_are_added_up():
    assert lag_by_topic({HERE: Position(1), THERE: Position(2), OTHER: Position(9)}, {HERE: 5, THERE: 5, OTHER: 9}) == {
        "a": 7,
        "b": 0,
    }


def test_a_partition_whose_end_is_before_us_or_unknown_has_no_lag():
    assert lag_by_topic({HERE: Position(9), THERE: Position(9)}, {HERE: 3}) == {"a": 0}
