"""Signed tokens (JWT): whether one is ours, and what it claims.

Source: RFC 7519, and RFC 8725 on what goes wrong with it. A key belongs to one algorithm: HS256 to the secret, RS256 to
public keys. What a token says of its algorithm only chooses among what is set here.
"""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jwt

from snowbus.bus.errors import ConfigurationError
from snowbus.bus.metrics import Metrics
from snowbus.bus.settings import Settings
from snowbus.bus.watched_file import WatchedFile

from .jwks import Jwks, KeysError
from .rights import TokenError
from .verifying_keys import VerifyingKey, public_keys_in, secret_key, secrets_in

LEEWAY_SECONDS = 5
"""How far the clocks of those who sign may be from ours."""

_LATEST = 1 << 40  # seconds since 1970: for ever, in numbers that a clock takes
_REASONS: tuple[tuple[type[jwt.PyJWTError], str], ...] = (
    (jwt.ExpiredSignatureError, "has expired"),
    (jwt.ImmatureSignatureError, "is not valid yet"),
    (jwt.InvalidAudienceError, "is for another audience"),
    (jwt.InvalidIssuerError, "is from another issuer"),
    (jwt.DecodeError, "is not a JWT that can be read"),
)


class SignedTokens:
    """Verifies tokens with the keys in the settings; `jwks` is None where no registry is set."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        """Raises ConfigurationError for a key that cannot work."""
        self._secret = _own_secret(settings.gateway_jwt_secret)
        self._secrets_in_file = _keys_of(settings, metrics, "gateway_jwt_secret_file", secrets_in)
        self._public_keys = _keys_of(settings, metrics, "gateway_jwt_public_key", public_keys_in)
        location = settings.gateway_jwks_url
        self.jwks = Jwks(location, refresh=settings.gateway_jwks_refresh) if location else None
        if (jwks := self.jwks) is not None:
            metrics.watch_setting("gateway_jwks_url", lambda: jwks.is_down)
        self._audience = settings.gateway_jwt_audience or None
        self._issuer = settings.gateway_jwt_issuer or None

    async def claims(self, token: str) -> tuple[Mapping[str, Any], bytes]:
        """What a token claims, once it is verified, and by which key, as a fingerprint; `exp` is always there. Raises
        TokenError.
        """
        try:
            header = jwt.get_unverified_header(token)
            algorithm = self._algorithm(header)
            keys = self._secrets if algorithm == "HS256" else self._public_keys()
            found = self._verified(token, algorithm, keys)
            if found is None and algorithm == "RS256" and self.jwks is not None:
                keys = (*keys, *(theirs := await _keys_of_registry(self.jwks, header.get("kid"))))
                found = self._verified(token, algorithm, theirs)
            if found is not None:
                return found
        except jwt.MissingRequiredClaimError as error:
            raise TokenError(f"lacks the claim {error.claim}") from None
        except jwt.PyJWTError as error:
            reasons = (reason for kind, reason in _REASONS if isinstance(error, kind))
            raise TokenError(next(reasons, "has a claim that cannot be used")) from None
        except (ValueError, OverflowError, TypeError, RecursionError):  # of JSON that is none, or of no sense
            raise TokenError("is not a JWT that can be read") from None
        raise TokenError("has a bad signature" if keys else "is signed with a key that is not known")

    def has(self, fingerprint: bytes) -> bool:
        """Whether a key is one of those that are in force."""
        ours = (*self._secrets, *self._public_keys())
        return any(each.fingerprint == fingerprint for each in ours) or bool(self.jwks and self.jwks.has(fingerprint))

    def until(self, claims: Mapping[str, Any]) -> float:
        """When a token that claims this ends to be valid here, in seconds since 1970."""
        return min(int(claims["exp"]), _LATEST) + LEEWAY_SECONDS

    @property
    def _secrets(self) -> Sequence[VerifyingKey]:
        return (*self._secret, *self._secrets_in_file())

    def _verified(
        self, token: str, algorithm: str, keys: Sequence[VerifyingKey]
    ) -> tuple[Mapping[str, Any], bytes] | None:
        """What a token claims, and the key that it is signed with; None when that is none of these."""
        for key, fingerprint in keys:
            with contextlib.suppress(jwt.InvalidSignatureError):
                return self._decode(token, algorithm, key), fingerprint
        return None

    def _decode(self, token: str, algorithm: str, key: Any) -> Mapping[str, Any]:
        return jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=self._audience,
            issuer=self._issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp"], "verify_aud": self._audience is not None},
        )

    def _algorithm(self, header: Mapping[str, Any]) -> str:
        """The algorithm of a token with this header. Raises TokenError."""
        is_public = bool(self._public_keys()) or self.jwks is not None
        taken = [name for name, ours in (("HS256", self._secrets), ("RS256", is_public)) if ours]
        if (algorithm := header.get("alg")) in taken:
            return str(algorithm)
        raise TokenError(f"is not signed with {' or '.join(taken)}")


async def _keys_of_registry(jwks: Jwks, key_id: Any) -> Sequence[VerifyingKey]:
    """The registry's key of this id, where it has one. Raises TokenError when nobody knows yet."""
    try:
        key = await jwks.key(key_id if isinstance(key_id, str) else None)
    except KeysError as error:
        raise TokenError(f"cannot be verified: {error}", status=503) from None
    return () if key is None else (key,)


def _keys_of(
    settings: Settings, metrics: Metrics, setting: str, parse: Callable[[str], tuple[VerifyingKey, ...]]
) -> Callable[[], tuple[VerifyingKey, ...]]:
    """The keys in the file that a setting names, as they are when it is asked. Raises ConfigurationError."""
    path = getattr(settings, setting)
    if not path:
        return tuple
    file = WatchedFile(setting, path, parse)
    metrics.watch_file(file)
    return lambda: file.value(now=time.monotonic())


def _own_secret(secret: str) -> tuple[VerifyingKey, ...]:
    if not secret:
        return ()
    try:
        return (secret_key(secret),)
    except ValueError as error:
        raise ConfigurationError(f"gateway_jwt_secret: {error}") from None
