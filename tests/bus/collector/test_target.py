"""What the settings say of the collectors, and that what is secret in them is told to nobody."""

from base64 import b64decode
from typing import Any

import pytest

from snowbus.bus.collector.target import Proxy, Target, headers_of, proxy_of, targets_of
from snowbus.bus.errors import ConfigurationError
from snowbus.bus.settings import Settings

TP2 = "/com.snowplowanalytics.snowplow/tp2"


def target(url: str, **settings: Any) -> Target:
    (only,) = targets_of(Settings(collector=(url,), **settings))
    return only


def credentials(authorization: str) -> str:
    kind, _, encoded = authorization.partition(" ")
    assert kind == "Basic"
    return b64decode(encoded).decode()


def headers(*lines: str, **settings: Any) -> list[tuple[str, str]]:
    made = Settings(collector="http://collector.example", collect_headers=lines, **settings)
    return headers_of(made.collect_headers, targets_of(made))


@pytest.mark.parametrize(
    ("setting", "url"),
    [
        ("http://collector.example", f"http://collector.example{TP2}"),
        ("https://collector.example:8443/", f"https://collector.example:8443{TP2}"),
        ("http://[::1]:9090", f"http://[::1]:9090{TP2}"),
        ("https://collector.example/com.acme/track", "https://collector.example/com.acme/track"),
        ("https://collector.example/?a=b", f"https://collector.example{TP2}?a=b"),
    ],
)
def test_the_path_is_the_tracker_protocols_unless_one_is_given(setting: str, url: str) -> None:
    assert target(setting).url == url


@pytest.mark.parametrize(
    "setting",
    [
        "collector.example",
        "localhost:9090",
        "ftp://x",
        "http://",
        "http:///path",
        "http://x:99999",
        "http://x:0",
        "http://x/#f",
        "http://x/a b",
        "http://[::1",
        "/x",
    ],
)
def test_what_is_no_url_is_refused_and_said(setting: str) -> None:
    with pytest.raises(ConfigurationError, match=r"http://HOST:PORT"):
        target(setting)


def test_without_a_collector_it_says_what_to_give() -> None:
    with pytest.raises(ConfigurationError, match="--collector"):
        targets_of(Settings())


@pytest.mark.parametrize(
    "collector",
    [
        ("http://a.example", "http://b.example"),
        ["http://a.example, http://b.example"],
        "http://a.example,http://b.example",
        "http://a.example, http://b.example,",
    ],
)
def test_several_keep_their_order_with_and_without_commas(collector: Any) -> None:
    names = [each.name for each in targets_of(Settings(collector=collector))]
    assert names == [f"http://a.example{TP2}", f"http://b.example{TP2}"]


def test_one_that_is_given_twice_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="twice"):
        targets_of(Settings(collector=("http://me:pw@a.example/", f"http://a.example{TP2}")))


def test_the_credentials_in_a_url_are_sent_and_shown_nowhere() -> None:
    found = target("https://us%40er:p%2Fw:ü%20@[::1]:8443/com.acme/track?key=k3y")
    assert credentials(found.authorization) == "us@er:p/w:ü "
    assert found.url == "https://[::1]:8443/com.acme/track?key=k3y"
    assert found.name == "https://[::1]:8443/com.acme/track"
    assert found.host == "::1"
    assert "us" not in repr(found)
    assert "k3y" not in repr(found)


def test_a_user_name_serves_the_collectors_that_have_none_of_their_own() -> None:
    settings = Settings(
        collector=("http://a.example", "http://other:secret@b.example"),
        collect_username="me",
        collect_password="pass:word",
    )
    assert [credentials(each.authorization) for each in targets_of(settings)] == ["me:pass:word", "other:secret"]


def test_nobody_is_authenticated_unasked() -> None:
    assert target("http://a.example").authorization == ""


@pytest.mark.parametrize(
    ("collector", "settings"), [("http://a%3Ab:c@a.example", {}), ("http://a.example", {"collect_username": "a:b"})]
)
def test_a_user_name_with_a_colon_is_refused(collector: str, settings: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="colon"):
        target(collector, **settings)


@pytest.mark.parametrize(
    "shape", ["http://{}@a.example:99999", "ftp://{}@a.example", "{}@a.example", "http://{}@a b/?{}", "http://{}?@a"]
)
def test_no_error_shows_a_password(shape: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        target(shape.replace("{}", "me:s3cret"))
    assert "s3cret" not in str(raised.value)
    with pytest.raises(ConfigurationError) as raised:
        proxy_of(Settings(collect_proxy=shape.replace("{}", "me:s3cret")))
    assert "s3cret" not in str(raised.value)


def test_headers_are_lines_of_a_name_and_a_value() -> None:
    assert headers("X-Api-Key: k, e:y", "x-empty:") == [("X-Api-Key", "k, e:y"), ("x-empty", "")]
    settings = Settings(collector="http://a.example", collect_headers="A: 1, 2\n B:3 \n")
    assert headers(*settings.collect_headers) == [("A", "1, 2"), ("B", "3")]


@pytest.mark.parametrize(
    "line", ["s3cret", ": s3cret", "X Y: s3cret", "Ü: s3cret", "X: s3cret\r\nY: 1", "X: s3cret\x00"]
)
def test_what_is_no_header_is_refused_and_not_shown(line: str) -> None:
    with pytest.raises(ConfigurationError, match="number 2") as raised:
        headers("A: 1", line)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("name", ["Content-Type", "content-length", "Transfer-Encoding", "CONNECTION", "Expect"])
def test_the_headers_that_frame_a_request_are_not_to_be_set(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        headers(f"{name}: x")


@pytest.mark.parametrize("name", ["Cookie", "SP-Anonymous"])
def test_a_header_that_would_pass_for_every_clients_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="every client"):
        headers(f"{name}: x")


def test_two_authorizations_are_refused() -> None:
    assert headers("Authorization: Bearer x") == [("Authorization", "Bearer x")]
    with pytest.raises(ConfigurationError, match="Authorization"):
        headers("Authorization: Bearer x", collect_username="me")


def test_a_proxy_may_have_credentials() -> None:
    assert proxy_of(Settings()) is None
    assert proxy_of(Settings(collect_proxy="http://proxy.example:3128")) == Proxy("http://proxy.example:3128")
    proxy = proxy_of(Settings(collect_proxy="http://me:s3cret@proxy.example:3128/"))
    assert proxy is not None
    assert proxy.url == "http://proxy.example:3128/"
    assert credentials(proxy.authorization) == "me:s3cret"
    assert "s3cret" not in repr(proxy)


@pytest.mark.parametrize("proxy", ["proxy:3128", "https://proxy", "socks5://proxy", "http://proxy/path", "http://p?q"])
def test_what_is_no_proxy_is_refused_and_said(proxy: str) -> None:
    with pytest.raises(ConfigurationError, match="collect_proxy"):
        proxy_of(Settings(collect_proxy=proxy))
