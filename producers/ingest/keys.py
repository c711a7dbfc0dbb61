"""API keys: who may send, and how many events a second.

The file has a key a line, `NAME KEY` or `NAME KEY EVENTS_A_SECOND`, where KEY may also be `sha256:` and its digest. It
is read again when it changes, so that a key is replaced by adding the new one, and taking away the old one later.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from snowbus.bus.errors import SnowbusError
from snowbus.bus.shown_secrets import digest_in, digest_of, lines_in
from snowbus.bus.watched_file import WatchedFile

from .requests import parse_query
from .source import Head, header_text

_PARAMETER = b"api_key"
_HOW = "send `Authorization: Bearer KEY`, `X-API-Key: KEY`, or api_key=KEY in the query string"


class UnauthorizedError(SnowbusError):
    """A request without a key that is known."""


class RateLimitedError(SnowbusError):
    """A key that has sent more than it may; `seconds` is how long to wait."""

    retriable = True

    def __init__(self, name: str, *, rate: float, seconds: float) -> None:
        super().__init__(f"the key {name!r} may send {rate:g} events a second")
        self.seconds = math.ceil(seconds)


@dataclass
class Key:
    """A key's name, and how many events a second it may send: 0 is any number."""

    name: str
    rate: float
    _balance: float = math.inf
    _at: float = 0.0

    def check(self, *, now: float) -> None:
        """Raises RateLimitedError while more has been sent than the rate has made up for since."""
        if not self.rate:
            return
        most = max(1.0, self.rate)  # what a second of silence saves up
        self._balance = min(most, self._balance + (now - self._at) * self.rate)
        self._at = now
        if self._balance <= 0:
            raise RateLimitedError(self.name, rate=self.rate, seconds=-self._balance / self.rate + 1 / self.rate)

    def spend(self, events: int) -> None:
        """Count events that were sent: of a batch all, so that the next request may have to wait for them."""
        if self.rate:
            self._balance -= events


class Keys:
    """The keys in a file. Raises ConfigurationError when it cannot be read, or holds anything else."""

    def __init__(self, path: str, *, rate: float) -> None:
        self._rate = rate
        self._keys: Mapping[bytes, Key] = {}
        self.file = WatchedFile("ingest_api_keys_file", path, self._parse)

    def key_of(self, head: Head, *, now: float) -> Key:
        """The key that a request shows. Raises UnauthorizedError, RateLimitedError."""
        keys = self.file.value(now=now)
        shown = [digest_of(text) for text in _shown(head)]
        if not shown:
            raise UnauthorizedError(f"an API key is missing; {_HOW}")
        for digest in shown:
            if (key := keys.get(digest)) is not None:
                key.check(now=now)
                return key
        raise UnauthorizedError(f"this API key is not one of ours; {_HOW}")

    def _parse(self, text: str) -> Mapping[bytes, Key]:
        """The keys in a file; those that were there before are the same, and have spent what they have."""
        keys = dict(parse_keys(text, rate=self._rate))
        if not keys:
            raise ValueError("it holds no key; write NAME KEY, one a line")
        self._keys = {digest: self._same(digest, key) for digest, key in keys.items()}
        return self._keys

    def _same(self, digest: bytes, key: Key) -> Key:
        before = self._keys.get(digest)
        return before if before and (before.name, before.rate) == (key.name, key.rate) else key


def parse_keys(text: str, *, rate: float) -> Iterator[tuple[bytes, Key]]:
    """The keys in a file, by their digests. Raises ValueError, which names the line and never a key."""
    for number, words in lines_in(text):
        try:
            name, key, *rest = words
            own = float(rest[0]) if rest else rate
        except ValueError:
            raise ValueError(f"line {number} is not NAME KEY, or NAME KEY EVENTS_A_SECOND") from None
        if len(rest) > 1 or not (0 <= own < math.inf):
            raise ValueError(f"line {number} is not NAME KEY, or NAME KEY EVENTS_A_SECOND")
        try:
            yield digest_in(key), Key(name, own)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None


def without_key(head: Head) -> Head:
    """A head in whose query string, and in its Referer's, there is no key any more: it must not get on the log."""
    page, mark, query = head.headers.get(b"referer", b"").partition(b"?")
    if mark:
        headers = {**head.headers, b"referer": page + mark + _without_parameter(query)}
        head = head._replace(headers=headers)
    return head._replace(query=_without_parameter(head.query))


def _shown(head: Head) -> Iterator[bytes]:
    """The keys that a request shows."""
    scheme, _, token = header_text(head.headers.get(b"authorization", b"")).partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        yield token.strip().encode()
    if header := head.headers.get(b"x-api-key", b"").strip():
        yield header
    if _PARAMETER in head.query and (text := parse_query(head.query).get(_PARAMETER.decode())):
        yield text.encode("utf-8", "surrogateescape")


def _without_parameter(query: bytes) -> bytes:
    """A query string without the keys in it; as it was when there are none."""
    if _PARAMETER not in unquote_to_bytes(query):
        return query
    return b"&".join(pair for pair in query.split(b"&") if _PARAMETER.decode() not in parse_query(pair))
