"""What a URL asks for, and what is refused with a reason."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snowbus.bus.errors import FilterError
from snowbus.bus.event import TopicPartition
from snowbus.bus.filters import PARAMETERS
from snowbus.bus.start import Earliest, Last, Latest, Resume, Since, Start
from snowbus.consumers.gateway.subscription import GroupTerms, parse_subscription, query_pairs

NOW = 1_795_000_000_000
NOON = round(datetime(2024, 2, 29, 12, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("query", "start"),
    [
        ("", Latest()),
        ("from=", Latest()),
        ("from=latest", Latest()),
        ("from=earliest", Earliest()),
        ("from=-1", Last(1)),
        ("from=-100000", Last(100_000)),
        ("from=2024-02-29T12:00:00Z", Since(NOON)),
        ("from=2024-02-29T12:00:00.250Z", Since(NOON + 250)),
        ("from=2024-02-29T12:00:00", Since(NOON)),
        ("from=2024-02-29T14:00:00%2B02:00", Since(NOON)),
        ("from=2024-02-29T14:00:00+02:00", Since(NOON)),
        ("from=2024-02-29T14:00:00+0200", Since(NOON)),
        ("from=2024-02-29%2012:00", Since(NOON)),
        ("from=2024-02-29", Since(NOON - 12 * 3_600_000)),
        ("from=1950-01-01", Since(0)),
        ("from=90s", Since(NOW - 90_000)),
        ("from=2h", Since(NOW - 7_200_000)),
        ("from=999999999d", Since(0)),
        (
            "from=snowbus.events~0.120~1.98",
            Resume({TopicPartition("snowbus.events", 0): 120, TopicPartition("snowbus.events", 1): 98}),
        ),
    ],
)
def test_each_way_to_say_where_to_start(query: str, start: Start) -> None:
    assert parse_subscription(query_pairs(query), now=NOW).start == start


def test_the_subscription_is_shown_as_it_was_understood() -> None:
    asked = "from=2024-02-29T14:00:00%2B02:00&app_id=shop&app_id=blog&app_id=shop&valid=true"
    assert parse_subscription(query_pairs(asked), now=NOW).as_json() == {
        "from": "2024-02-29T12:00:00.000Z",
        "filters": {"app_id": ["blog", "shop"], "valid": ["true"]},
        "deliveries": True,
        "topics": ["snowbus.events"],
        "policy": "pause",
        "masked": [],
    }
    for text in ("latest", "earliest", "-20", "snowbus.events~0.120~1.98"):
        assert parse_subscription([("from", text)], now=NOW).as_json()["from"] == text


@pytest.mark.parametrize(
    ("query", "wanted", "since", "shown"),
    [
        ("", True, None, True),
        ("deliveries=", True, None, True),
        ("deliveries=true", True, None, True),
        ("deliveries=false", False, None, False),
        ("deliveries=2024-02-29T14:00:00%2B02:00", True, NOON, "2024-02-29T12:00:00.000Z"),
    ],
)
def test_whether_deliveries_are_told_and_since_when(
    query: str, wanted: bool, since: int | None, shown: bool | str
) -> None:
    subscription = parse_subscription(query_pairs(query), now=NOW)
    assert (subscription.deliveries, subscription.deliveries_since) == (wanted, since)
    assert subscription.as_json()["deliveries"] == shown


@pytest.mark.parametrize(
    ("query", "parameter", "reason"),
    [
        ("deliveries=yes", "deliveries", "none of true, false or an ISO time"),
        ("deliveries=true&deliveries=true", "deliveries", "twice"),
        ("from=yesterday", "from", "none of latest, earliest, -N, a time (ISO, or 90s, 15m, 2h, 7d ago) or a cursor"),
        ("from=0", "from", "none of"),
        ("from=-0", "from", "between -1 and -100000"),
        ("from=-100001", "from", "between -1 and -100000"),
        ("from=latest&from=latest", "from", "twice"),
        ("from=snowbus.events~x", "from", "not a cursor"),
        ("from=snowbus.bad~0.1", "from", "snowbus.bad"),
        ("color=red", "color", "unknown; parameters are from, deliveries, "),
        ("policy=drop", "policy", "none of pause, sample, latest, disconnect"),
        ("app_id=", "app_id", "is empty"),
        ("valid=yes", "valid", "neither true nor false"),
        ("schema=com.acme/cart", "schema", "not an Iglu URI"),
        ("q=%FF", "query", "not UTF-8"),
        ("&".join(f"app_id={number}" for number in range(201)), "query", "more than 200"),
    ],
)
def test_what_cannot_be_understood_is_refused_by_its_name(query: str, parameter: str, reason: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse_subscription(query_pairs(query), now=NOW)
    assert caught.value.parameter == parameter
    assert reason in caught.value.reason


names = st.sampled_from(["from", "deliveries", "token", *PARAMETERS]) | st.text(max_size=10)
values = st.sampled_from(["latest", "-5", "3m", "2024-02-29T12:00", "snowbus.events~0.1"]) | st.text(max_size=40)


@given(st.lists(st.tuples(names, values), max_size=5))
def test_parameters_are_understood_or_refused_and_never_break_anything(pairs: list[tuple[str, str]]) -> None:
    try:
        subscription = parse_subscription(pairs, now=NOW)
    except FilterError:
        return
    again = subscription.as_json()
    assert parse_subscription([("from", str(again["from"]))], now=NOW).start == subscription.start


@given(st.text(alphabet="fromq=&%+-0123456789abcdefT:~.;#?/\x00é", max_size=40))
def test_no_query_string_breaks_anything(query: str) -> None:
    try:
        parse_subscription(query_pairs(query), now=NOW)
    except FilterError as error:
        assert error.reason


def test_the_terms_of_a_group_are_understood_and_shown() -> None:
    asked = parse_subscription(query_pairs("group=orders&max_in_flight=20&ack_timeout=1.5&from=earliest"), now=NOW)
    assert asked.group == GroupTerms("orders", 20, 1.5)
    assert asked.deliveries is False
    shown = asked.as_json()
    assert (shown["group"], shown["max_in_flight"], shown["ack_timeout"]) == ("orders", 20, 1.5)
    assert parse_subscription(query_pairs("group=orders"), now=NOW).group == GroupTerms("orders", 100, 60.0)
    assert "group" not in parse_subscription([], now=NOW).as_json()


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("group=", "group"),
        ("group=%20", "group"),
        ("group=a%0Ab", "group"),
        (f"group={'a' * 201}", "group"),
        ("group=a&group=b", "group"),
        ("max_in_flight=5", "max_in_flight"),
        ("ack_timeout=5", "ack_timeout"),
        ("group=a&max_in_flight=0", "max_in_flight"),
        ("group=a&max_in_flight=-1", "max_in_flight"),
        ("group=a&max_in_flight=1.5", "max_in_flight"),
        ("group=a&max_in_flight=%C2%B2", "max_in_flight"),
        ("group=a&ack_timeout=0", "ack_timeout"),
        ("group=a&ack_timeout=nan", "ack_timeout"),
        ("group=a&ack_timeout=soon", "ack_timeout"),
        ("group=a&ack_timeout=86401", "ack_timeout"),
        ("group=a&policy=latest", "policy"),
        ("group=a&deliveries=true", "deliveries"),
        ("group=a&from=-10", "from"),
        ("group=a&from=1h", "from"),
        ("group=a&from=snowbus.events~0.1", "from"),
    ],
)
def test_wrong_terms_of_a_group_name_the_parameter(query: str, name: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse_subscription(query_pairs(query), now=NOW)
    assert caught.value.parameter == name
