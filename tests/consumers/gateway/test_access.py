"""From where one may connect."""

import pytest

from snowbus.bus.errors import ConfigurationError
from snowbus.bus.settings import Settings
from snowbus.consumers.gateway.access import Access, access_for

LOCAL = Access(loopback=True, allowed_origins=())
GUARDED = Access(loopback=False, allowed_origins=("https://tools.example",))


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1"])
def test_loopback_needs_no_tokens(address: str) -> None:
    assert access_for(address, Settings()).loopback


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.7"])
def test_other_addresses_need_tokens_or_a_word_that_they_are_not_wanted(address: str) -> None:
    with pytest.raises(ConfigurationError, match="SNOWBUS_GATEWAY_TOKENS"):
        access_for(address, Settings())
    assert not access_for(address, Settings(gateway_tokens=("t",))).loopback
    assert not access_for(address, Settings(gateway_jwks_url="https://keys.example/jwks.json")).loopback
    assert not access_for(address, Settings(gateway_insecure=True)).loopback


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 0),
        ("localhost:8081", 0),
        ("LOCALHOST:8081", 0),
        ("page.localhost:1", 0),
        ("127.0.0.1:8081", 0),
        ("127.0.0.1", 0),
        ("[::1]:8081", 0),
        ("192.168.0.4:8081", 0),
        ("tools.example", 0),
        ("evil.example:8081", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example:8081", 403),
        ("", 403),
    ],
)
def test_on_loopback_names_of_others_are_refused(host: str, status: int) -> None:
    access = Access(loopback=True, allowed_origins=("https://tools.example",))
    refusal = access.check_host([host])
    assert (refusal.status if refusal else 0) == status


def test_hosts_that_are_absent_or_double_or_not_ours_to_judge() -> None:
    assert LOCAL.check_host([]) is None
    assert GUARDED.check_host(["anything.example"]) is None
    refusal = LOCAL.check_host(["localhost", "localhost"])
    assert refusal is not None
    assert refusal.status == 400


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://gateway.example:8081", True),
        ("https://gateway.example:8081", True),
        ("HTTPS://GATEWAY.EXAMPLE:8081", True),
        ("https://tools.example", True),
        ("http://tools.example", False),
        ("http://gateway.example", False),
        ("http://evil.example", False),
        ("http://gateway.example:8081.evil.example", False),
        ("null", False),
        ("", False),
        ("http://[", False),
    ],
)
def test_pages_of_other_sites_are_refused(origin: str, allowed: bool) -> None:
    refusal = GUARDED.check_origin([origin], ["gateway.example:8081"])
    assert (refusal is None) == allowed
    assert refusal is None or refusal.status == 403


def test_programs_say_no_origin() -> None:
    assert GUARDED.check_origin([], ["gateway.example"]) is None
    assert GUARDED.check_origin(["http://a", "http://a"], ["a"]) is not None
