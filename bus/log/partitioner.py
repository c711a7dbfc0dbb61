"""Which partition a key belongs to: CRC-32, as librdkafka's own default, so that other producers agree with ours."""

from itertools import count
from zlib import crc32

_turn = count()


def partition_of(key: bytes | None, partitions: int) -> int:
    """The partition of a key; records without one take turns."""
    return (crc32(key) if key else next(_turn)) % partitions
