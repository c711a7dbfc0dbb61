"""The backoff doubles, is capped, and is drawn at random."""

from hypothesis import given
from hypothesis import strategies as st

from snowbus.bus.backoff import Backoff


def test_the_longest_wait_doubles_up_to_the_maximum() -> None:
    backoff = Backoff(0.5, maximum=6.0, draw=lambda: 1.0)
    assert [backoff.next_wait() for _ in range(6)] == [0.5, 1.0, 2.0, 4.0, 6.0, 6.0]


def test_a_success_begins_again() -> None:
    backoff = Backoff(0.5, maximum=6.0, draw=lambda: 1.0)
    backoff.next_wait()
    backoff.next_wait()
    backoff.reset()
    assert backoff.next_wait() == 0.5


def test_ten_thousand_failures_do_not_overflow() -> None:
    backoff = Backoff(0.5, maximum=6.0, draw=lambda: 1.0)
    assert {backoff.next_wait() for _ in range(10_000)} == {0.5, 1.0, 2.0, 4.0, 6.0}


@given(st.floats(0, 1), st.integers(0, 100))
def test_a_wait_is_drawn_from_nothing_to_the_longest(draw: float, failures: int) -> None:
    backoff = Backoff(1.0, maximum=30.0, draw=lambda: draw)
    for _ in range(failures):
        backoff.next_wait()
    assert backoff.next_wait() == draw * min(30.0, 2.0**failures)
