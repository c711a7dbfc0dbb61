"""Whatever an event holds, a terminal obeys none of it."""

import json

from hypothesis import given
from hypothesis import strategies as st

from snowbus.bus.json_text import dumps
from snowbus.cli.terminal import printable, printable_json

texts = st.text(st.characters() | st.sampled_from("\x1b\x07\x9b\u202e\x85\u2028\x7f"))


@given(texts)
def test_text_is_printable(text):
    assert printable(text).isprintable()
    assert not text.isprintable() or printable(text) == text


@given(st.recursive(texts | st.integers() | st.none(), lambda item: st.lists(item) | st.dictionaries(texts, item)))
def test_json_is_printable_and_means_the_same(value):
    line = printable_json(dumps(value))
    assert line.isprintable()
    assert json.loads(line) == value
