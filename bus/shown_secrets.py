"""Tokens and API keys that others show us, kept as digests: what they are compared by, and how files may hold them."""

import hashlib
from collections.abc import Iterator

_DIGESTED = "sha256:"
_DIGEST_BYTES = 32


def digest_of(shown: bytes) -> bytes:
    """What a secret is looked up by, so that the time that takes tells nothing about it."""
    return hashlib.sha256(shown).digest()


def digest_in(text: str) -> bytes:
    """The digest of a secret as settings and files hold it: as it is, or as `sha256:` and 64 hexadecimal digits.

    Raises ValueError, which quotes nothing of it.
    """
    if not text.startswith(_DIGESTED):
        return digest_of(text.encode("utf-8", "replace"))
    try:
        digest = bytes.fromhex(text.removeprefix(_DIGESTED))
    except ValueError:
        digest = b""
    if len(digest) != _DIGEST_BYTES:
        raise ValueError(f"what follows {_DIGESTED} is not {2 * _DIGEST_BYTES} hexadecimal digits")
    return digest


def lines_in(text: str) -> Iterator[tuple[int, list[str]]]:
    """The lines of a file of secrets by their numbers, each as its words; those that are blank or begin with # are
    left out.
    """
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if words and not words[0].startswith("#"):
            yield number, words
