"""The parts of the stream that touch nothing: its URL, its messages, and what it remembers."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.gateway_double import TOPIC, event

from snowbus.bus import json_text
from snowbus.bus.errors import ConfigurationError, FilterError, StreamError
from snowbus.bus.event import TopicPartition
from snowbus.consumers import stream
from snowbus.consumers.streaming.address import read_address
from snowbus.consumers.streaming.memory import Ledger, Passed
from snowbus.consumers.streaming.messages import EventMessage, parse_message

P0, P1 = TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)


def url_of(url: str, filters: Mapping[str, Any] | None = None, **options: Any) -> str:
    asked = read_address(url, filters=filters or {}, **options)
    return asked.url(start=asked.start, wanted=asked.filter, deliveries="false").replace("deliveries=false", "d")


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("ws://localhost:8081/v1/events", "ws://localhost:8081/v1/events?d"),
        ("http://127.0.0.1:8081", "ws://127.0.0.1:8081/v1/events?d"),
        ("https://bus.example/", "wss://bus.example/v1/events?d"),
        ("wss://bus.example/team/v1/events", "wss://bus.example/team/v1/events?d"),
        ("ws://h?q=a+b&app_id=x&from=-5", "ws://h/v1/events?from=-5&app_id=x&q=a%20b&d"),
        ("ws://h?token=s3cret&policy=latest&deliveries=false", "ws://h/v1/events?d&policy=latest"),
    ],
)
def test_a_url_becomes_that_of_a_subscription(address: str, url: str) -> None:
    assert url_of(address) == url


def test_filters_are_one_value_or_several() -> None:
    assert url_of("ws://h", {"app_id": ["b", "a"], "valid": True, "q": "é&"}) == (
        "ws://h/v1/events?app_id=a&app_id=b&q=%C3%A9%26&valid=true&d"
    )


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("localhost:8081", {}, "not the URL of a gateway; write ws://HOST:8081/v1/events"),
        ("ws://h:port", {}, "is not a URL"),
        ("ws://h#x", {}, "what follows the #"),
        ("ws://h?from=-1", {"start": "-2"}, "from: it is given twice"),
        ("ws://h?token=a", {"token": "b"}, "token: it is given in the URL and beside it"),
        ("ws://h?app_id=a", {"app_id": "b"}, "app_id: it is given in the URL and beside it"),
        ("ws://h?deliveries=true", {}, "give on_deliveries"),
        ("ws://h", {"policy": "hurry"}, "policy='hurry': it is one of pause, sample, latest, disconnect"),
        ("ws://h", {"policy": "latest", "group": "g"}, "policy: a group has none"),
        ("ws://h", {"group": ""}, "group: it is empty"),
        ("ws://h", {"max_in_flight": 5}, "max_in_flight: it is for a group"),
        ("ws://h", {"group": "g", "max_in_flight": 0}, "max_in_flight=0: it is a number above 0"),
        ("ws://h", {"group": "g", "ack_timeout": float("inf")}, "ack_timeout=inf: it is a number above 0"),
        ("ws://h", {"group": "g", "on_deliveries": print}, "on_deliveries: a group is not told of deliveries"),
        ("ws://h", {"acks": "often"}, "acks='often': it is auto or manual"),
        ("ws://h", {"silence": 0}, "silence=0: it is a number of seconds above 0"),
    ],
)
def test_what_cannot_work_fails_before_anything_is_connected(url: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        stream(url, **options)
    assert message in str(caught.value)


@pytest.mark.parametrize("filters", [{"colour": "red"}, {"app_id": 5}, {"app_id": [None]}, {"platform": "toaster"}])
def test_a_filter_that_is_none_names_itself(filters: dict[str, Any]) -> None:
    with pytest.raises(FilterError) as caught:
        stream("ws://h", **filters)
    assert caught.value.parameter in filters


@pytest.mark.parametrize("text", ["", "[]", "{}", "nonsense", '{"type": 1}', '{"type": "event", "cursor": "c"}'])
def test_text_that_is_no_message_is_an_error_that_shows_it(text: str) -> None:
    with pytest.raises(StreamError) as caught:
        parse_message(text)
    assert text in str(caught.value)


def test_members_of_a_newer_gateway_are_left_out() -> None:
    found = parse_message(json_text.dumps({**event(3), "colour": "red"}))
    assert isinstance(found, EventMessage)
    assert found.topic_partition == P0


def test_an_event_gives_its_data_and_one_that_has_none_gives_none() -> None:
    added = {"event_name": "add_to_cart", "unstruct_event_com_acme_add_to_cart_1": {"sku": "a"}}
    found = [parse_message(json_text.dumps(message)) for message in (event(0, event=added), event(1))]
    assert [message.data for message in found if isinstance(message, EventMessage)] == [{"sku": "a"}, None]


@given(st.lists(st.integers(0, 1), max_size=60), st.data())
def test_whatever_a_new_connection_repeats_each_event_is_new_once_and_none_is_lost(
    order: list[int], data: st.DataObject
) -> None:
    """Each connection begins at or before the place where the one before it ended."""
    partitions = (P0, P1)
    events = [(partitions[which], order[:place].count(which)) for place, which in enumerate(order)]
    passed = Passed()
    found = []
    at = 0
    while at < len(events):
        until = data.draw(st.integers(at + 1, len(events)))
        for partition, offset in events[data.draw(st.integers(0, at)) : until]:
            if passed.is_new(partition, offset):
                found.append((partition, offset))
        at = until
        passed.reconnect()
    assert found == events


def test_after_a_gap_a_partition_may_begin_anew_and_the_others_do_not() -> None:
    passed = Passed()
    for partition in (P0, P1):
        assert passed.is_new(partition, 7)
    passed.reconnect()
    passed.skip(P0, 0)
    assert [passed.is_new(P0, 0), passed.is_new(P0, 7), passed.is_new(P1, 7)] == [True, True, False]


def test_a_ledger_remembers_no_more_than_it_may() -> None:
    ledger = Ledger(most=3)
    for offset in range(5):
        assert ledger.is_new(1, f"c{offset}", (P0, offset))
        ledger.ack(1, f"c{offset}", only=True)
    assert [ledger.is_new(2, f"c{offset}", (P0, offset)) for offset in range(5)] == [True, True, False, False, False]
    for offset in range(9):
        ledger.is_new(3, f"c{offset}", (P0, offset))
    assert [offset for offset in range(9) if ledger.is_given(3, f"c{offset}")] == [6, 7, 8]


def test_an_acknowledgement_of_an_earlier_connection_covers_what_that_one_gave() -> None:
    ledger = Ledger()
    for connection, offset in ((1, 0), (1, 1), (2, 2), (2, 0)):
        assert ledger.is_new(connection, f"c{offset}", (P0, offset))
    ledger.ack(1, "c1", only=False)
    assert [ledger.is_given(1, "c0"), ledger.is_given(1, "c1"), ledger.is_given(2, "c2")] == [False, False, True]
    ledger.ack(1, "c9", only=False)  # nobody knows it
    assert ledger.is_given(2, "c2")
