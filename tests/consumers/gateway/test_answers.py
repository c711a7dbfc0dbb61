"""What clients of a group say, and the cursors that they name messages by."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snowbus.bus.event import TopicPartition
from snowbus.consumers.gateway.answers import Ack, AnswerError, MessageCursors, Nack, parse_answer

CURSORS = MessageCursors("9f8a")
C = CURSORS.encode(TopicPartition("snowbus.events", 3), 41, 17).decode()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("message", "meaning"),
    [
        ({"type": "ack", "cursor": C}, Ack(17)),
        ({"type": "ack", "cursor": C, "only": False}, Ack(17)),
        ({"type": "ack", "cursor": C, "only": True}, Ack(17, only=True)),
        ({"type": "nack", "cursor": C}, Nack(17)),
        ({"type": "nack", "cursor": C, "delay": 2.5}, Nack(17, 2.5)),
        ({"type": "nack", "cursor": C, "delay": 604_800}, Nack(17, 604_800.0)),
    ],
)
def test_each_answer(message: dict[str, Any], meaning: Ack | Nack) -> None:
    assert parse_answer(json.dumps(message), CURSORS) == meaning
    assert parse_answer(json.dumps(message).encode(), CURSORS) == meaning


@given(st.from_regex(r"[abc_-][abc._-]{0,19}", fullmatch=True), st.integers(0, 10**9 - 1), st.integers(0, 10**18 - 1))
def test_a_cursor_names_its_message(topic: str, partition: int, offset: int) -> None:
    cursor = CURSORS.encode(TopicPartition(topic, partition), offset, 7).decode()
    assert CURSORS.decode(cursor) == 7
    with pytest.raises(AnswerError):
        MessageCursors("9f8b").decode(cursor)


@given(st.text() | st.binary() | JSON.map(json.dumps))
def test_whatever_is_said_is_told_what_is_wrong(text: str | bytes) -> None:
    with pytest.raises(AnswerError, match=r".+"):
        parse_answer(text, CURSORS)


@pytest.mark.parametrize("depth", [10, 990, 1_010, 5_000])
@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"type":', "}")])
def test_whatever_is_nested_however_deep_is_told_what_is_wrong(opened: str, closed: str, depth: int) -> None:
    with pytest.raises(AnswerError, match=r"type: it is neither|recursion"):
        parse_answer(f'{{"type":{opened * depth}1{closed * depth}}}', CURSORS)


@given(st.sampled_from(["ack", "nack"]), st.sampled_from(["cursor", "only", "delay", "x"]), JSON)
def test_a_wrong_member_is_named(kind: str, name: str, value: Any) -> None:
    try:
        parse_answer(json.dumps({"type": kind, "cursor": C, name: value}), CURSORS)
    except AnswerError as error:
        assert str(error).startswith(name)
    else:
        assert (kind, name) in (("ack", "only"), ("nack", "delay"))
