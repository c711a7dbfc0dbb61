"""Packed bodies: what is in them, or why they are refused."""

import zlib
from functools import partial
from gzip import compress

import pytest

from snowbus.producers.ingest.encodings import unpack
from snowbus.producers.ingest.reading import TooLargeError
from snowbus.producers.ingest.requests import RefusedError

BODY = b'{"e":"pv"}' * 10
gzip = partial(compress, mtime=0)


@pytest.mark.parametrize(
    ("packed", "encoding"),
    [
        (BODY, ""),
        (BODY, "identity"),
        (gzip(BODY), "gzip"),
        (gzip(BODY), " GZIP "),
        (gzip(BODY), "x-gzip"),
        (gzip(BODY[:50]) + gzip(BODY[50:]), "gzip"),
    ],
)
def test_a_body_is_unpacked(packed: bytes, encoding: str) -> None:
    assert unpack(packed, encoding, limit=len(BODY)) == BODY


@pytest.mark.parametrize(
    ("packed", "encoding", "reason"),
    [
        (gzip(BODY)[:-9], "gzip", "it ends too early"),
        (gzip(BODY) + b"xx", "gzip", "incorrect header check"),
        (BODY, "gzip", "incorrect header check"),
        (zlib.compress(BODY), "gzip", "incorrect header check"),
        (gzip(BODY), "br", "'br': must be gzip"),
        (gzip(b"") * 101, "gzip", "more than 100 gzip members"),
        (gzip(BODY), "gzip, gzip", "must be gzip"),
    ],
)
def test_what_cannot_be_unpacked_is_told(packed: bytes, encoding: str, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason) as told:
        unpack(packed, encoding, limit=1_000)
    assert told.value.kind == "content_encoding"


@pytest.mark.parametrize("members", [1, 3])
def test_a_bomb_is_unpacked_no_further_than_the_limit(members: int) -> None:
    with pytest.raises(TooLargeError) as told:
        unpack(gzip(b"0" * 20_000_000) * members, "gzip", limit=100_000)
    assert told.value.first == b"0" * 65_536
    assert told.value.size is None
