"""Cursors: text that says where a stream stands."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snowbus.bus.cursor import RunningCursor, decode_cursor, encode_cursor
from snowbus.bus.errors import CursorError
from snowbus.bus.event import TopicPartition, is_topic_name

topics = st.from_regex(r"[A-Za-z0-9._-]{1,20}", fullmatch=True).filter(is_topic_name)
partitions = st.builds(TopicPartition, topics, st.integers(0, 999_999_999))
offsets = st.integers(0, 10**18 - 1)
vectors = st.dictionaries(partitions, offsets, min_size=1, max_size=12)


@given(vectors)
def test_a_cursor_names_the_positions_that_it_was_made_of(positions: dict[TopicPartition, int]) -> None:
    assert decode_cursor(encode_cursor(positions)) == positions


@given(vectors)
def test_a_cursor_needs_no_escaping_in_a_url(positions: dict[TopicPartition, int]) -> None:
    assert re.fullmatch(r"[A-Za-z0-9._~-]+", encode_cursor(positions))


@given(vectors, st.lists(st.tuples(partitions, offsets), max_size=10))
def test_a_running_cursor_reads_as_one_made_at_once(
    positions: dict[TopicPartition, int], moves: list[tuple[TopicPartition, int]]
) -> None:
    running = RunningCursor(positions)
    expected = dict(positions)
    for partition, offset in moves:
        expected[partition] = offset
        assert running.advance(partition, offset).decode() == encode_cursor(expected)
    assert running.text.decode() == encode_cursor(expected)
    assert running.positions == expected


def test_a_cursor_looks_like_this() -> None:
    positions = {TopicPartition("snowbus.events", 1): 98, TopicPartition("snowbus.events", 0): 120}
    assert encode_cursor(positions) == "snowbus.events~0.120~1.98"
    both = encode_cursor({**positions, TopicPartition("snowbus.dead", 0): 3})
    assert both == "snowbus.dead~0.3~~snowbus.events~0.120~1.98"


@given(st.text(alphabet="ab.~0123456789\u0663-_ ", max_size=30) | st.text(max_size=50))
def test_other_text_is_refused_or_reads_as_itself(text: str) -> None:
    try:
        positions = decode_cursor(text)
    except CursorError:
        return
    assert decode_cursor(encode_cursor(positions)) == positions


@pytest.mark.parametrize(
    "text",
    [
        *("", "~", "events", "events~", "events~0", "events~0.", "events~00.1", "events~0.01", "events~0.1~0.2"),
        *("e v~0.1", "events~0.1~~", "events~0.1~~events~0.2", "events~-1.5", "events~0.\u0661", ".~0.1", "..~0.1"),
        f"events~0.{10**19}",
        "e~0.1" * 30_000,
    ],
)
def test_what_only_looks_like_a_cursor_is_refused(text: str) -> None:
    with pytest.raises(CursorError):
        decode_cursor(text)
