"""Dead letters as people look into them: whatever their headers say, and what became of them since."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.forwarding import numbered

from snowbus.bus.event import DEAD_TOPIC, RETRY_TOPIC, Record
from snowbus.bus.filters import parse_filter
from snowbus.bus.json_text import dumps
from snowbus.consumers.dead_letters import Death, dead_record, dead_record_alone, dead_record_without_value
from snowbus.consumers.letters import Copies, Selection, in_full, read_letter, summary, why_not
from snowbus.consumers.offsets import Position
from snowbus.consumers.retries import retry_record

EVENT = numbered(7, user="u-1", aid="shop")
RECORD = Record("snowbus.events", 3, 42, 1_700_000_000_000, EVENT.key, EVENT.value, EVENT.headers)
DEATH = Death("KeyError: 'sku'", "snowbus.events", 3, 42, "stock", 1_700_000_001_000, attempts=6)


def on_the_log(appended, *, topic=DEAD_TOPIC, offset=5):
    return Record(topic, 0, offset, appended.timestamp or 0, appended.key, appended.value, appended.headers)


def letter(death=DEATH, record=RECORD, offset=5):
    return read_letter(on_the_log(dead_record(record, death), offset=offset))


def test_a_letter_holds_the_record_that_died():
    assert letter().original == RECORD


def test_a_summary_has_what_people_ask_first():
    assert summary(letter(), "dead") == {
        "id": "0-5",
        "time": "2023-11-14T22:13:21.000Z",
        "group": "stock",
        "state": "dead",
        "reason": "KeyError: 'sku'",
        "event_name": "page_view",
        "app_id": "shop",
        "topic": "snowbus.events",
        "partition": 3,
        "offset": 42,
        "attempts": 6,
        "status": None,
    }


def test_all_of_it_has_the_event_in_every_form():
    full = in_full(letter(), "dead")
    assert (full["event"]["user_id"], full["payload"]["uid"], full["source"]) == ("u-1", "u-1", {"ip": "203.0.113.7"})
    assert (full["key"], full["timestamp"], full["value"]) == ("u-1", 1_700_000_000_000, None)


def test_what_is_no_event_is_there_as_bytes():
    full = in_full(letter(record=RECORD._replace(value=b"\x00garbage")), "dead")
    assert (full["event"], full["payload"], full["value"]) == ({}, {}, "AGdhcmJhZ2U=")


@pytest.mark.parametrize("appended", [dead_record_without_value(RECORD, DEATH), dead_record_alone(RECORD, DEATH)])
def test_a_record_too_large_to_be_kept_is_what_stands_in_its_place(appended):
    assert read_letter(on_the_log(appended), RECORD).original == RECORD


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (None, "no longer at snowbus.events/3@42"),
        (RECORD._replace(timestamp=1), "another record is at snowbus.events/3@42 now"),
    ],
)
def test_a_record_that_is_gone_is_missing(found, reason):
    gone = read_letter(on_the_log(dead_record_without_value(RECORD, DEATH)), found)
    assert gone.original is None
    assert reason in gone.missing
    assert why_not(gone) == gone.missing
    assert in_full(gone, "dead")["missing"] == gone.missing
    assert (gone.origin, summary(gone, "dead")["offset"]) == (("snowbus.events", 3, 42), 42)


def test_a_record_that_died_as_a_copy_comes_from_where_its_original_stands():
    copy = on_the_log(retry_record(RECORD, group="collector"), topic=RETRY_TOPIC, offset=9)
    death = Death("400", RETRY_TOPIC, 0, 9, "collector", 5)
    assert letter(death, copy).original == RECORD


headers = st.lists(
    st.tuples(
        st.sampled_from(
            [f"dead_{name}" for name in ("reason", "topic", "partition", "offset", "time", "attempts", "status")]
            + ["dead_group", "dead_without", "dead_timestamp", "retry_topic", "schema", "event", "app_id", "x"]
        ),
        st.sampled_from([b"", b"snowbus.retry", b"-1", b"99999999999999999999", b"a/b/c/d"]) | st.binary(max_size=12),
    ),
    max_size=8,
)
records = st.builds(
    Record,
    topic=st.just(DEAD_TOPIC),
    partition=st.integers(0, 3),
    offset=st.integers(0, 99),
    timestamp=st.integers(-1, 2**62),
    key=st.none() | st.binary(max_size=5),
    value=st.just(EVENT.value) | st.binary(max_size=40),
    headers=headers.map(tuple),
)


@given(records, st.none() | records)
def test_whatever_others_put_there_is_shown(record, found):
    odd = read_letter(record, found)
    for described in (summary(odd, "dead"), in_full(odd, "dead")):
        assert json.loads(dumps(described))["id"] == f"{record.partition}-{record.offset}"
    if not why_not(odd):
        assert odd.original is not None
        assert odd.death.group
        retry_record(odd.original, group=odd.death.group, dead_letter=record)
    Selection(group="g", reason="r", since=1, filter=parse_filter([("q", "x")])).wants(odd)


@pytest.mark.parametrize(
    ("selection", "wanted"),
    [
        (Selection(), True),
        (Selection(group="stock"), True),
        (Selection(group="prices"), False),
        (Selection(reason="keyerror"), True),
        (Selection(reason="timeout"), False),
        (Selection(since=DEATH.time), True),
        (Selection(since=DEATH.time + 1), False),
        (Selection(filter=parse_filter([("app_id", "shop"), ("user_id", "u-1")])), True),
        (Selection(filter=parse_filter([("app_id", "blog")])), False),
        (Selection(group="stock", reason="timeout"), False),
    ],
)
def test_letters_are_wanted_when_all_that_is_given_holds(selection, wanted):
    assert selection.wants(letter()) is wanted


@pytest.mark.parametrize(
    ("death", "reason"),
    [
        (Death("r", "snowbus.events", 3, 42, "", 5), "which group"),
        (Death("r", "", -1, -1, "stock", 5), "where it comes from"),
    ],
)
def test_a_letter_that_does_not_say_enough_cannot_be_retried(death, reason):
    assert reason in why_not(letter(death))


def copy_of(one, *, offset):
    return on_the_log(
        retry_record(one.original, group="stock", dead_letter=one.record), topic=RETRY_TOPIC, offset=offset
    )


@given(
    st.dictionaries(st.integers(0, 9), st.lists(st.integers(0, 30), max_size=3)),
    st.builds(Position, st.integers(0, 30), st.just(((31, 32),)) | st.just(())) | st.none(),
)
def test_a_letter_is_done_when_all_its_copies_are(by_letter, position):
    copies = Copies()
    letters = {offset: letter(offset=offset) for offset in range(10)}
    for offset, places in by_letter.items():
        for place in places:
            copies.add(copy_of(letters[offset], offset=place), position)
    for offset, one in letters.items():
        places = by_letter.get(offset, [])
        done = [position is not None and position.has_done(place) for place in places]
        assert copies.state_of(one) == ("dead" if not done else "done" if all(done) else "waiting")


def test_a_copy_is_of_no_letter_of_another_topic_nor_of_one_made_anew():
    copies = Copies()
    copies.add(copy_of(letter(), offset=1), None)
    assert copies.state_of(letter()) == "waiting"
    assert copies.state_of(read_letter(on_the_log(dead_record(RECORD, DEATH), topic="my.dead"))) == "dead"
    assert copies.state_of(letter(Death("r", "snowbus.events", 3, 42, "stock", DEATH.time + 1))) == "dead"
