"""Signed tokens (JWT): whether one is ours, and what it claims.

Source: RFC 7519, and RFC 8725 on what goes wrong with it. A key belongs to one algorithm: HS256 to the secret, RS256 to
public keys. What a token says of its algorithm only chooses among what is set here.
"""

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
    (jwt.InvalidSignatureError, "has a bad signature"),
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
            algorithm, keys = await self._keys(jwt.get_unverified_header(token))
            for place, (key, fingerprint) in enumerate(keys, 1):
                try:
                    return self._decode(token, algorithm, key), fingerprint
                except jwt.InvalidSignatureError:
                    if place == len(keys):
                        raise
        except jwt.MissingRequiredClaimError as error:
            raise TokenError(f"lacks the claim {error.claim}") from None
        except jwt.PyJWTError as error:
            reasons = (reason for kind, reason in _REASONS if isinstance(error, kind))
            raise TokenError(next(reasons, "has a claim that cannot be used")) from None
        except (ValueError, OverflowError, TypeError, RecursionError):  # of JSON that is none, or of no sense
            raise TokenError("is not a JWT that can be read") from None
        raise TokenError("is signed with a key that is not known")

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

    async def _keys(self, header: Mapping[str, Any]) -> tuple[str, Sequence[VerifyingKey]]:
        """The algorithm and the keys for a token with this header. Raises TokenError."""
        algorithm, key_id = header.get("alg"), header.get("kid")
        secrets, public = self._secrets, bool(self._public_keys()) or self.jwks is not None
        if algorithm == "HS256" and secrets:
            return "HS256", secrets
        if algorithm == "RS256" and public:
            return "RS256", await self._rsa_keys(key_id if isinstance(key_id, str) else None)
        taken = [name for name, ours in (("HS256", secrets), ("RS256", public)) if ours]
        raise TokenError(f"is not signed with {' or '.join(taken)}")

    async def _rsa_keys(self, key_id: str | None) -> Sequence[VerifyingKey]:
        """The registry's key of this id, and those in the file."""
        in_file = self._public_keys()
        if self.jwks is not None:
            try:
                key = await self.jwks.key(key_id)
            except KeysError as error:
                if not in_file:
                    raise TokenError(f"cannot be verified: {error}", status=503) from None
                key = None
            if key is not None:
                return (key, *in_file)
        return in_file


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
