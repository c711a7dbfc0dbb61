"""The gateway says where ingest is, as far as it knows."""

import json

import pytest

from snowbus.bus.errors import ConfigurationError
from snowbus.consumers.gateway.ingest_address import IngestAddress


@pytest.mark.parametrize(
    ("configured", "listening", "told"),
    [
        ("", "", ""),
        ("", "http://0.0.0.0:8080", "http://0.0.0.0:8080"),
        ("https://events.example.com/", "http://127.0.0.1:8080", "https://events.example.com"),
    ],
)
def test_the_setting_comes_before_where_it_listens(configured: str, listening: str, told: str) -> None:
    answer = IngestAddress(configured, lambda: listening).answer("/v1/ingest")
    assert answer is not None
    assert json.loads(answer.body) == {"url": told}


@pytest.mark.parametrize("wrong", ["events.example.com", "https://example.com/path", "http://a'b", "javascript:1"])
def test_what_is_no_url_of_an_ingest_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="gateway_ingest_url"):
        IngestAddress(wrong, lambda: "")
