"""The number of calls at once grows while they stay quick, and shrinks when they do not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snowbus.bus.errors import ConfigurationError
from snowbus.consumers import Adaptive
from snowbus.consumers.adaptive import Limit


class Server:
    """Answers a call in `seconds`, and as much later as there are more than `places` calls at once."""

    def __init__(self, limit, *, seconds, places=1_000):
        self.limit = limit
        self.seconds = seconds
        self.places = places
        self.now = 0.0

    def rounds(self, count, *, overloaded=False, in_use=None):
        """So many times, as many calls as there may be; returns how many that was in the last rounds, at most."""
        seen = []
        for _ in range(count):
            calls = self.limit.now
            seen.append(calls)
            seconds = self.seconds * max(1.0, calls / self.places)
            self.now += seconds
            for _ in range(calls):
                self.limit.ended(seconds, in_use=in_use or self.limit.now, overloaded=overloaded, now=self.now)
        return max([*seen[-3:], self.limit.now])


def test_it_grows_to_its_bound_while_calls_stay_quick():
    limit = Limit(Adaptive(64))
    Server(limit, seconds=0.1).rounds(8)
    assert limit.now == 64


def test_it_does_not_grow_while_places_are_free():
    limit = Limit(Adaptive(64))
    Server(limit, seconds=0.1).rounds(50, in_use=1)
    assert limit.now == 4


def test_a_server_that_gets_slower_with_more_is_not_given_more():
    limit = Limit(Adaptive(500))
    assert 10 <= Server(limit, seconds=0.1, places=10).rounds(200) <= 60


def test_calls_that_become_slow_cost_places_until_they_are_quick_again():
    limit = Limit(Adaptive(64))
    server = Server(limit, seconds=0.05)
    server.rounds(10)
    server.seconds = 1.0
    server.rounds(8)
    assert limit.now < 40
    server.seconds = 0.05
    assert server.rounds(200) == 64


def test_what_is_slow_for_good_is_the_new_measure():
    limit = Limit(Adaptive(64))
    server = Server(limit, seconds=0.05)
    server.rounds(10)
    server.seconds = 1.0
    assert server.rounds(400) == 64


def test_calls_that_are_overloaded_together_halve_it_once():
    limit = Limit(Adaptive(64))
    server = Server(limit, seconds=0.1)
    server.rounds(8)
    server.rounds(1, overloaded=True)
    assert limit.now == 32
    server.rounds(20, overloaded=True)
    assert limit.now == 1


@given(
    most=st.integers(1, 300),
    calls=st.lists(st.tuples(st.floats(0, 100), st.integers(1, 300), st.booleans(), st.floats(0, 20))),
)
def test_it_stays_between_one_and_its_bound(most, calls):
    limit = Limit(Adaptive(most))
    now = 0.0
    for seconds, in_use, overloaded, passed in calls:
        now += passed
        limit.ended(seconds, in_use=in_use, overloaded=overloaded, now=now)
        assert 1 <= limit.now <= most


@pytest.mark.parametrize("most", [0, -1, 1.5, True, "8"])
def test_a_bound_that_is_none_is_refused(most):
    with pytest.raises(ConfigurationError, match="whole number"):
        Adaptive(most)
