"""The public keys that tokens are signed with, as a registry publishes them: fetched, kept, and fetched anew.

Source: RFC 7517 (JSON Web Key). Of a set only what verifies RS256 is taken: RSA keys of at least 2048 bits that are
marked for no other use or algorithm.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK, PyJWTError

from snowbus.bus import json_text
from snowbus.bus.backoff import Backoff
from snowbus.bus.diagnostics import Diagnostics
from snowbus.bus.download import DownloadError, download
from snowbus.bus.errors import ConfigurationError, JsonError, SnowbusError
from snowbus.bus.shown_urls import without_secrets
from snowbus.bus.sparingly import SparingDiagnostics
from snowbus.bus.watched_file import LOOK_SECONDS

from .verifying_keys import MIN_RSA_BITS, VerifyingKey, rsa_key

logger = Diagnostics(__name__)

_FETCH_SECONDS = 3.0
_LOOK_SECONDS = 10.0
_WARN_SECONDS = 60.0
_MAX_BYTES = 1_000_000
_MAX_KEYS = 100

Keys = Mapping[str | None, VerifyingKey]
"""Keys by their ids; a key without one stands under None."""


class KeysError(SnowbusError):
    """The keys cannot be had; says why."""

    retriable = True


class Jwks:
    """The keys at `location`: an http(s) URL, a `file:` URL or a path.

    While the registry is away the last keys stay in force. A key that is not known is looked for once in ten seconds,
    whoever asks, and is called unknown only by keys that were fetched since it was asked for; `refresh` is after how
    many seconds the keys are fetched anyway, so that one that is withdrawn ends. A file is looked at twice a second.
    """

    def __init__(self, location: str, *, refresh: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._location = _checked(location)
        self.name = location if isinstance(self._location, Path) else without_secrets(location)
        self._refresh = min(refresh, LOOK_SECONDS) if isinstance(self._location, Path) else refresh
        self._clock = clock
        self._keys: Keys | None = None
        self._text = b""
        self._looked_at = float("-inf")
        self._fetched_at = float("-inf")
        self.is_down = False
        self._diagnostics = SparingDiagnostics(logger, seconds=_WARN_SECONDS, clock=clock)
        self._fetching = asyncio.Lock()

    async def run(self) -> None:
        """Keep the keys fresh, until cancelled."""
        backoff = Backoff(1.0, maximum=60.0)
        while True:
            async with self._fetching:
                await self._fetch()
            if self.is_down:
                await asyncio.sleep(min(self._refresh, backoff.next_wait()))
            else:
                backoff.reset()
                await asyncio.sleep(self._refresh)

    def has(self, fingerprint: bytes) -> bool:
        """Whether a key is one of those that are in force."""
        return any(key.fingerprint == fingerprint for key in (self._keys or {}).values())

    async def key(self, key_id: str | None) -> VerifyingKey | None:
        """The key of this id, or without an id the only one there is; None when the registry has none. Raises KeysError
        when it has not been asked since.
        """
        if (found := self._find(key_id)) is not None:
            return found
        since = self._clock()
        async with self._fetching:
            if (found := self._find(key_id)) is not None:  # somebody else has looked for it meanwhile
                return found
            if self._clock() - self._looked_at >= _LOOK_SECONDS:
                self._looked_at = self._clock()
                await self._fetch()
        if (found := self._find(key_id)) is None and self._fetched_at < since:
            if self.is_down:
                raise KeysError("the keys that tokens are signed with cannot be fetched now")
            raise KeysError(f"its key is not known yet, and is looked for once in {_LOOK_SECONDS:g} seconds")
        return found

    def _find(self, key_id: str | None) -> VerifyingKey | None:
        keys = self._keys or {}
        if key_id is None and len(keys) == 1:
            return next(iter(keys.values()))
        return keys.get(key_id)

    async def _fetch(self) -> None:
        began = self._clock()
        try:
            text = await self._load()
            is_new = self._keys is None or text != self._text
            if self._keys is None or is_new:
                self._keys, self._text = parse_jwks(text), text
        except KeysError as error:
            self.is_down = True
            self._diagnostics.warning(
                "the keys of tokens cannot be fetched",
                registry=self.name,
                reason=str(error),
                consequence="there are none yet" if self._keys is None else "the last ones stay in force",
            )
            return
        if self.is_down:
            logger.info("the keys of tokens can be fetched again", registry=self.name, keys=len(self._keys))
        elif is_new and not self._keys:
            logger.warning("the registry has no key that verifies RS256", registry=self.name)
        self.is_down = False
        self._fetched_at = began
        self._diagnostics.reset()

    async def _load(self) -> bytes:
        if isinstance(self._location, Path):
            try:
                return await asyncio.to_thread(_read, self._location)
            except OSError as error:
                raise KeysError(f"the file cannot be read: {error.strerror or 'no reason given'}") from None
        try:
            found = await download(self._location, whose="the registry's", seconds=_FETCH_SECONDS, limit=_MAX_BYTES)
        except DownloadError as error:
            raise KeysError(str(error)) from None
        if found.status != 200:
            raise KeysError(f"the registry answered {found.status}")
        return _bounded(found.body)


def parse_jwks(text: bytes) -> Keys:
    """The keys in a JSON Web Key Set that verify RS256. Raises KeysError when it is none, or one that is too large."""
    try:
        document = json_text.loads(text.decode())
    except (JsonError, UnicodeDecodeError):
        raise KeysError("it is not JSON") from None
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise KeysError("it is no JSON Web Key Set, which has an array of keys")
    if len(entries) > _MAX_KEYS:
        raise KeysError(f"it has more than {_MAX_KEYS} keys")
    keys: dict[str | None, VerifyingKey] = {}
    for entry in entries:
        if isinstance(entry, dict) and (key := _rsa_key(entry)) is not None:
            key_id = entry.get("kid")
            keys[key_id if isinstance(key_id, str) else None] = rsa_key(key)
    return keys


def _rsa_key(entry: Mapping[str, Any]) -> RSAPublicKey | None:
    if entry.get("kty") != "RSA" or entry.get("use", "sig") != "sig" or entry.get("alg", "RS256") != "RS256":
        return None
    try:
        key = PyJWK(dict(entry), algorithm="RS256").key
    except (PyJWTError, ValueError, TypeError):
        return None
    return key if isinstance(key, RSAPublicKey) and key.key_size >= MIN_RSA_BITS else None


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return _bounded(file.read(_MAX_BYTES + 1))


def _bounded(text: bytes) -> bytes:
    if len(text) > _MAX_BYTES:
        raise KeysError(f"it is larger than {_MAX_BYTES} bytes")
    return text


def _checked(location: str) -> str | Path:
    try:
        parts = urlsplit(location)
    except ValueError:
        raise ConfigurationError("gateway_jwks_url: it is not a URL") from None
    if parts.scheme in ("http", "https") and parts.hostname:
        return location
    if parts.scheme == "file" and not parts.netloc:
        return Path(parts.path)
    if not parts.scheme:
        return Path(location)
    raise ConfigurationError("gateway_jwks_url: it is neither an http(s) URL nor a file")
