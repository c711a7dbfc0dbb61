"""The cookie with the network user id."""

import pytest

from snowbus.producers.ingest.cookies import is_usable, read_cookie, set_cookie


@pytest.mark.parametrize(
    ("header", "value"),
    [
        (b"sp=abc", "abc"),
        (b"a=b; sp=abc; c=d", "abc"),
        (b'sp="abc"', "abc"),
        (b"xsp=abc; spx=1", None),
        (b"sp=", None),
        (b"sp", None),
        (b"sp=a b", None),
        (b"sp=" + b"x" * 129, None),
        (b"sp=caf\xe9", None),
        (b"", None),
    ],
)
def test_the_cookie_is_read_when_it_can_be_an_id(header: bytes, value: str | None) -> None:
    assert read_cookie(header, "sp") == value


def test_the_cookie_is_kept_on_other_sites_pages_and_from_scripts() -> None:
    assert set_cookie("sp", "abc", domain="", days=365) == (
        b"sp=abc; Max-Age=31536000; Path=/; SameSite=None; Secure; HttpOnly"
    )
    assert b"; Domain=shop.example;" in set_cookie("sp", "abc", domain="shop.example", days=1)


def test_an_id_that_would_end_the_cookie_is_not_usable() -> None:
    assert is_usable("6fbde16b-3fb8-4260-ad15-13083130d380")
    assert not any(map(is_usable, ["a;b", "a b", "a,b", 'a"b', "a\\b", "a\nb", "", "é"]))
