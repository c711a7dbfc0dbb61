"""A record is shown to each attempt as it stands on the log."""

from snowbus.bus.event import Record as BusRecord
from snowbus.consumers.record import Record
from snowbus.consumers.testing import event

ADD = "iglu:com.acme/add_to_cart/jsonschema/1-0-0"
USER = "iglu:com.acme/user/jsonschema/1-0-0"


APPENDED = event(schema=ADD, data={"sku": "a"}, entities=[(USER, {"age": 5})], user_id="ann")


def record():
    return Record(BusRecord("snowbus.events", 0, 7, 1_000, APPENDED.key, APPENDED.value, APPENDED.headers))


def views(shown):
    return {**shown.event}, {**shown.data}, shown.entities(USER), dict(shown.payload), dict(shown.headers), shown.schema


def test_what_a_handler_changed_is_as_it_was_once_the_views_are_forgotten():
    shown = record()
    before = views(record())
    shown.event.clear()
    shown.data.pop("sku")
    shown.entity(USER)["age"] = 6
    shown.headers.clear()
    shown.forget_views()
    assert views(shown) == before


def test_what_was_tried_stays_known_when_the_views_are_forgotten():
    shown = record()
    shown.attempt, shown.failures = 2, 1
    assert shown.event["user_id"] == "ann"
    shown.forget_views()
    assert (shown.attempt, shown.failures, shown.offset) == (2, 1, 7)


def test_a_view_is_made_once_for_one_attempt():
    shown = record()
    assert shown.event is shown.event
