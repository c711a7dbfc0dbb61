"""The cookie with the network user id."""

from typing import Any

import pytest

from snowbus.bus.errors import ConfigurationError
from snowbus.bus.settings import Settings
from snowbus.producers.ingest.cookies import Cookies, is_usable, read_cookie
from snowbus.producers.ingest.source import Head


def cookie(origin: str = "", **settings: Any) -> str:
    """The cookie that a sender with a known id gets."""
    headers = {b"origin": origin.encode()} if origin else {}
    _, cookie = Cookies(Settings(**settings)).identify(Head("GET", "/i", b"nuid=me", headers, "127.0.0.1"))
    assert cookie is not None
    return cookie.decode()


def test_the_cookie_is_the_collectors() -> None:
    assert cookie() == "sp=me; Max-Age=31536000; Path=/; SameSite=None; Secure; HttpOnly"


@pytest.mark.parametrize(
    ("origin", "domain"),
    [
        ("https://shop.example", "shop.example"),
        ("https://a.b.shop.example:8443", "shop.example"),
        ("https://SHOP.example", "shop.example"),
        ("https://m.other.example", "m.other.example"),
        ("https://other.example", "fallback.example"),
        ("https://evilshop.example", "fallback.example"),
        ("https://shop.example.evil", "fallback.example"),
        ("null", "fallback.example"),
        ("", "fallback.example"),
    ],
)
def test_its_domain_is_the_first_that_the_page_lies_in(origin: str, domain: str) -> None:
    given = cookie(
        origin,
        ingest_cookie_domains="shop.example,.m.other.example",
        ingest_cookie_fallback_domain="fallback.example",
    )
    assert given.split("; ")[1] == f"Domain={domain}"


def test_its_attributes_are_those_of_the_settings() -> None:
    assert cookie(ingest_cookie_attributes="samesite=lax").endswith("Path=/; SameSite=Lax")
    assert cookie(ingest_cookie_attributes="Secure; SameSite=None; Partitioned").endswith(
        "Secure; SameSite=None; Partitioned"
    )


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"ingest_cookie_attributes": "SameSite=None"}, "refuse SameSite=None and Partitioned without Secure"),
        ({"ingest_cookie_attributes": "Secure; Domain=x"}, "'Domain=x' is none of SameSite=None"),
        ({"ingest_cookie_name": "a;b"}, "'a;b' cannot be the name of a cookie"),
        ({"ingest_cookie_domains": "shop.example; HttpOnly"}, "is no domain"),
    ],
)
def test_a_cookie_that_cannot_work_is_told(settings: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        Cookies(Settings(**settings))


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (b"sp=abc", "abc"),
        (b"a=1; sp=abc; b=2", "abc"),
        (b'sp="abc"', "abc"),
        (b" sp = abc ", "abc"),
        (b"spx=abc", None),
        (b"sp", None),
        (b"sp=", None),
        (b"sp=a b", None),
        (b"sp=a\xff", None),
        (b"sp=" + b"x" * 129, None),
        (b"sp=first; sp=second", "first"),
    ],
)
def test_the_id_is_read_when_it_can_be_one(header: bytes, found: str | None) -> None:
    assert read_cookie(header, "sp") == found


@pytest.mark.parametrize("text", ["", "a;b", "a b", 'a"', "a,b", "a\\b", "é", "a\r\nSet-Cookie: x=1", "x" * 129])
def test_what_could_break_out_of_a_cookie_is_no_id(text: str) -> None:
    assert not is_usable(text)
