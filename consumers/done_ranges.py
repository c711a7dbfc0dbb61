"""Which offsets after a committed one are done already: ranges of offsets, and their text in a commit.

The text is base64 (RFC 4648, section 5, unpadded) of a deflated series of numbers, each as in Protocol Buffers' varint:
how many offsets from the committed one on are not done, then how many are, and so on by turns. It is empty when there
are none.
"""

import binascii
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from bisect import bisect_right
from collections.abc import Iterable, Iterator

DoneRanges = tuple[tuple[int, int], ...]
"""Ranges (first, stop) of offsets, in order, none overlapping; `stop` is the first offset that is not in the range."""

_MAX_RANGES = 100_000


def joined(*ranges: tuple[int, int]) -> DoneRanges:
    """Ranges in any order, as ranges in order of which none touches another."""
    merged: list[tuple[int, int]] = []
    for first, stop in sorted(ranges):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((first, stop))
    return tuple(merged)


def encode_ranges(offset: int, ranges: DoneRanges, *, limit: int) -> str:
    """The text of the ranges after a committed offset, at most `limit` characters long.

    Where all do not fit, the last are left out: to handle a record again does less harm than to lose one.
    """

    def text_of(count: int) -> str:
        return urlsafe_b64encode(zlib.compress(_runs(offset, ranges[:count]))).rstrip(b"=").decode() if count else ""

    text = text_of(len(ranges))
    if len(text) <= limit:
        return text
    return text_of(bisect_right(range(len(ranges)), limit, key=lambda count: len(text_of(count))) - 1)


def decode_ranges(offset: int, text: str) -> DoneRanges:
    """The ranges after a committed offset. Raises ValueError for text that `encode_ranges` does not write."""
    if not text:
        return ()
    try:
        inflate = zlib.decompressobj()
        runs = inflate.decompress(urlsafe_b64decode(text + "=" * (-len(text) % 4)), _MAX_RANGES)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"not ranges of offsets: {error}") from None
    ranges = []
    numbers = _varints(runs)
    for not_done, done in zip(numbers, numbers, strict=False):
        ranges.append((offset + not_done, offset + not_done + done))
        offset = ranges[-1][1]
    return tuple(ranges)


def _runs(offset: int, ranges: DoneRanges) -> bytes:
    numbers: list[int] = []
    for first, stop in ranges:
        numbers += (first - offset, stop - first)
        offset = stop
    return b"".join(map(_varint, numbers))


def _varint(number: int) -> bytes:
    text = bytearray()
    while number > 0x7F:
        text.append(number & 0x7F | 0x80)
        number >>= 7
    text.append(number)
    return bytes(text)


def _varints(text: Iterable[int]) -> Iterator[int]:
    number = shift = 0
    for byte in text:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield number
            number = shift = 0
