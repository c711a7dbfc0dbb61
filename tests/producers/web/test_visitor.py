"""What a request tells of its user and its page."""

import pytest

from snowbus.producers.ingest.source import Head, parse_networks
from snowbus.producers.web.visitor import Cookies, subject_of, visit_of

USER = "4a66d8f9-17f5-4b9e-9d5c-6d8c8f1f0b1a"
SESSION = "5b24b0c5-5ac4-44c2-9d2e-1a2b3c4d5e6f"
OTHER = "00000000-0000-4000-8000-000000000000"
IDS = ("duid", "vid", "sid")


def visit(*, path="/", query=b"", client="192.0.2.1", scheme="http", proxies=(), prefix="_sp_", **headers):
    named = {name.replace("_", "-").encode(): value.encode("latin-1") for name, value in headers.items()}
    head = Head("GET", path, query, named, client)
    return visit_of(head, scheme=scheme, cookies=Cookies(prefix, "sp"), proxies=parse_networks(proxies))


def ids(cookie, **options):
    subject = visit(cookie=cookie, **options).subject
    return tuple(subject.get(code) for code in IDS)


@pytest.mark.parametrize(
    ("cookie", "expected"),
    [
        (f"_sp_id.1fff={USER}.1700000000.3.1700000100.1699999999.{SESSION}", (USER, 3, SESSION)),
        (f"_sp_id.1fff={USER}.1700000000.3.1700000100.1699999999.{SESSION}.{OTHER}.{OTHER}.17.9", (USER, 3, SESSION)),
        (f'a=b; _sp_id.1fff="{USER}.1700000000.3.1700000100..{SESSION}" ; c=d', (USER, 3, SESSION)),
        (f"_sp_id.1fff={USER}%2E1700000000%2E3%2E1700000100%2E%2E{SESSION}", (USER, 3, SESSION)),
        (f"_sp_id.1fff=.1700000000.3.1700000100.undefined.{SESSION}", (None, 3, SESSION)),  # anonymous tracking
        (f"_sp_id.1fff={USER}.1700000000.undefined.1700000100..undefined", (USER, None, None)),
        (f"_sp_id.1fff={USER}", (USER, None, None)),
        (f"_sp_id.1fff={USER}.1.{'9' * 5000}.{'9' * 5000}..{SESSION}", (USER, None, SESSION)),
        (
            f"_sp_id.0001={OTHER}.1.1.1700000001..{OTHER}; _sp_id.0002={USER}.1.3.1700000002..{SESSION}",
            (USER, 3, SESSION),
        ),
        (
            f"_sp_id.0002={USER}.1.3.1700000002..{SESSION}; _sp_id.0001={OTHER}.1.1.nonsense..{OTHER}",
            (USER, 3, SESSION),
        ),
        ("_sp_id.1fff=", (None, None, None)),
        ("_sp_ses.1fff=*; _sp_idx=1; nonsense", (None, None, None)),
        ("", (None, None, None)),
    ],
)
def test_the_javascript_trackers_cookie_says_who_it_is(cookie, expected):
    assert ids(cookie) == expected


def test_the_prefix_of_its_cookies_may_be_another():
    cookie = f"_sp_id.1={OTHER}.1.1.9..{OTHER}; shop_id.1={USER}.1.3.2..{SESSION}"
    assert ids(cookie, prefix="shop_") == (USER, 3, SESSION)


def test_a_sender_that_stays_anonymous_gives_neither_address_nor_network_user_id():
    assert visit(cookie="sp=network-1").subject.items() >= {"ip": "192.0.2.1", "tnuid": "network-1"}.items()
    assert not visit(cookie="sp=network-1", sp_anonymous="*").subject.keys() & {"ip", "tnuid"}


@pytest.mark.parametrize(
    ("header", "language"), [("de-CH,de;q=0.9", "de-CH"), ("en;q=0.8", "en"), ("*", None), ("", None), (" ,", None)]
)
def test_the_language_is_the_first_that_is_asked_for(header, language):
    assert visit(accept_language=header).subject.get("lang") == language


@pytest.mark.parametrize(
    ("request_", "url"),
    [
        ({"host": "shop.example"}, "http://shop.example/"),
        (
            {"host": "shop.example", "path": "/caf\u00e9 1", "query": b"a=%20&b"},
            "http://shop.example/caf%C3%A9%201?a=%20&b",
        ),
        ({"host": "shop.example", "scheme": "wss"}, "https://shop.example/"),
        ({}, None),
        ({"host": "10.0.0.2", "x_forwarded_proto": "https", "x_forwarded_host": "shop.example"}, "http://10.0.0.2/"),
        (
            {
                "host": "10.0.0.2",
                "x_forwarded_proto": "https",
                "x_forwarded_host": "shop.example, 10.0.0.2",
                "proxies": ["192.0.2.0/24"],
            },
            "https://shop.example/",
        ),
    ],
)
def test_the_pages_address_is_the_one_that_the_browser_asked_for(request_, url):
    assert visit(**request_).event.get("url") == url


def test_the_address_of_the_sender_is_believed_as_far_as_proxies_are_trusted():
    forwarded = {"x_forwarded_for": "203.0.113.5, 198.51.100.7"}
    assert visit(**forwarded).subject["ip"] == "192.0.2.1"
    assert visit(**forwarded, proxies=["192.0.2.1"]).subject["ip"] == "198.51.100.7"


def test_a_header_that_is_too_long_makes_no_event_invalid():
    found = visit(user_agent="x" * 5000, referer="y" * 20_000)
    assert (len(found.subject["ua"]), len(found.event["refr"])) == (1000, 10_000)


def test_the_subject_is_the_official_trackers():
    subject = subject_of(visit(user_agent="Browser/1"))
    assert subject.standard_nv_pairs == {"p": "srv", "ua": "Browser/1", "ip": "192.0.2.1"}
