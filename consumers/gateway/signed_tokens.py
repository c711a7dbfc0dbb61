"""Signed tokens (JWT): whether one is ours, and what it claims.

Source: RFC 7519, and RFC 8725 on what goes wrong with it. A key belongs to one algorithm: HS256 to the secret, RS256 to
public keys. What a token says of its algorithm only chooses among what is set here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from snowbus.bus.errors import ConfigurationError
from snowbus.bus.settings import Settings

from .jwks import MIN_RSA_BITS, Jwks, KeysError
from .rights import TokenError

LEEWAY_SECONDS = 5
"""How far the clocks of those who sign may be from ours."""

_LATEST = 1 << 40  # seconds since 1970: for ever, in numbers that a clock takes
_MIN_SECRET_BYTES = 32  # RFC 7518, section 3.2: as many as the hash has
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

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigurationError for a key that cannot work."""
        self._secret = _checked_secret(settings.gateway_jwt_secret)
        path = settings.gateway_jwt_public_key
        self._public_key = _public_key(Path(path)) if path else None
        location = settings.gateway_jwks_url
        self.jwks = Jwks(location, refresh=settings.gateway_jwks_refresh) if location else None
        self._audience = settings.gateway_jwt_audience or None
        self._issuer = settings.gateway_jwt_issuer or None

    async def claims(self, token: str) -> Mapping[str, Any]:
        """What a token claims, once it is verified; `exp` is always there. Raises TokenError."""
        try:
            header = jwt.get_unverified_header(token)
            algorithm, key = await self._key(header)
            return jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp"], "verify_aud": self._audience is not None},
            )
        except jwt.MissingRequiredClaimError as error:
            raise TokenError(f"lacks the claim {error.claim}") from None
        except jwt.PyJWTError as error:
            reasons = (reason for kind, reason in _REASONS if isinstance(error, kind))
            raise TokenError(next(reasons, "has a claim that cannot be used")) from None
        except (ValueError, OverflowError, TypeError, RecursionError):  # of JSON that is none, or of no sense
            raise TokenError("is not a JWT that can be read") from None

    def until(self, claims: Mapping[str, Any]) -> float:
        """When a token that claims this ends to be valid here, in seconds since 1970."""
        return min(int(claims["exp"]), _LATEST) + LEEWAY_SECONDS

    async def _key(self, header: Mapping[str, Any]) -> tuple[str, str | RSAPublicKey]:
        """The algorithm and the key for a token with this header. Raises TokenError."""
        algorithm, key_id = header.get("alg"), header.get("kid")
        if algorithm == "HS256" and self._secret:
            return "HS256", self._secret
        if algorithm == "RS256" and (self._public_key is not None or self.jwks is not None):
            return "RS256", await self._rsa_key(key_id if isinstance(key_id, str) else None)
        taken = [name for name, ours in (("HS256", self._secret), ("RS256", self._public_key or self.jwks)) if ours]
        raise TokenError(f"is not signed with {' or '.join(taken)}")

    async def _rsa_key(self, key_id: str | None) -> RSAPublicKey:
        """The registry's key of this id, else the one in the file."""
        if self.jwks is not None:
            try:
                key = await self.jwks.key(key_id)
            except KeysError as error:
                if self._public_key is None:
                    raise TokenError(f"cannot be verified: {error}", status=503) from None
                key = None
            if key is not None:
                return key
        if self._public_key is None:
            raise TokenError("is signed with a key that is not known")
        return self._public_key


def _checked_secret(secret: str) -> str:
    if not secret:
        return ""
    if len(secret.encode("utf-8", "replace")) < _MIN_SECRET_BYTES:
        raise ConfigurationError(f"gateway_jwt_secret: HS256 needs a secret of {_MIN_SECRET_BYTES} bytes or more")
    try:
        jwt.get_algorithm_by_name("HS256").prepare_key(secret)
    except jwt.InvalidKeyError:
        told = "gateway_jwt_secret: it is a key for RS256; name its file in gateway_jwt_public_key"
        raise ConfigurationError(told) from None
    return secret


def _public_key(path: Path) -> RSAPublicKey:
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"gateway_jwt_public_key: {path} cannot be read: {error.strerror}") from None
    except Exception:  # noqa: BLE001 - cryptography has many for what is no key
        raise ConfigurationError(f"gateway_jwt_public_key: {path} holds no public key in PEM") from None
    if not isinstance(key, RSAPublicKey) or key.key_size < MIN_RSA_BITS:
        raise ConfigurationError(f"gateway_jwt_public_key: {path} is no RSA key of {MIN_RSA_BITS} bits or more")
    return key
