"""Copies on the topic of retries say whose they are and what they are of."""

import pytest

from snowbus.bus.event import RETRY_TOPIC, Record
from snowbus.consumers.retries import group_of, identity_of, is_for, original_of, retry_of, retry_record

ORIGINAL = Record("orders", 3, 42, 1_700_000_000_000, b"user-1", b"value", (("event_id", b"e1"),))
LETTER = Record("snowbus.dead", 1, 7, 1_700_000_009_000, b"user-1", b"value", ())


def on_the_log(copy):
    return Record(RETRY_TOPIC, 0, 5, 1_700_000_100_000, copy.key, copy.value, copy.headers)


def test_the_original_comes_back_as_it_was():
    assert original_of(on_the_log(retry_record(ORIGINAL, group="stock"))) == ORIGINAL


def test_a_copy_is_as_young_as_any_new_record_however_old_its_original_is():
    """Retention goes by the time of a record: a copy with the time of the original might be gone at once."""
    assert retry_record(ORIGINAL, group="stock").timestamp is None


def test_a_copy_is_for_one_group():
    copy = on_the_log(retry_record(ORIGINAL, group="stock"))
    assert (group_of(copy), is_for(copy, "stock"), is_for(copy, "prices")) == ("stock", True, False)


def test_a_copy_of_a_copy_is_of_the_same_original():
    again = on_the_log(retry_record(original_of(on_the_log(retry_record(ORIGINAL, group="stock"))), group="prices"))
    assert (original_of(again), group_of(again)) == (ORIGINAL, "prices")


def test_a_copy_of_a_dead_letter_says_which_one():
    copy = on_the_log(retry_record(ORIGINAL, group="stock", dead_letter=LETTER))
    assert retry_of(copy) == identity_of(LETTER) == "snowbus.dead/1-7@1700000009000"
    assert retry_of(on_the_log(retry_record(ORIGINAL, group="stock"))) == ""


@pytest.mark.parametrize(
    "headers", [(), (("retry_topic", b"t"),), (("retry_topic", b"t"), ("retry_partition", b"\xff"))]
)
def test_what_is_no_copy_is_said_so(headers):
    record = ORIGINAL._replace(headers=headers)
    assert (group_of(record), retry_of(record)) == ("", "")
    with pytest.raises(ValueError, match="does not say what it repeats"):
        original_of(record)
