"""What readers may say, understood or refused with a reason."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snowbus.bus.filters import Filter
from snowbus.consumers.gateway.requests import Pause, Permit, Request, RequestError, SetFilter, parse_request


@pytest.mark.parametrize(
    ("message", "request_meant"),
    [
        ({"type": "filter", "filters": {}}, SetFilter(Filter())),
        (
            {"type": "filter", "filters": {"app_id": "shop", "q": ["b", "a"]}},
            SetFilter(Filter((("app_id", ("shop",)), ("q", ("a", "b"))))),
        ),
        ({"type": "pause"}, Pause(True)),
        ({"type": "resume"}, Pause(False)),
        ({"type": "permit", "n": 5}, Permit(5)),
        ({"type": "permit", "n": None}, Permit(None)),
    ],
)
def test_requests_are_understood(message: dict[str, Any], request_meant: Request) -> None:
    assert parse_request(json.dumps(message)) == request_meant


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{}", "binary"),
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "type: must be one of filter, pause"),
        ('{"type":"ping"}', "type: must be one of"),
        ('{"type":["pause"]}', "type: must be one of"),
        ('{"type":"pause","for":5}', "for: unknown in a message of type pause"),
        ('{"type":"filter"}', "filters: must be an object"),
        ('{"type":"filter","filters":["shop"]}', "filters: must be an object"),
        ('{"type":"filter","filters":{"app_id":[]}}', "filters: app_id: must be a string or an array"),
        ('{"type":"filter","filters":{"app_id":[5]}}', "filters: app_id: must be a string or an array"),
        ('{"type":"filter","filters":{"colour":"red"}}', "filters: colour: unknown"),
        ('{"type":"filter","filters":{"valid":"yes"}}', "filters: valid: 'yes' is neither true nor false"),
        ('{"type":"permit"}', "n: must be a whole number from 1"),
        ('{"type":"permit","n":0}', "n: must be"),
        ('{"type":"permit","n":true}', "n: must be"),
        ('{"type":"permit","n":1.5}', "n: must be"),
        ('{"type":"permit","n":1000000001}', "n: must be"),
    ],
)
def test_what_is_not_understood_is_refused_with_a_reason(text: str | bytes, reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        parse_request(text)


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
types = st.sampled_from(["filter", "pause", "resume", "permit", "ack"]) | json_values
messages = st.fixed_dictionaries({}, optional={"type": types, "filters": json_values, "n": json_values})


@given(st.text() | st.binary() | messages.map(json.dumps))
def test_whatever_is_said_is_understood_or_refused(text: str | bytes) -> None:
    try:
        parse_request(text)
    except RequestError as error:
        assert str(error)
