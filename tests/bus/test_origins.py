"""Origins that settings name."""

import re

import pytest

from snowbus.bus.errors import ConfigurationError
from snowbus.bus.origins import origins_in


@pytest.mark.parametrize(
    ("named", "origin"),
    [
        ("https://shop.example", "https://shop.example"),
        ("https://SHOP.example:8443/", "https://shop.example:8443"),
        ("https://shop.example:443", "https://shop.example"),
        ("http://shop.example:80", "http://shop.example"),
        ("http://shop.example:443", "http://shop.example:443"),
        ("http://[::1]:8081", "http://[::1]:8081"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ("null", "null"),
    ],
)
def test_an_origin_is_written_as_browsers_say_it(named: str, origin: str) -> None:
    assert origins_in("allowed", [named]) == {origin}


@pytest.mark.parametrize(
    "named", ["shop.example", "*", "https://*.shop.example", "https://", "https://shop.example/cart", "//shop.example"]
)
def test_what_no_browser_says_is_refused(named: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^allowed: {re.escape(repr(named))} is no origin"):
        origins_in("allowed", [named])
