"""API keys: which senders are let in, how fast, and from which file."""

from pathlib import Path

import pytest

from snowbus.bus.errors import ConfigurationError
from snowbus.producers.ingest.keys import Keys, RateLimitedError, UnauthorizedError, without_key
from snowbus.producers.ingest.source import Head

FILE = """
# the shop's
shop  s3cret-shop
app   s3cret-app  10
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "keys"
    file.write_text(FILE)
    return file


def head(query: bytes = b"", **headers: str) -> Head:
    given = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return Head("POST", "/tracking", query, given, "127.0.0.1")


@pytest.mark.parametrize(
    "shown",
    [
        head(authorization="Bearer s3cret-shop"),
        head(authorization="bearer  s3cret-shop "),
        head(x_api_key="s3cret-shop"),
        head(b"aid=x&api_key=s3cret-shop"),
        head(b"api_key=s3cret%2Dshop"),
        head(x_api_key="s3cret-shop", authorization="Basic YTpi"),
        head(authorization="Bearer of-another-gateway", x_api_key="s3cret-shop"),
    ],
)
def test_a_key_is_taken_from_each_of_three_places(path: Path, shown: Head) -> None:
    assert Keys(str(path), rate=0).key_of(shown, now=0).name == "shop"


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        (head(), "is missing; send `Authorization: Bearer KEY`"),
        (head(b"api_key="), "is missing"),
        (head(authorization="Basic s3cret-shop"), "is missing"),
        (head(authorization="Bearer s3cret"), "is not one of ours"),
        (head(x_api_key="shop"), "is not one of ours"),
    ],
)
def test_without_a_key_nobody_is_let_in(path: Path, shown: Head, reason: str) -> None:
    with pytest.raises(UnauthorizedError, match=reason) as told:
        Keys(str(path), rate=0).key_of(shown, now=0)
    assert "s3cret" not in str(told.value)


def test_a_key_in_the_query_string_goes_no_further() -> None:
    assert without_key(head(b"e=pv&api_key=s3cret&aid=x")).query == b"e=pv&aid=x"
    assert without_key(head(b"e=pv&api%5Fkey=s3cret&x=api_key")).query == b"e=pv&x=api_key"
    assert without_key(head(b"e=pv&api%5Fkey=s3cret")).query == b"e=pv"
    assert without_key(head(b"e=pv&my_api_key=1")).query == b"e=pv&my_api_key=1"


@pytest.mark.parametrize(
    ("referer", "kept"),
    [
        ("https://shop/?a=%20&api_key=s3cret&b=2#c", "https://shop/?a=%20&b=2#c"),
        ("https://shop/?api%5Fkey=s3cret", "https://shop/?"),
        ("https://shop/?my_api_key=1#api_key", "https://shop/?my_api_key=1#api_key"),
    ],
)
def test_a_key_in_the_referer_goes_no_further(referer: str, kept: str) -> None:
    told = without_key(head(referer=referer, x_api_key="s3cret")).headers
    assert told[b"referer"] == kept.encode()


def test_a_key_that_has_sent_more_than_its_rate_waits_for_what_it_sent(path: Path) -> None:
    keys = Keys(str(path), rate=0)
    key = keys.key_of(head(x_api_key="s3cret-app"), now=0)
    key.spend(30)  # a batch is taken whole, and makes up for it later
    with pytest.raises(RateLimitedError, match="'app' may send 10 events a second") as told:
        keys.key_of(head(x_api_key="s3cret-app"), now=1.0)
    assert told.value.seconds == 2
    assert keys.key_of(head(x_api_key="s3cret-shop"), now=1.0).name == "shop"
    assert keys.key_of(head(x_api_key="s3cret-app"), now=3.0) is key


def test_the_rate_of_the_settings_is_for_keys_without_their_own(path: Path) -> None:
    keys = Keys(str(path), rate=2)
    keys.key_of(head(x_api_key="s3cret-shop"), now=0).spend(3)
    with pytest.raises(RateLimitedError, match="2 events a second"):
        keys.key_of(head(x_api_key="s3cret-shop"), now=0.1)
    keys.key_of(head(x_api_key="s3cret-app"), now=0).spend(3)
    assert keys.key_of(head(x_api_key="s3cret-app"), now=0.1).rate == 10


def test_keys_are_changed_by_changing_the_file(path: Path) -> None:
    keys = Keys(str(path), rate=0)
    keys.key_of(head(x_api_key="s3cret-app"), now=0).spend(1_000)
    path.with_name("new").write_text("shop new-shop\n" + FILE)
    path.with_name("new").rename(path)
    assert keys.key_of(head(x_api_key="new-shop"), now=1.1).name == "shop"
    assert keys.key_of(head(x_api_key="s3cret-shop"), now=1.1).name == "shop"
    with pytest.raises(RateLimitedError):  # a change of the file is no way around the rate
        keys.key_of(head(x_api_key="s3cret-app"), now=1.2)
    path.write_text("shop new-shop\n")
    with pytest.raises(UnauthorizedError):
        keys.key_of(head(x_api_key="s3cret-shop"), now=3)


@pytest.mark.parametrize("text", [None, "", "shop\n", "shop key much\n", "shop key -1\n", "shop key 1 2\n", "a \udcff"])
def test_a_file_that_cannot_be_read_is_told_at_the_start_and_later_changes_nothing(
    path: Path, text: str | None
) -> None:
    keys = Keys(str(path), rate=0)
    if text is None:
        path.unlink()
    else:
        path.write_text(text, "utf-8", "surrogateescape")
    with pytest.raises(ConfigurationError, match="ingest_api_keys_file: ") as told:
        Keys(str(path), rate=0)
    assert "key much" not in str(told.value)
    assert keys.key_of(head(x_api_key="s3cret-shop"), now=5).name == "shop"
