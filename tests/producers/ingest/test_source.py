"""Who sent a request."""

from typing import Any

import pytest

from snowbus.bus.errors import ConfigurationError
from snowbus.producers.ingest.source import Head, client_ip, head_of, parse_networks, source_of


def head(client: str = "192.0.2.7", **headers: str) -> Head:
    given = {name.replace("_", "-").encode(): value.encode("latin-1") for name, value in headers.items()}
    return Head("POST", "/a/b", b"", given, client)


def test_what_is_known_of_the_sender_is_its_source_and_what_is_not_is_absent() -> None:
    everything = head(
        user_agent="curl/8",
        referer="https://shop/",
        accept_language="de",
        content_type="text/plain",
        host="c.shop",
        x="y",
    )
    assert source_of(everything, network_userid="n-1", proxies=()) == {
        "method": "POST",
        "path": "/a/b",
        "user_agent": "curl/8",
        "referer": "https://shop/",
        "accept_language": "de",
        "content_type": "text/plain",
        "host": "c.shop",
        "network_userid": "n-1",
        "ip": "192.0.2.7",
    }
    assert source_of(head("", referer=""), network_userid=None, proxies=()) == {"method": "POST", "path": "/a/b"}


def test_what_is_longer_than_snowplow_keeps_is_cut() -> None:
    """Every event of the request carries it."""
    long = "x" * 60_000
    sent = head(user_agent=long, referer=long, accept_language=long, content_type=long, host=long)
    told = source_of(sent._replace(path=long), network_userid=None, proxies=())
    assert {name: len(text) for name, text in told.items() if text[0] == "x"} == {
        "path": 255,
        "user_agent": 1_000,
        "referer": 10_000,
        "accept_language": 255,
        "content_type": 255,
        "host": 255,
    }


def test_sp_anonymous_drops_address_and_network_user_id_only() -> None:
    told = source_of(head(sp_anonymous="*", user_agent="curl/8"), network_userid="n-1", proxies=())
    assert told == {"method": "POST", "path": "/a/b", "user_agent": "curl/8"}


def test_headers_beyond_ascii_are_utf_8_or_else_latin_1() -> None:
    utf_8 = Head("GET", "/i", b"", {b"user-agent": "é".encode()}, "")
    latin_1 = Head("GET", "/i", b"", {b"user-agent": b"\xe9"}, "")
    for each in (utf_8, latin_1):
        assert source_of(each, network_userid=None, proxies=())["user_agent"] == "é"


@pytest.mark.parametrize(
    ("client", "forwarded", "ip"),
    [
        ("192.0.2.7", "198.51.100.1", "192.0.2.7"),  # not a proxy of ours
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"),  # the left end is what the sender claims
        ("10.0.0.1", "198.51.100.1, 10.0.0.2,10.0.0.3", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.5", "10.0.0.5"),
        ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
        ("10.0.0.1", '"[2001:db8::1]:4711"', "2001:db8::1"),
        ("10.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, junk", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("fd00::1", "198.51.100.1", "198.51.100.1"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("::ffff:192.0.2.7", "", "192.0.2.7"),
        ("fe80::1%eth0", "", "fe80::1"),
        ("", "198.51.100.1", ""),
        ("testclient", "", ""),
    ],
)
def test_x_forwarded_for_is_believed_as_far_as_trusted_proxies_wrote_it(client: str, forwarded: str, ip: str) -> None:
    proxies = parse_networks(["10.0.0.0/8", "fd00::/8"])
    assert client_ip(head(client, x_forwarded_for=forwarded), proxies=proxies) == ip


def test_nobody_is_trusted_unless_told() -> None:
    assert client_ip(head("10.0.0.1", x_forwarded_for="198.51.100.1"), proxies=()) == "10.0.0.1"


def test_a_network_that_is_none_is_a_configuration_error() -> None:
    assert len(parse_networks(["10.1.2.3/8", "192.0.2.1"])) == 2
    with pytest.raises(ConfigurationError, match="ingest_trusted_proxies: 'nonsense'"):
        parse_networks(["nonsense"])


def test_the_head_comes_from_an_asgi_scope() -> None:
    scope: dict[str, Any] = {
        "method": "GET",
        "path": "/app/i",
        "root_path": "/app",
        "query_string": b"e=pv",
        "client": None,
        "headers": [
            (b"x-forwarded-for", b"1.1.1.1"),
            (b"x-forwarded-for", b"2.2.2.2"),
            (b"cookie", b"a=1"),
            (b"cookie", b"sp=2"),
        ],
    }
    assert head_of(scope) == Head(
        "GET", "/i", b"e=pv", {b"x-forwarded-for": b"1.1.1.1, 2.2.2.2", b"cookie": b"a=1; sp=2"}, ""
    )
