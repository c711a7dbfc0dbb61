"""Unpacks request bodies: gzip, and never more of it than the limit, whatever a body would grow to."""

import zlib

from .reading import KEPT_BYTES, TooLargeError
from .requests import RefusedError

_GZIP = 16 + zlib.MAX_WBITS
_PLAIN = ("", "identity")
_PACKED = ("gzip", "x-gzip")
_MOST_MEMBERS = 100


def unpack(body: bytes, encoding: str, *, limit: int) -> bytes:
    """The body that was packed as its Content-Encoding says; as it is where that says nothing.

    Raises TooLargeError (with the first of what was in it), and RefusedError for what cannot be unpacked.
    """
    encoding = encoding.strip().lower()
    if encoding in _PLAIN:
        return body
    if encoding not in _PACKED:
        raise RefusedError("content_encoding", f"content encoding {encoding!r}: must be gzip, or none")
    unpacked = bytearray()
    rest = body
    members = 0
    while rest:  # a gzip file may have several members
        members += 1
        if members > _MOST_MEMBERS:  # each costs a copy of all that follow
            raise RefusedError("content_encoding", f"the body has more than {_MOST_MEMBERS} gzip members")
        member = zlib.decompressobj(_GZIP)
        try:
            unpacked += member.decompress(rest, limit + 1 - len(unpacked))
        except zlib.error as error:
            raise RefusedError("content_encoding", f"the body is not gzip: {_plainly(error)}") from None
        if len(unpacked) > limit:
            raise TooLargeError(bytes(unpacked[:KEPT_BYTES]), size=None, unread=False)
        if not member.eof:
            raise RefusedError("content_encoding", "the body is not gzip: it ends too early")
        rest = member.unused_data
    return bytes(unpacked)


def _plainly(error: zlib.error) -> str:
    """Zlib's reason, without its code."""
    return str(error).rpartition(": ")[2]
