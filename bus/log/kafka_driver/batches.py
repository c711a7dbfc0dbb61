"""Packs records as Kafka stores them: batches, which say who they are from.

Source: Apache Kafka's documentation, "Record Batch": where a batch has its length, checksum and attributes.
"""

import struct
from collections.abc import Iterable
from typing import NamedTuple

from aiokafka.codec import lz4_encode
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from ...event import ProducerRecord
from ..kafka_errors import BatchRefusedError

NEVER_MS = 2**31 - 1
_LENGTH_AT, _AFTER_LENGTH, _CHECKSUM_AT, _ATTRIBUTES_AT, _HEAD_BYTES = 8, 12, 17, 21, 61
_LEVEL = 1
"""Of the compression. aiokafka's, 9, makes batches 5 % smaller and takes five times as long."""


class ProducerId(NamedTuple):
    """Who a batch is from, so that Kafka takes each batch once and in order."""

    number: int
    epoch: int


def pack(records: Iterable[ProducerRecord], producer: ProducerId, *, sequence: int, now: int) -> bytes:
    """Records as one compressed batch, the `sequence`th records of a producer on; `now` (ms) is for those without
    a time. Raises BatchRefusedError.
    """
    builder = DefaultRecordBatchBuilder(
        2, DefaultRecordBatch.CODEC_NONE, 0, producer.number, producer.epoch, sequence, NEVER_MS
    )
    for offset, record in enumerate(records):
        timestamp = now if record.timestamp is None else record.timestamp
        try:
            builder.append(offset, timestamp, record.key, record.value, list(record.headers))
        except Exception as error:
            raise BatchRefusedError(f"it cannot be packed: {error}", too_large=False) from error
    return _compressed(bytes(builder.build()))


def _compressed(batch: bytes) -> bytes:
    """A batch, compressed where that makes it smaller."""
    records = lz4_encode(batch[_HEAD_BYTES:], level=_LEVEL)
    if _HEAD_BYTES + len(records) >= len(batch):
        return batch
    (attributes,) = struct.unpack_from(">h", batch, _ATTRIBUTES_AT)
    summed = struct.pack(">h", attributes | DefaultRecordBatch.CODEC_LZ4) + batch[_ATTRIBUTES_AT + 2 : _HEAD_BYTES]
    summed += records
    length = struct.pack(">i", _ATTRIBUTES_AT - _AFTER_LENGTH + len(summed))
    checksum = struct.pack(">I", calc_crc32c(summed))
    return b"".join((batch[:_LENGTH_AT], length, batch[_AFTER_LENGTH:_CHECKSUM_AT], checksum, summed))
