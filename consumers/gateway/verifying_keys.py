"""The keys that signed tokens are verified with, from texts that hold one or several: secrets, and public keys in PEM.

Of several any may have signed a token, so that a key is replaced by adding the new one, and taking away the old one
when what it has signed has expired.
"""

import hashlib
import re
from typing import NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

MIN_RSA_BITS = 2048
_MIN_SECRET_BYTES = 32  # RFC 7518, section 3.2: as many as the hash has
_PEM = re.compile(r"-----BEGIN .*?-----END [^\n]*", re.DOTALL)


class VerifyingKey(NamedTuple):
    """A key, and what it is known by."""

    key: str | RSAPublicKey
    fingerprint: bytes


def rsa_key(key: RSAPublicKey) -> VerifyingKey:
    """A public key."""
    return VerifyingKey(key, hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.PKCS1)).digest())


def secrets_in(text: str) -> tuple[VerifyingKey, ...]:
    """The secrets in a text, a line each. Raises ValueError."""
    if "-----BEGIN" in text:
        raise ValueError("it is a key for RS256; name its file in gateway_jwt_public_key")
    if not (lines := [line.strip() for line in text.splitlines() if line.strip()]):
        raise ValueError("it holds no secret")
    return tuple(map(secret_key, lines))


def secret_key(secret: str) -> VerifyingKey:
    """A secret. Raises ValueError."""
    encoded = secret.encode("utf-8", "replace")
    if len(encoded) < _MIN_SECRET_BYTES:
        raise ValueError(f"HS256 needs a secret of {_MIN_SECRET_BYTES} bytes or more")
    try:
        jwt.get_algorithm_by_name("HS256").prepare_key(secret)
    except jwt.InvalidKeyError:
        raise ValueError("it is a key for RS256; name its file in gateway_jwt_public_key") from None
    return VerifyingKey(secret, hashlib.sha256(encoded).digest())


def public_keys_in(text: str) -> tuple[VerifyingKey, ...]:
    """The public keys in a text, in PEM. Raises ValueError."""
    if not (blocks := _PEM.findall(text)):
        raise ValueError("it holds no public key in PEM")
    return tuple(map(_public_key, blocks))


def _public_key(pem: str) -> VerifyingKey:
    try:
        key = load_pem_public_key(pem.encode())
    except Exception:  # noqa: BLE001 - cryptography has many for what is no key
        raise ValueError("it holds no public key in PEM") from None
    if not isinstance(key, RSAPublicKey) or key.key_size < MIN_RSA_BITS:
        raise ValueError(f"it is no RSA key of {MIN_RSA_BITS} bits or more")
    return rsa_key(key)
