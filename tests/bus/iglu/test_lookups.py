"""The memory of look-ups: for how long what is remembered, and what is forgotten first."""

from snowbus.bus.iglu.lookups import Found, LookupMemory, NotFound, Unreachable, Unusable
from snowbus.bus.iglu.uri import IgluUri


class _Anything:
    def problems(self, _):
        return []


FOUND = Found(_Anything(), "R")
MISSING = NotFound(("R",))
AWAY = Unreachable("R: it is away")


def uri(number: int) -> IgluUri:
    return IgluUri("com.acme", "event", "jsonschema", 1, 0, number)


def test_a_schema_that_is_found_is_remembered_for_good_or_for_the_ttl():
    assert LookupMemory(size=5, ttl=None).put(uri(0), FOUND, now=10.0).until == float("inf")
    memory = LookupMemory(size=5, ttl=600)
    memory.put(uri(0), FOUND, now=10.0)
    assert memory.get(uri(0)) == (FOUND, 610.0, 0)
    assert memory.get(uri(1)) is None


def test_a_schema_that_is_not_found_is_asked_for_again_after_a_minute():
    memory = LookupMemory(size=5, ttl=None)
    assert memory.put(uri(0), MISSING, now=0.0).until == 60.0
    assert memory.put(uri(0), Unusable("R", "no schema"), now=0.0).until == 60.0
    assert LookupMemory(size=5, ttl=5).put(uri(0), MISSING, now=0.0).until == 5.0


def test_registries_that_are_away_are_asked_again_after_waits_that_double():
    memory = LookupMemory(size=5, ttl=None)
    waits = [memory.put(uri(0), AWAY, now=0.0).until for _ in range(8)]
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    memory.put(uri(0), MISSING, now=0.0)
    assert memory.put(uri(0), AWAY, now=0.0).until == 1.0


def test_what_was_known_stays_when_a_registry_goes_away():
    memory = LookupMemory(size=5, ttl=10)
    memory.put(uri(0), FOUND, now=0.0)
    assert memory.put(uri(0), AWAY, now=11.0) == (FOUND, 12.0, 1)
    memory.put(uri(1), MISSING, now=0.0)
    assert memory.put(uri(1), AWAY, now=11.0) == (MISSING, 12.0, 1)


def test_the_reason_told_is_that_of_the_last_failure():
    memory = LookupMemory(size=5, ttl=None)
    memory.put(uri(0), AWAY, now=0.0)
    later = Unreachable("R: it answers 500")
    assert memory.put(uri(0), later, now=1.0).lookup == later


def test_the_one_not_used_for_longest_is_forgotten_and_no_made_up_schema_pushes_one_out():
    memory = LookupMemory(size=2, ttl=None)
    memory.put(uri(0), FOUND, now=0.0)
    memory.put(uri(1), FOUND, now=0.0)
    memory.get(uri(0))
    memory.put(uri(2), FOUND, now=0.0)
    for number in range(100, 2_000):
        memory.put(uri(number), MISSING, now=0.0)
    assert [number for number in range(2_000) if memory.get(uri(number))] == [0, 2, *range(1_000, 2_000)]
