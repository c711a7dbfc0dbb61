"""JSON text in and out, without loss."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snowbus.bus.errors import JsonError
from snowbus.bus.json_text import dump_bytes, dumps, loads

any_text = st.text(st.characters(codec=None, exclude_categories=()))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | any_text,
    lambda inner: st.lists(inner) | st.dictionaries(any_text, inner),
)


@given(values)
def test_what_goes_in_comes_out_equal(value):
    """Lone surrogates, integers of any size and every finite float survive."""
    assert loads(dumps(value)) == value
    assert loads(dump_bytes(value).decode()) == value


@given(values)
def test_the_standard_library_reads_what_we_write(value):
    assert json.loads(dumps(value)) == value


@given(st.text() | st.text('[]{}:,0123456789eE+-."\\\\ultrafalsn '))
def test_any_text_is_a_value_or_refused_as_not_json(text):
    try:
        value = loads(text)
    except JsonError as error:
        assert str(error)
    else:
        assert loads(dumps(value)) == value


def test_an_integer_beyond_64_bits_keeps_its_digits():
    assert loads("[18446744073709551616]") == [18446744073709551616]


def test_a_number_that_no_float_holds_comes_out_as_its_digits():
    assert loads("[1e999]") == ["1e999"]
    assert loads("9" * 5000) == "9" * 5000


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "-Infinity", "", "{", "nul", "[1,]", "[" * 100_000])
def test_what_is_not_json_is_refused(text):
    with pytest.raises(JsonError):
        loads(text)


def test_of_duplicate_keys_the_last_one_counts():
    assert loads('{"e":"pv","e":"se"}') == {"e": "se"}
