"""One try to deliver events: who is delivered, who is refused, and what the rest waits for."""

from hypothesis import given
from hypothesis import strategies as st
from support.aio import run

from snowbus.bus.collector.verdicts import Dead, Delivered, Denied, Retry, Split, Stop
from snowbus.producers.emitters.delivery import Delivery
from snowbus.producers.emitters.tracked import Tracked


class Destination:
    """Takes events by their kind: good, poison, denied, unreadable; after `lives` requests it is away."""

    system = name = "nowhere"

    def __init__(self, lives=10_000, most=5):
        self.taken = []
        self._lives = lives
        self._most = most

    def prepare(self, event):
        if event.payload["kind"] == "unreadable":
            raise ValueError("unreadable")
        return event

    def requests(self, items):
        full, rest = divmod(len(items), self._most)
        return [self._most] * full + ([rest] if rest else [])

    async def send(self, items):
        self._lives -= 1
        if self._lives < 0:
            return Retry("away", 3.0)
        kinds = {item.payload["kind"] for item in items}
        if "denied" in kinds:
            return Denied("denied", 1)
        if "poison" in kinds:
            return Split("poison") if len(items) > 1 else Dead("poison", 400, "")
        self.taken += items
        return Delivered()


def deliver(kinds, destination):
    events = [Tracked(number, {"kind": kind}) for number, kind in enumerate(kinds)]
    delivery = Delivery(events, destination)
    return run(delivery.run()), [fate.refused for fate in delivery.fates]


KINDS = st.lists(st.sampled_from(["good", "good", "good", "poison", "denied", "unreadable"]), min_size=1, max_size=20)


@given(KINDS, st.integers(1, 7))
def test_each_event_has_the_fate_that_it_deserves(kinds, most):
    destination = Destination(most=most)
    wait, fates = deliver(kinds, destination)
    if "good" in kinds or "denied" not in kinds:
        assert wait is None
        assert fates == ["" if kind == "good" else kind for kind in kinds]
    else:
        assert wait == Stop("denied"), "where nothing is taken, a 403 is not about one event"
        assert fates == kinds[: kinds.index("denied")]
    assert [event.at for event in destination.taken] == [at for at, kind in enumerate(kinds) if kind == "good"]


@given(KINDS, st.integers(1, 7), st.integers(0, 10))
def test_an_outage_in_the_middle_leaves_the_rest_as_it_was(kinds, most, lives):
    """What has been taken is settled, and nothing that was not."""
    destination = Destination(lives, most)
    wait, fates = deliver(kinds, destination)
    if wait != Retry("away", 3.0):
        return
    known = {at for at, fate in enumerate(fates) if not fate}
    assert known == {event.at for event in destination.taken}
    assert all(fate == kind for fate, kind in zip(fates, kinds, strict=False) if fate)
