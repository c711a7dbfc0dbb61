"""When a verification of live events is over; and the report as JUnit, whatever the events hold."""

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snowbus.consumers.verify import Verification, as_plan
from snowbus.consumers.verify.junit import junit_xml
from snowbus.consumers.verify.patience import ALL_READ, ALL_SEEN, TIME_IS_UP, Patience
from snowbus.consumers.verify.seen import Seen


def test_time_counts_from_when_all_that_was_there_has_come():
    patience = Patience(timeout=10, settle=2)
    assert patience.is_over(100, is_live=False, has_seen_all=False) == ""
    assert patience.is_over(150, is_live=True, has_seen_all=False) == ""
    assert patience.is_over(159, is_live=False, has_seen_all=False) == ""
    assert patience.is_over(160, is_live=True, has_seen_all=False) == TIME_IS_UP


def test_what_must_not_come_is_waited_for_once_all_was_seen():
    patience = Patience(timeout=10, settle=2)
    assert patience.is_over(0, is_live=False, has_seen_all=True) == ""
    assert patience.is_over(5, is_live=True, has_seen_all=True) == ""
    assert patience.is_over(7, is_live=True, has_seen_all=True) == ALL_SEEN


@pytest.mark.parametrize(("timeout", "settle", "why"), [(0, 2, ALL_READ), (9, 0, ALL_SEEN), (0, 0, ALL_SEEN)])
def test_zero_does_not_wait(timeout, settle, why):
    assert Patience(timeout=timeout, settle=settle).is_over(1, is_live=True, has_seen_all=True) == why


@given(st.text(st.characters() | st.sampled_from('\x00\x1b\ud800\ufffe<&"]'), max_size=20))
def test_junit_holds_whatever_an_event_holds(text):
    plan = as_plan({"name": text or "plan", "events": [{"name": "a", "where": {"user_id": "x"}}], "never": ["debug"]})
    verification = Verification(plan)
    verification.see(Seen(event={"event": "a", "event_id": text, "user_id": text}))
    suites = ET.fromstring(junit_xml(verification.outcome(), seconds=1.5))  # noqa: S314 - our own
    (suite,) = suites
    assert (suite.get("tests"), suite.get("failures"), suite.get("time")) == ("2", "1", "1.500")
    wrong, never = suite
    assert [failure.get("type") for failure in wrong.iter("failure")] == ["wrong"]
    assert list(never) == []
