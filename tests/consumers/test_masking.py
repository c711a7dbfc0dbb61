"""What readers without the right to personal data get: nothing of it, in no place, and all the rest."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from snowbus.bus.canonical import decode
from snowbus.bus.envelope import encode_event, event_record
from snowbus.bus.errors import ConfigurationError
from snowbus.bus.event import Event, FieldError, Record
from snowbus.bus.payload import dump_payload
from snowbus.bus.tracker_protocol import BY_CODE
from snowbus.consumers.masking import MASKED, PERSONAL_FIELDS, mask_of
from snowbus.consumers.reading import Reading

SECRET = "pl4nted"
USER = "iglu:com.acme/user/jsonschema/*-*-*"
MASK = mask_of(["se_label", "domain_sessionidx", "page_referrer"], [USER])
USER_1 = {"schema": "iglu:com.acme/user/jsonschema/1-0-2", "data": {SECRET: [SECRET], "email": SECRET}}
PAGE = {"schema": "iglu:com.acme/page/jsonschema/1-0-0", "data": {"kind": "list"}}
CONTEXTS = "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-1"
UNSTRUCT = "iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0"
MASKED_CODES = sorted(code for code, parameter in BY_CODE.items() if MASK.fields & set(parameter.names))


def message_of(event: Event, payload: dict[str, str], *, masked: bool = True) -> dict[str, Any]:
    produced = event_record(event, payload)
    record = Record("snowbus.events", 0, 42, 1_700_000_000_123, produced.key, produced.value, produced.headers)
    message: dict[str, Any] = json.loads(b"{" + Reading(record).body(MASK if masked else None))
    return message


def event_of(payload: dict[str, str], **changes: Any) -> Event:
    given = {"event_id": "e-1", "ingest_tstamp": 1_700_000_000_000, "payload": dump_payload(payload)} | changes
    return Event(**given)


def contexts(*entities: Any) -> str:
    return json.dumps({"schema": CONTEXTS, "data": list(entities)})


def packed(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def unpacked(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_personal_fields_are_masked_wherever_they_stand() -> None:
    payload = {
        "e": "pv",
        "aid": "shop",
        "eid": "e-1",
        "url": "https://shop.example/cart",
        "uid": SECRET,
        "ip": "192.0.2.7",
        "vid": "3",
        "ua": SECRET,
    }
    source = {"ip": "192.0.2.7", "user_agent": SECRET, "network_userid": SECRET, "method": "POST", "x_new": SECRET}
    message = message_of(event_of(payload, source=source), payload)
    event = message["event"]
    assert SECRET not in json.dumps(message)
    assert "192.0.2.7" not in json.dumps(message)
    assert message["key"] == MASKED
    assert message["payload"]["uid"] == message["payload"]["vid"] == MASKED
    assert (event["user_id"], event["user_ipaddress"], event["network_userid"]) == (MASKED, MASKED, MASKED)
    assert event["domain_sessionidx"] is None
    assert (event["app_id"], event["page_url"], event["event_name"]) == ("shop", payload["url"], "page_view")
    assert message["source"]["method"] == "POST"
    assert message["source"]["x_new"] == MASKED


def test_what_is_not_there_does_not_seem_to_be() -> None:
    payload = {"e": "pv", "eid": "e-1"}
    message = message_of(event_of(payload), payload)
    assert not set(PERSONAL_FIELDS) & message["event"].keys()
    assert message["payload"] == payload
    assert message["source"] == {}


def test_the_data_of_named_entities_is_masked_in_the_view_and_in_the_parameters() -> None:
    session = "iglu:com.snowplowanalytics.snowplow/client_session/jsonschema/1-0-2"
    entities = contexts(USER_1, PAGE, {"schema": session, "data": {"userId": SECRET}})
    for parameters in ({"co": entities}, {"cx": packed(entities)}):
        payload = {"e": "pv", "eid": "e-1", **parameters}
        message = message_of(event_of(payload), payload)
        assert SECRET not in json.dumps(message)
        event = message["event"]
        assert event["contexts_com_acme_user_1"] == [{}]
        assert event["contexts_com_snowplowanalytics_snowplow_client_session_1"] == [{}]
        assert event["contexts_com_acme_page_1"] == [{"kind": "list"}]
        (text,) = (message["payload"][code] for code in parameters)
        raw = json.loads(text) if "co" in parameters else json.loads(unpacked(text))
        assert [entity["schema"] for entity in raw["data"]] == [USER_1["schema"], PAGE["schema"], session]
        assert [entity["data"] for entity in raw["data"]] == [{}, {"kind": "list"}, {}]


def test_the_data_of_a_named_self_describing_event_is_masked() -> None:
    text = json.dumps({"schema": UNSTRUCT, "data": USER_1})
    for parameters in ({"ue_pr": text}, {"ue_px": packed(text)}):
        payload = {"e": "ue", "eid": "e-1", **parameters}
        message = message_of(event_of(payload), payload)
        assert message["event"]["unstruct_event_com_acme_user_1"] == {}
        assert message["event"]["event_name"] == "user"
        assert SECRET not in json.dumps(message)


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        f'{{"schema":"{CONTEXTS}","data":"{SECRET}"}}',
        f'{{"schema":"{CONTEXTS}","data":[{{"schema":"acme/user","data":"{SECRET}"}},"{SECRET}",["{SECRET}"]]}}',
        f'{{"schema":"{CONTEXTS}","more":"{SECRET}","data":[{{"schema":"{PAGE["schema"]}","x":"{SECRET}","data":1}}]}}',
        f'{{"data":["{SECRET}"],"schema":"{CONTEXTS}","data":[]}}',
        f'{{"schema":"{SECRET}","data":[]}}',
        f'{{"schema":"{CONTEXTS}","data":' + "[" * 2000 + f'"{SECRET}"' + "]" * 2000 + "}",
        json.dumps({"schema": CONTEXTS, "data": [{"schema": PAGE["schema"], "data": {"in": [USER_1]}}]}),
    ],
)
def test_what_cannot_be_read_in_full_is_not_shown_in_part(text: str) -> None:
    for code in ("co", "ue_pr"):
        payload = {"e": "ue", "eid": "e-1", code: text}
        recorded = event_of(payload, validation="invalid", errors=tuple(decode(payload).problems))
        for event in (event_of(payload), recorded):
            assert SECRET in json.dumps(message_of(event, payload, masked=False))
            assert SECRET not in json.dumps(message_of(event, payload))
    payload = {"e": "pv", "eid": "e-1", "cx": packed(text), "ue_px": text}
    message = message_of(event_of(payload), payload)
    assert packed(SECRET)[1:-1] not in json.dumps(message)


def test_errors_keep_what_is_wrong_and_lose_the_values_that_were() -> None:
    payload = {"e": "pv", "eid": "e-1", "sid": SECRET, "tt": SECRET, "tz": "x", "se_va": "much"}
    errors = (
        *decode(payload).problems,
        FieldError("contexts[0]", USER_1["schema"], f"/{SECRET}", f"not {SECRET}", SECRET),
        FieldError("contexts[1]", PAGE["schema"], "/kind", "a number", "list"),
        FieldError(SECRET, "", "", "an event", SECRET),
        FieldError("unstruct_event", SECRET, SECRET, SECRET, SECRET),
    )
    message = message_of(event_of(payload, validation="invalid", errors=errors), payload)
    assert SECRET not in json.dumps(message)
    found = [(error["field"], error["expected"], error["got"]) for error in message["validation"]["errors"]]
    assert ("domain_sessionid", "a hyphenated UUID", MASKED) in found
    assert ("se_value", "a number", "much") in found
    assert ("contexts[1]", "a number", "list") in found
    assert message["validation"]["status"] == "invalid"


def test_a_record_that_is_no_event_shows_nothing_of_itself() -> None:
    broken = Event("e-1", 1, f"not JSON: {SECRET}")
    for value in (SECRET.encode(), encode_event(broken)):
        record = Record("snowbus.events", 0, 42, 1, SECRET.encode(), value, (("app_id", b"shop"),))
        text = b"{" + Reading(record).body(MASK)
        assert SECRET.encode() not in text
        assert SECRET.encode().hex().encode() not in text
        assert json.loads(text)["event"] == {}


_TEXT = st.text(max_size=8)
_PERSONAL = st.one_of(st.just(SECRET), _TEXT.map(lambda text: f"{text}{SECRET}{text}"))
_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), _TEXT, st.just(SECRET)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["a", SECRET]), inner)),
    max_leaves=6,
)
_HIDDEN = _JSON.map(lambda data: {"schema": USER_1["schema"], "data": data})
_CONTEXTS = st.one_of(st.lists(st.one_of(_HIDDEN, st.just(PAGE), _JSON), max_size=4).map(lambda all_: contexts(*all_)))
_UNSTRUCT = st.one_of(_HIDDEN, _JSON).map(lambda data: json.dumps({"schema": UNSTRUCT, "data": data}))
_PAYLOADS = st.fixed_dictionaries(
    {"e": st.sampled_from(["pv", "ue", "se"]), "eid": st.just("e-1"), "aid": st.just("shop")},
    optional={
        **dict.fromkeys(MASKED_CODES, _PERSONAL),
        "x_unknown": _PERSONAL,
        "co": st.one_of(_CONTEXTS, _PERSONAL),
        "cx": st.one_of(_CONTEXTS.map(packed), _PERSONAL),
        "ue_pr": st.one_of(_UNSTRUCT, _PERSONAL),
        "ue_px": st.one_of(_UNSTRUCT.map(packed), _PERSONAL),
    },
)
_SOURCES = st.dictionaries(st.sampled_from(["ip", "user_agent", "network_userid", "later"]), _PERSONAL)


@given(_PAYLOADS, _SOURCES, st.booleans())
@example({"e": "ue", "eid": "e-1", "aid": "shop", "ue_pr": json.dumps(USER_1)}, {}, True)
def test_no_personal_value_is_anywhere_in_a_masked_message(
    payload: dict[str, str], source: dict[str, str], checked: bool
) -> None:
    problems = tuple(decode(payload).problems) if checked else ()
    event = event_of(payload, source=source, validation="invalid" if problems else "unchecked", errors=problems)
    message = message_of(event, payload)
    raw = message["payload"]
    for code in ("cx", "ue_px"):
        if raw.get(code, MASKED) != MASKED:
            raw[code] = unpacked(raw[code]).decode("utf-8", "surrogatepass")
    text = json.dumps(message, ensure_ascii=True)
    assert SECRET not in text
    assert message["payload"].keys() == payload.keys()
    assert message["event"]["app_id"] == "shop"
    plain = message_of(event, payload, masked=False)
    assert set(plain["event"]) - set(message["event"]) <= {
        name for name in plain["event"] if name.startswith(("contexts_", "unstruct_event_", "event_"))
    }


def test_names_that_are_none_are_refused_at_the_start() -> None:
    with pytest.raises(ConfigurationError, match="gateway_masked_fields: 'e-mail' is no canonical field"):
        mask_of(["e-mail"], [])
    with pytest.raises(ConfigurationError, match=r"gateway_masked_entities: .* is not an Iglu URI"):
        mask_of([], ["com.acme/user"])
