"""While what a handler needs is away there is one probe after each wait, and only a probe ends it."""

from snowbus.consumers.breaker import Breaker


def tripped(at=0.0, wait=10.0):
    breaker = Breaker()
    breaker.trip(None, "away", wait=wait, asked=False, now=at)
    return breaker


def test_a_closed_one_lets_every_call_through():
    breaker = Breaker()
    assert breaker.wait(0.0) == 0.0
    assert not breaker.begin_probe()
    assert not breaker.close(None)


def test_an_open_one_lets_one_probe_through_when_its_wait_is_over():
    breaker = tripped(at=100.0, wait=10.0)
    assert breaker.wait(103.0) == 7.0
    assert breaker.wait(111.0) == 0.0
    assert breaker.begin_probe()
    assert breaker.wait(112.0) is None
    breaker.end_probe()
    assert breaker.wait(112.0) == 0.0


def test_a_probe_that_is_answered_closes_it():
    breaker = tripped()
    outage = breaker.outage
    breaker.begin_probe()
    assert breaker.close(outage)
    breaker.end_probe()
    assert (breaker.wait(0.0), breaker.failures) == (0.0, 0)


def test_a_probe_that_fails_lengthens_the_outage():
    breaker = tripped(at=0.0, wait=10.0)
    breaker.begin_probe()
    assert breaker.trip(breaker.outage, "still away", wait=20.0, asked=False, now=15.0) == 35.0
    breaker.end_probe()
    assert (breaker.failures, breaker.outage.since, breaker.outage.reason) == (2, 0.0, "still away")


def test_calls_that_began_before_the_outage_change_nothing():
    """Eight calls that fail together are one failure, and one that is answered late does not end it."""
    breaker = tripped(at=0.0, wait=10.0)
    assert breaker.trip(None, "away too", wait=60.0, asked=False, now=1.0) == 10.0
    assert not breaker.close(None)
    assert breaker.failures == 1


def test_a_wait_that_was_asked_for_counts_whoever_was_told():
    breaker = tripped(at=0.0, wait=10.0)
    assert breaker.trip(None, "busy", wait=60.0, asked=True, now=1.0) == 61.0
    assert breaker.trip(None, "busy", wait=5.0, asked=True, now=2.0) == 61.0


def test_a_call_from_an_outage_that_is_over_does_not_end_the_next_one():
    breaker = tripped()
    first = breaker.outage
    breaker.close(first)
    breaker.trip(None, "away again", wait=1.0, asked=False, now=50.0)
    assert not breaker.close(first)
    assert breaker.outage.since == 50.0
