"""Click redirects: where they may lead, and the event that a click is."""

import json
from base64 import urlsafe_b64encode
from urllib.parse import quote_from_bytes, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snowbus.bus.errors import ConfigurationError
from snowbus.bus.payload import decode_base64
from snowbus.producers.ingest.redirects import URI_REDIRECT_SCHEMA, Redirects

REDIRECTS = Redirects(("shop.example", "*.acme.com"))
CONTEXTS = "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-0"


def ask(target: str, rest: str = "") -> bytes:
    return f"u={quote_from_bytes(target.encode())}{rest}".encode()


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("https://shop.example", "https://shop.example"),
        ("http://shop.example:8080/a?b=c&d=%20#e", "http://shop.example:8080/a?b=c&d=%20#e"),
        ("HTTPS://SHOP.example/A", "HTTPS://SHOP.example/A"),
        ("https://a.b.acme.com/", "https://a.b.acme.com/"),
        ("https://shop.example/a b/é", "https://shop.example/a%20b/%C3%A9"),
        ("https://shop.example/?next=https://evil.example", "https://shop.example/?next=https://evil.example"),
        ("https://shop.example?@evil.example", "https://shop.example?@evil.example"),
    ],
)
def test_a_click_leads_to_a_host_that_is_named(target: str, location: str) -> None:
    assert REDIRECTS.click(ask(target)).location == location.encode()


@pytest.mark.parametrize(
    "target",
    [
        "",
        "/cart",
        "//shop.example",
        "https:shop.example",
        "https:/shop.example",
        "https:///shop.example",
        "javascript://shop.example/%0aalert(1)",
        "data:text/html,x",
        "ftp://shop.example",
        "https://evil.example",
        "https://acme.com",
        "https://evilacme.com",
        "https://shop.example.evil.example",
        "https://shop.example@evil.example",
        "https://shop.example:x@evil.example",
        "https://shop.example:443@evil.example",
        "https://evil.example\\@shop.example",
        "https://evil.example/@shop.example",
        "https://evil.example#shop.example",
        "https://shop.example\\.evil.example",
        "https://shop.example/\\evil.example",
        "https://shop.example\t.evil.example",
        "https://shop.example/\r\nSet-Cookie: x=1",
        "https://shop.example\n",
        " https://shop.example",
        "https://shop.example.",
        "https://shop.example%2eevil.example",
        "https://\u017fhop.example",  # browsers take the long s for an s; it must be named as it is asked for
        "https://shop。example",
        "https://[::1]/",
        "https://shop.example/" + "a" * 9_000,
    ],
)
def test_a_click_leads_nowhere_else(target: str) -> None:
    click = REDIRECTS.click(ask(target))
    assert click.location is None
    assert click.understood.refused[0].reason.startswith("u: ")


@given(st.text(alphabet="https:/\\@.#?%;&=[]\t\r\n shop.exampl evi\u017f", max_size=60))
def test_whatever_is_asked_for_a_browser_goes_to_a_named_host_or_nowhere(text: str) -> None:
    for target in (text, f"https://{text}", f"https://shop.example{text}"):
        location = REDIRECTS.click(ask(target)).location
        if location is not None:
            parts = urlsplit(location.decode().replace("\\", "/"))  # as browsers read it
            assert parts.hostname == "shop.example" or parts.hostname.endswith(".acme.com")
            assert parts.username is None
            assert not set(location) & {*range(33), 127}


def test_a_click_is_an_event_of_its_own() -> None:
    [payload] = REDIRECTS.click(ask("https://shop.example/a", "&aid=mail&eid=1")).understood.payloads
    event = json.loads(payload.pop("ue_pr"))
    assert event["data"] == {"schema": URI_REDIRECT_SCHEMA, "data": {"uri": "https://shop.example/a"}}
    assert payload == {"e": "ue", "aid": "mail", "eid": "1", "p": "web", "tv": "r-tp2"}


@pytest.mark.parametrize("code", ["co", "cx", ""])
def test_a_click_with_an_event_has_the_redirect_as_its_first_entity(code: str) -> None:
    contexts = json.dumps({"schema": CONTEXTS, "data": [{"schema": "iglu:a/b/jsonschema/1-0-0", "data": {}}]})
    text = urlsafe_b64encode(contexts.encode()).decode() if code == "cx" else contexts
    rest = f"&e=se&se_ca=mail&p=mob&{code}={quote_from_bytes(text.encode())}" if code else "&e=se&se_ca=mail&p=mob"
    [payload] = REDIRECTS.click(ask("https://shop.example/", rest)).understood.payloads
    assert (payload["e"], payload["p"], payload["tv"]) == ("se", "mob", "r-tp2")
    assert "u" not in payload
    entities = json.loads(decode_base64(payload["cx"]) if code == "cx" else payload["co"])["data"]
    assert entities[0] == {"schema": URI_REDIRECT_SCHEMA, "data": {"uri": "https://shop.example/"}}
    assert len(entities) == (2 if code else 1)


@pytest.mark.parametrize("rest", ["&e=xx", "&e=pv&co={", "&e=pv&co=[]", "&e=pv&cx=%C3%A9"])
def test_a_click_whose_event_is_not_understood_leads_on(rest: str) -> None:
    click = REDIRECTS.click(ask("https://shop.example/", rest))
    assert click.location == b"https://shop.example/"
    assert click.understood.payloads == []
    assert len(click.understood.refused) == 1


@pytest.mark.parametrize("domain", ["*", "https://shop.example", "*.", "shop.example/", "a b", ""])
def test_a_domain_that_is_none_is_told(domain: str) -> None:
    with pytest.raises(ConfigurationError, match=r"ingest_redirect_domains: .* is no host"):
        Redirects((domain,))
