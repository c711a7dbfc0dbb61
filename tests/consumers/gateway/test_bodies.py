"""Bodies that readers of history share."""

from snowbus.bus.event import EVENTS_TOPIC, Record
from snowbus.consumers.gateway.bodies import Bodies
from snowbus.consumers.masking import Mask
from snowbus.consumers.reading import Reading


def reading(offset, *, value=b"", size=0):
    return Reading(Record(EVENTS_TOPIC, 0, offset, 1, None, value or b"%d" % offset + b"x" * size, ()))


def test_what_was_made_for_one_is_given_to_the_next():
    bodies = Bodies()
    assert bodies.of(reading(1), None) == reading(1).body()
    assert bodies.of(reading(1), None) is bodies.of(reading(1), None)


def test_each_mask_and_each_record_at_a_place_has_its_own():
    bodies, mask = Bodies(), Mask(frozenset({"user_id"}), ())
    assert bodies.of(reading(1), mask) is bodies.of(reading(1), mask)
    assert bodies.of(reading(1), mask) is not bodies.of(reading(1), None)
    assert bodies.of(reading(1, value=b"of a log made anew"), None) is not bodies.of(reading(1), None)


def test_the_oldest_are_given_up_when_they_are_too_large_together():
    bodies = Bodies(max_bytes=100_000)
    first, last = bodies.of(reading(1), None), [bodies.of(reading(number, size=3000), None) for number in range(2, 60)]
    assert bodies.of(reading(59, size=3000), None) is last[-1]
    assert bodies.of(reading(1), None) is not first
    assert bodies.of(reading(99, size=200_000), None) == reading(99, size=200_000).body()
