"""API keys: who may send, and how many events a second.

The file has a key a line, `NAME KEY` or `NAME KEY EVENTS_A_SECOND`; blank lines, and those that begin with #, count for
nothing. It is read again when it changes, so that a key is replaced by adding the new one, and taking away the old one
later. Keys are kept as digests, and looked up by them, so that the time that takes tells nothing about a key.
"""

import hashlib
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from snowbus.bus.diagnostics import Diagnostics
from snowbus.bus.errors import ConfigurationError, SnowbusError

from .requests import parse_query
from .source import Head, header_text

logger = Diagnostics(__name__)

_LOOK_SECONDS = 1.0
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


class _Stamp(NamedTuple):
    inode: int
    size: int
    changed: int


class Keys:
    """The keys in a file. Raises ConfigurationError when it cannot be read, or holds anything else."""

    def __init__(self, path: str, *, rate: float) -> None:
        self._path = Path(path)
        self._rate = rate
        self._looked_at = -math.inf
        self._stamp: _Stamp | None = None
        self._keys: Mapping[bytes, Key] = {}
        self._read()

    def key_of(self, head: Head, *, now: float) -> Key:
        """The key that a request shows. Raises UnauthorizedError, RateLimitedError."""
        if now - self._looked_at >= _LOOK_SECONDS:
            self._look()
            self._looked_at = now
        shown = [_digest(text) for text in _shown(head)]
        if not shown:
            raise UnauthorizedError(f"an API key is missing; {_HOW}")
        for digest in shown:
            if (key := self._keys.get(digest)) is not None:
                key.check(now=now)
                return key
        raise UnauthorizedError(f"this API key is not one of ours; {_HOW}")

    def _look(self) -> None:
        """Read the file again if it is another one; what is wrong with it is told, and the keys stay as they were."""
        try:
            self._read()
        except ConfigurationError as error:
            logger.warning("the API keys stay as they were", reason=str(error))

    def _read(self) -> None:
        try:
            stat = os.stat(self._path)  # noqa: PTH116 - follows the links that a mounted secret is made of
            stamp = _Stamp(stat.st_ino, stat.st_size, stat.st_mtime_ns)
            if stamp == self._stamp:
                return
            self._stamp = stamp
            keys = dict(parse_keys(self._path.read_text("utf-8"), rate=self._rate))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"ingest_api_keys_file: {self._path}: {_reason(error)}") from None
        except ValueError as error:
            raise ConfigurationError(f"ingest_api_keys_file: {self._path}: {error}") from None
        if not keys:
            raise ConfigurationError(f"ingest_api_keys_file: {self._path} holds no key; write NAME KEY, one a line")
        before = {digest: key for digest, key in self._keys.items() if digest in keys and key.rate == keys[digest].rate}
        self._keys = {**keys, **before}


def parse_keys(text: str, *, rate: float) -> Iterator[tuple[bytes, Key]]:
    """The keys in a file, by their digests. Raises ValueError, which names the line and never a key."""
    for number, line in enumerate(text.splitlines(), 1):
        parts = line.split()
        if not parts or parts[0].startswith("#"):
            continue
        try:
            name, key, *rest = parts
            own = float(rest[0]) if rest else rate
        except ValueError:
            raise ValueError(f"line {number} is not NAME KEY, or NAME KEY EVENTS_A_SECOND") from None
        if len(rest) > 1 or not (0 <= own < math.inf):
            raise ValueError(f"line {number} is not NAME KEY, or NAME KEY EVENTS_A_SECOND")
        yield _digest(key.encode()), Key(name, own)


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


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "is not UTF-8"
