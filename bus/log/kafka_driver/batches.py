"""Packs records as Kafka stores them: batches, which say who they are from."""

from collections.abc import Iterable
from typing import NamedTuple

from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from ...event import ProducerRecord

NEVER_MS = 2**31 - 1


class ProducerId(NamedTuple):
    """Who a batch is from, so that Kafka takes each batch once and in order."""

    number: int
    epoch: int


def pack(records: Iterable[ProducerRecord], producer: ProducerId, *, sequence: int, now: int) -> bytes:
    """Records as one compressed batch, the `sequence`th records of a producer on; `now` (ms) is for those without
    a time.
    """
    builder = DefaultRecordBatchBuilder(
        2, DefaultRecordBatch.CODEC_LZ4, 0, producer.number, producer.epoch, sequence, NEVER_MS
    )
    for offset, record in enumerate(records):
        timestamp = now if record.timestamp is None else record.timestamp
        builder.append(offset, timestamp, record.key, record.value, list(record.headers))
    return bytes(builder.build())
