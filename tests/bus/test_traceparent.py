"""Traceparents: what is one, and how those of many events go in one header."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snowbus.bus.traceparent import is_sampled, join_traceparents, parse_traceparent, shared, split_traceparents

ONE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203331-00"


def test_one_is_taken_as_it_is():
    assert parse_traceparent(ONE) == ONE
    assert (is_sampled(ONE), is_sampled(OTHER), is_sampled("")) == (True, False, False)


def test_of_a_later_version_what_this_one_knows_is_taken():
    assert parse_traceparent(ONE.replace("00-", "cc-", 1) + "-what-ever") == ONE


@pytest.mark.parametrize(
    "text",
    [
        "",
        ONE + "\n",
        ONE + "-01",
        ONE.upper(),
        ONE[:-1],
        f" {ONE}",
        f"{ONE},{OTHER}",
        ONE.replace("00-", "ff-", 1),
        ONE.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
        ONE.replace("b7ad6b7169203331", "0" * 16),
        ONE.replace("7", "\u0667"),
        ONE.replace("00-", "cc-", 1) + "-" + "x" * 600,
    ],
)
def test_what_is_none_counts_as_none(text):
    assert parse_traceparent(text) == ""


def test_what_events_share():
    assert shared([ONE, ONE]) == ONE
    assert [shared(some) for some in ([], [""], [ONE, OTHER], [ONE, ""], ["", ONE])] == [""] * 5


@given(st.lists(st.sampled_from(["", ONE, OTHER])).filter(any))
def test_those_of_many_events_come_out_of_a_header_as_they_went_in(traceparents):
    assert split_traceparents(join_traceparents(traceparents)) == traceparents


@given(st.text() | st.text(";,0123456789-abcdef"))
def test_whatever_a_header_says_only_traceparents_come_out(text):
    assert all(each == "" or parse_traceparent(each) == each for each in split_traceparents(text))
