"""What each answer of a collector means."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snowbus.bus.collector.verdicts import (
    Answer,
    Dead,
    Delivered,
    Denied,
    NoAnswer,
    Retry,
    Split,
    Stop,
    Verdict,
    judge,
    retry_after_seconds,
)

NOW = 1_700_000_000.0

DELIVERED = (200, 201, 202, 204, 299)
STOP = (300, 301, 302, 303, 304, 307, 308, 399, 401, 404, 405, 407, 411, 414, 417, 421, 426, 431, 501, 505, 511)
RETRY = (0, 100, 101, 103, 199, 408, 425, 429, 500, 502, 503, 504, 507, 520, 529, 599, 600, 999)
GUILTY = (400, 402, 406, 409, 410, 412, 413, 415, 416, 418, 422, 423, 424, 428, 451, 499)


def judged(status: int, *, events: int = 10) -> Verdict:
    return judge(Answer(status, "", "because"), events=events, now=NOW)


@pytest.mark.parametrize("status", DELIVERED)
def test_success_is_delivered(status: int) -> None:
    assert judged(status) == Delivered()


@pytest.mark.parametrize("status", STOP)
@pytest.mark.parametrize("events", [1, 10])
def test_configuration_stops_and_kills_no_event(status: int, events: int) -> None:
    verdict = judged(status, events=events)
    assert isinstance(verdict, Stop)
    assert str(status) in verdict.reason


@pytest.mark.parametrize("status", RETRY)
@pytest.mark.parametrize("events", [1, 10])
def test_what_may_heal_is_tried_again(status: int, events: int) -> None:
    assert judged(status, events=events) == Retry(f"HTTP {status}")


@pytest.mark.parametrize("status", GUILTY)
def test_what_will_not_heal_is_looked_for_and_dies_alone(status: int) -> None:
    assert isinstance(judged(status, events=2), Split)
    assert judged(status, events=1) == Dead(f"the collector answered {status}", status, "because")


def test_what_is_forbidden_may_be_the_event_or_all_that_is_sent() -> None:
    reason = "HTTP 403: it forbids us to send this"
    assert judged(403, events=2) == Denied(reason, 0)
    assert judged(403, events=1) == Denied(reason, 1)
    assert judge(Answer(403), events=1, denials=4, now=NOW) == Denied(reason, 5)


@pytest.mark.parametrize("events", [1, 10])
def test_no_answer_is_tried_again(events: int) -> None:
    assert judge(NoAnswer("refused"), events=events, now=NOW) == Retry("refused")


@pytest.mark.parametrize("events", [1, 10])
def test_no_answer_that_waiting_will_not_heal_stops(events: int) -> None:
    outcome = NoAnswer("a certificate for another name", configuration=True)
    assert judge(outcome, events=events, now=NOW) == Stop("a certificate for another name")


@given(st.integers(0, 999), st.integers(1, 500))
def test_only_a_4xx_kills_and_only_an_event_alone(status: int, events: int) -> None:
    verdict = judged(status, events=events)
    assert isinstance(verdict, Delivered) == (200 <= status <= 299)
    if isinstance(verdict, Dead | Split):
        assert 400 <= status <= 499
        assert isinstance(verdict, Dead) == (events == 1)


def test_what_is_too_large_is_split_until_it_stands_alone() -> None:
    assert judged(413, events=2) == Split("the collector answered 413")
    assert judged(413, events=1) == Dead("the collector answered 413", 413, "because")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_a_collector_that_says_when_is_obeyed(status: int) -> None:
    assert judge(Answer(status, "7"), events=1, now=NOW) == Retry(f"HTTP {status}", 7.0)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 12 ", 12.0),
        (format_datetime(datetime.fromtimestamp(NOW + 30, UTC), usegmt=True), 30.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 0.0),
        ("Sun Nov  6 08:49:37 1994", 0.0),
        ("86400", 3600.0),
        ("9" * 400, 3600.0),
        (format_datetime(datetime.fromtimestamp(NOW + 1e6, UTC), usegmt=True), 3600.0),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("١٢", None),
        ("Mon, 99 Foo 2024 99:99:99 GMT", None),
        ("1 Jan 99999999999999999999 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    assert retry_after_seconds(value, NOW) == seconds


@given(st.text(max_size=60) | st.from_regex(r"\w{3}, \d{1,3} \w{3} -?\d{1,6} \d\d:\d\d:\d\d [+-]?\w{1,6}"))
def test_no_retry_after_raises(value: str) -> None:
    seconds = retry_after_seconds(value, NOW)
    assert seconds is None or 0 <= seconds <= 3600
