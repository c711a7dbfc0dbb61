"""What is written into payloads, and which events go into one request."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.collector_ledger import PARAMETERS

from snowbus.bus import json_text
from snowbus.bus.collector.batches import Outgoing, Refused, body_of, prepare
from snowbus.bus.envelope import encode_event
from snowbus.bus.event import Event, Record
from snowbus.bus.payload import PAYLOAD_DATA_SCHEMA
from snowbus.bus.tracker_protocol import PAYLOAD_DATA_CODES

ACCEPTED = 1_700_000_000_000
HOUR = 3_600_000
MINIMAL = {"tv": "py-1.0", "p": "srv", "e": "pv"}


def record_of(payload: Any, *, source: dict[str, str] | None = None, offset: int = 0) -> Record:
    text = payload if isinstance(payload, str) else json_text.dumps(payload)
    value = encode_event(Event("e1", ACCEPTED, text, source or {}))
    return Record("snowbus.events", 0, offset, ACCEPTED, b"k", value, ())


def sent(payload: Any, *, source: dict[str, str] | None = None, now: int = ACCEPTED + HOUR) -> dict[str, str]:
    """The one event in a body that is sent at `now`."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({name for name, _ in pairs}) == len(pairs), pairs
        return dict(pairs)

    outgoing = prepare(record_of(payload, source=source))
    assert isinstance(outgoing, Outgoing), outgoing
    body = json.loads(body_of([outgoing], now), object_pairs_hook=unique)
    assert body["schema"] == PAYLOAD_DATA_SCHEMA
    (value,) = body["data"]
    return value  # type: ignore[no-any-return]


def derived_tstamp(payload: dict[str, str], collector_tstamp: int) -> int:
    """As enrich computes it (EventEnrichments.getDerivedTimestamp), less `ttm`."""
    if "stm" in payload and "dtm" in payload and int(payload["dtm"]) < int(payload["stm"]):
        return collector_tstamp - (int(payload["stm"]) - int(payload["dtm"]))
    return collector_tstamp


# stm


@pytest.mark.parametrize("skew", [0, -86_400_000, 86_400_000])
def test_an_hour_of_lag_does_not_change_derived_tstamp(skew: int) -> None:
    created = ACCEPTED + skew - 5_000
    payload = {**MINIMAL, "dtm": str(created), "stm": str(ACCEPTED + skew - 200)}
    late = sent(payload)
    assert late["stm"] == str(ACCEPTED + skew - 200 + HOUR)
    assert derived_tstamp(late, ACCEPTED + HOUR) == derived_tstamp(payload, ACCEPTED)


times = st.integers(0, 4_000_000_000_000)


@given(dtm=times, stm=times | st.none(), lag=st.integers(0, 10 * 86_400_000))
def test_derived_tstamp_is_what_it_would_have_been_without_us(dtm: int, stm: int | None, lag: int) -> None:
    payload = {**MINIMAL, "dtm": str(dtm)} | ({} if stm is None else {"stm": str(stm)})
    late = sent(payload, now=ACCEPTED + lag)
    assert derived_tstamp(late, ACCEPTED + lag) == derived_tstamp(payload, ACCEPTED)


def test_each_send_has_its_own_stm() -> None:
    outgoing = prepare(record_of({**MINIMAL, "stm": "1000", "dtm": "900"}))
    assert isinstance(outgoing, Outgoing)
    stms = [json.loads(body_of([outgoing], ACCEPTED + lag))["data"][0]["stm"] for lag in (0, 10, 2_000)]
    assert stms == ["1000", "1010", "3000"]


def test_a_clock_of_ours_that_went_back_adds_nothing() -> None:
    assert sent({**MINIMAL, "stm": "1000"}, now=ACCEPTED - 5)["stm"] == "1000"


def test_without_dtm_and_stm_none_is_made_up() -> None:
    assert "stm" not in sent(MINIMAL)


@pytest.mark.parametrize("stm", ["", "soon", "-5", "1.5", "١٢", "9" * 30])
def test_an_stm_that_is_no_time_is_left_for_enrich_to_refuse(stm: str) -> None:
    assert sent({**MINIMAL, "dtm": "5", "stm": stm})["stm"] == stm


def test_everything_but_stm_is_equal_and_in_order() -> None:
    payload = {
        **MINIMAL,
        "stm": "1700000000000",
        "ue_pr": '{ "stm":"5", "n":1.0, "u":"caf\\u00e9 \\/ é" }',
        "page": " é\n",
    }
    assert list(sent(payload).items()) == list({**payload, "stm": "1700003600000"}.items())


@pytest.mark.parametrize(
    "text",
    [
        '{"tv":"1","p":"srv","e":"pv","stm" : "7"}',
        '{"tv":"1","p":"srv","e":"pv","stm":"5","stm":"7"}',
        '{"tv":"1","p":"srv","e":"pv","s\\u0074m":"7"}',
        '{"tv":"1","p":"srv","e":"pv","x\\"stm":"7","stm":"7"}',
        '{"stm":"7","tv":"1","p":"srv","e":"pv","x":"stm"}',
        ' {"stm":"7","tv":"1","p":"srv","e":"pv"}\n',
        '{"tv":"1","p":"srv","e":"pv","x":",\\"stm\\":\\"7\\"","stm":"7"}',
    ],
)
def test_stm_is_found_however_it_is_written(text: str) -> None:
    payload = json.loads(text)
    assert sent(text) == {**payload, "stm": str(7 + HOUR)}


# What the client's own request would have told


SOURCE = {
    "ip": "203.0.113.7",
    "user_agent": 'Mozilla/5.0 "quoted"',
    "network_userid": "7c2a8c61-6b4e-4f2c-9d0c-0f6f1b6f0a11",
    "referer": "https://shop.example/cart?x=ü",
    "accept_language": "fi",
    "host": "bus.example",
}


def test_what_the_request_told_of_the_client_goes_into_the_payload() -> None:
    assert sent(MINIMAL, source=SOURCE) == {
        **MINIMAL,
        "ip": SOURCE["ip"],
        "ua": SOURCE["user_agent"],
        "url": SOURCE["referer"],
        "tnuid": SOURCE["network_userid"],
    }


@pytest.mark.parametrize("code", ["ip", "ua", "url", "tnuid"])
@pytest.mark.parametrize("value", ["own", ""])
def test_what_the_payload_has_wins(code: str, value: str) -> None:
    assert sent({**MINIMAL, code: value}, source=SOURCE)[code] == value


def test_a_network_userid_in_the_payload_wins_over_the_cookie() -> None:
    assert "tnuid" not in sent({**MINIMAL, "nuid": "own"}, source=SOURCE)


def test_stm_and_client_facts_stand_side_by_side() -> None:
    for times_sent in ({}, {"dtm": "5"}, {"stm": "7"}, {"dtm": "5", "stm": "7"}):
        late = sent({**MINIMAL, **times_sent}, source=SOURCE)
        assert late["ip"] == SOURCE["ip"]
        assert ("stm" in late) == bool(times_sent)


# What is never sent


@pytest.mark.parametrize("code", ["tv", "p", "e"])
@pytest.mark.parametrize("value", [None, ""])
def test_an_event_without_what_payload_data_requires_is_refused(code: str, value: str | None) -> None:
    payload = {name: text for name, text in MINIMAL.items() if name != code} | ({code: value} if value == "" else {})
    refused = prepare(record_of(payload))
    assert isinstance(refused, Refused)
    assert code in refused.reason


@pytest.mark.parametrize("payload", ["", "[]", "{", '"x"', '{"e":1}', '{"tv":"1","p":"srv","e":"pv","x":{}}'])
def test_a_payload_that_is_no_flat_object_of_strings_is_refused(payload: str) -> None:
    assert isinstance(prepare(record_of(payload)), Refused)


def test_bytes_that_are_no_event_are_refused() -> None:
    refused = prepare(record_of(MINIMAL)._replace(value=b"{}"))
    assert isinstance(refused, Refused)
    assert "not an event" in refused.reason


@given(cut=st.integers(0, 200), junk=st.binary(max_size=50))
def test_no_bytes_raise(cut: int, junk: bytes) -> None:
    record = record_of(MINIMAL, source=SOURCE)
    prepare(record._replace(value=record.value[:cut] + junk))


# A body


def test_an_event_that_would_fail_its_neighbours_goes_alone() -> None:
    alone = [prepare(record_of(MINIMAL | extra)) for extra in ({}, {"colour": "red"})]
    assert [each.alone for each in alone if isinstance(each, Outgoing)] == [False, True]


def test_the_parameters_that_share_a_request_are_those_of_the_schema() -> None:
    assert PAYLOAD_DATA_CODES == PARAMETERS


def test_a_body_keeps_every_event_in_its_place() -> None:
    events = [prepare(record_of({**MINIMAL, "eid": str(number)})) for number in range(40)]
    body = body_of([each for each in events if isinstance(each, Outgoing)], ACCEPTED)
    assert [payload["eid"] for payload in json.loads(body)["data"]] == [str(number) for number in range(40)]


text = st.text(st.characters(exclude_categories=()), max_size=20)


@given(payload=st.dictionaries(text, text, max_size=5), dtm=text, stm=text)
def test_hostile_payloads_go_on_as_they_are(payload: dict[str, str], dtm: str, stm: str) -> None:
    hostile = {**payload, "dtm": dtm, "stm": stm, **MINIMAL}
    late = sent(hostile, now=ACCEPTED)
    assert {**late, "stm": stm} == hostile
