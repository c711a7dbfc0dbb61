"""How much a reader may say."""

from hypothesis import given
from hypothesis import strategies as st

from snowbus.consumers.gateway.limits import TokenBucket


@given(st.integers(1, 10), st.lists(st.floats(0, 5), max_size=60))
def test_never_more_than_the_size_and_one_a_second(size: int, waits: list[float]) -> None:
    bucket = TokenBucket(size, now=100.0)
    now, taken = 100.0, 0
    for wait in waits:
        now += wait
        taken += bucket.take(now)
    assert taken <= size + (now - 100.0)


def test_all_at_once_then_one_a_second() -> None:
    bucket = TokenBucket(3, now=0.0)
    assert [bucket.take(0.0) for _ in range(5)] == [True, True, True, False, False]
    assert [bucket.take(1.0), bucket.take(1.5), bucket.take(2.0)] == [True, False, True]
