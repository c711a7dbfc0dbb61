"""Dead letters keep the record as it was and say why and where it died."""

from snowbus.bus.event import Record
from snowbus.consumers.dead_letters import (
    Death,
    dead_record,
    dead_record_without_value,
    original_headers,
    read_death,
)

RECORD = Record("snowbus.events", 3, 42, 1_700_000_000_000, b"user-1", b"value", (("event_id", b"e1"),))
LETTER = Death(
    reason="the collector answered 400",
    topic="snowbus.events",
    partition=3,
    offset=42,
    group="collector",
    time=1_700_000_001_000,
    status=400,
    response="no such schema: ünknown",
)


def on_the_log(letter: Death, record: Record = RECORD) -> Record:
    appended = dead_record(record, letter)
    return Record("snowbus.dead", 0, 0, appended.timestamp or 0, appended.key, appended.value, appended.headers)


def test_a_dead_record_keeps_key_value_and_headers() -> None:
    dead = on_the_log(LETTER)
    assert (dead.key, dead.value) == (RECORD.key, RECORD.value)
    assert dead.headers[:1] == RECORD.headers
    assert original_headers(dead.headers) == RECORD.headers


def test_a_letter_is_read_as_it_was_written() -> None:
    assert read_death(on_the_log(LETTER)) == LETTER


def test_a_letter_without_an_answer_has_no_status() -> None:
    letter = Death("not an event", "snowbus.events", 3, 42, "collector", 5)
    dead = on_the_log(letter)
    assert dead.header("dead_status") is None
    assert read_death(dead) == letter


def test_a_long_answer_is_cut() -> None:
    letter = Death("no", "t", 0, 0, "g", 0, status=400, response="x" * 9_000)
    assert read_death(on_the_log(letter)).response == "x" * 500


def test_a_record_that_dies_twice_tells_of_the_last_time_only() -> None:
    second = Death("again", "snowbus.events", 1, 7, "collector", 9)
    dead = on_the_log(second, on_the_log(LETTER))
    assert read_death(dead) == second
    assert len([name for name, _ in dead.headers if name == "dead_reason"]) == 1


def test_a_record_too_large_to_carry_headers_leaves_its_place() -> None:
    appended = dead_record_without_value(RECORD, LETTER)
    assert appended.value == b""
    assert ("dead_offset", b"42") in appended.headers


def test_headers_that_are_no_letter_are_read_without_an_error() -> None:
    record = RECORD._replace(headers=(("dead_partition", b"x"), ("dead_status", b"\xff")))
    assert read_death(record) == Death("", "", -1, -1, "", -1, -1, status=-1)
