"""Static tokens: those in the settings, which give every right, and those in a file, which give what their scopes say.

The file has a token a line, `NAME TOKEN SCOPE …`, where TOKEN may also be `sha256:` and its digest. Several lines may
have one name: so a token is replaced by adding the new one, and taking away the old one later. A scope that is none of
ours is a mistake here, and one that is misspelt might show more than it was meant to.
"""

import time
from collections.abc import Iterable, Mapping

from snowbus.bus.errors import ConfigurationError
from snowbus.bus.metrics import Metrics
from snowbus.bus.settings import Settings
from snowbus.bus.shown_secrets import digest_in, digest_of, lines_in
from snowbus.bus.watched_file import WatchedFile

from ..masking import Mask
from .rights import SCOPES, NotAllowedError, Rights, is_scope, rights_of

RightsByDigest = Mapping[bytes, Rights]


class StaticTokens:
    """The static tokens of a gateway. Raises ConfigurationError for a file that cannot be used."""

    def __init__(self, settings: Settings, metrics: Metrics, *, mask: Mask) -> None:
        self._mask = mask
        self._own = dict(_every_right(settings.gateway_tokens))
        path = settings.gateway_tokens_file
        self._file = WatchedFile("gateway_tokens_file", path, self._parse) if path else None
        if self._file is not None:
            metrics.watch_file(self._file)

    def rights(self, shown: str) -> Rights | None:
        """The rights of a token, or None when it is not one of these."""
        return self.rights_by_digest(digest_of(shown.encode("utf-8", "replace")))

    def rights_by_digest(self, digest: bytes) -> Rights | None:
        """The rights of the token with a digest, or None."""
        own = self._own.get(digest)
        if own is None and self._file is not None:
            return self._file.value(now=time.monotonic()).get(digest)
        return own

    def _parse(self, text: str) -> RightsByDigest:
        tokens = dict(self._rights_in(number, words) for number, words in lines_in(text))
        if not tokens:
            raise ValueError("it holds no token; write NAME TOKEN SCOPE, one a line")
        return tokens

    def _rights_in(self, number: int, words: list[str]) -> tuple[bytes, Rights]:
        if len(words) < 3:
            raise ValueError(f"line {number} is not NAME TOKEN SCOPE; every right is given by the scopes: events pii")
        name, token, *scopes = words
        for place, scope in enumerate(scopes, start=1):
            if not is_scope(scope):  # and is not shown, as it may be the token, in the wrong place
                raise ValueError(f"line {number}: scope {place} is none of {', '.join(SCOPES)}")
        try:
            digest = digest_in(token)
            return digest, rights_of(scopes, mask=self._mask, holder=f"static token {name}", proof=digest)
        except (ValueError, NotAllowedError) as error:
            raise ValueError(f"line {number}: {error}") from None


def _every_right(tokens: Iterable[str]) -> Iterable[tuple[bytes, Rights]]:
    for place, token in enumerate(tokens):
        try:
            digest = digest_in(token)
        except ValueError as error:
            raise ConfigurationError(f"gateway_tokens: number {place + 1}: {error}") from None
        yield digest, Rights(holder=f"static token {place}", proof=digest)
