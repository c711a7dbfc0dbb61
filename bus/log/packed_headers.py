"""The headers of a record as bytes, as an embedded log stores them."""

import struct

from ..event import Headers

_HEADER = struct.Struct(">HI")


def pack_headers(headers: Headers) -> bytes:
    """Headers as bytes: for each, the lengths of name and value, then both."""
    parts = []
    for name, value in headers:
        encoded = name.encode()
        parts.append(_HEADER.pack(len(encoded), len(value)))
        parts.append(encoded)
        parts.append(value)
    return b"".join(parts)


def unpack_headers(packed: bytes) -> Headers:
    """The headers in what `pack_headers` made."""
    headers = []
    at = 0
    while at < len(packed):
        name_length, value_length = _HEADER.unpack_from(packed, at)
        at += _HEADER.size
        name = packed[at : at + name_length].decode()
        at += name_length
        headers.append((name, packed[at : at + value_length]))
        at += value_length
    return tuple(headers)
