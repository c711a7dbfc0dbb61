"""Records that are made of Kafka's batches without aiokafka's own, beside aiokafka's own."""

import inspect
from zlib import crc32

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import READ_UNCOMMITTED, Fetcher, FetchError, FetchResult, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from hypothesis import given
from hypothesis import strategies as st

from snowbus.bus.errors import LogUnavailableError
from snowbus.bus.event import Record, TopicPartition
from snowbus.bus.log.kafka_driver.fetched import FetchedRecords

PLACE = TopicPartition("snowbus.events", 3)
CONTROL, LOG_APPEND_TIME = 0x20, 0x08


def test_what_is_stood_in_for_is_as_it_was():
    """When aiokafka changes it: compare it with `fetched` and `Consumer.fetch`, then put the new numbers here."""
    parts = (
        AIOKafkaConsumer.getmany,
        Fetcher.fetched_records,
        Fetcher._create_fetch_waiter,
        FetchError,
        FetchResult,
        PartitionRecords,
    )
    assert {part.__name__: crc32(inspect.getsource(part).encode()) for part in parts} == {
        "getmany": 4156307181,
        "fetched_records": 1171421868,
        "_create_fetch_waiter": 3266077954,
        "FetchError": 4018913322,
        "FetchResult": 2953969451,
        "PartitionRecords": 2704493412,
    }


def batch(base, offsets, *, codec=DefaultRecordBatch.CODEC_NONE, attributes=0, headers=(), last=None):
    """Bytes of a batch from `base` on, with records at these offsets, as if compaction had removed the others."""
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 1 << 20)
    for offset in offsets:
        builder.append(offset - base, 1000 + offset, b"key" if offset % 2 else None, b"%d" % offset, list(headers))
    packed = bytearray(builder.build())
    packed[0:8] = base.to_bytes(8, "big")
    packed[22] |= attributes
    packed[23:27] = ((offsets[-1] if last is None else last) - base).to_bytes(4, "big")
    packed[17:21] = calc_crc32c(bytes(packed[21:])).to_bytes(4, "big")
    return bytes(packed)


def theirs(packed, fetch_offset):
    records = PartitionRecords(PLACE, MemoryRecords(packed), [], fetch_offset, None, None, True, READ_UNCOMMITTED)
    return [
        Record(r.topic, r.partition, r.offset, r.timestamp, r.key, r.value or b"", r.headers) for r in records
    ], records.next_fetch_offset


def ours(packed, fetch_offset, limits):
    records = FetchedRecords(PLACE, MemoryRecords(packed), fetch_offset=fetch_offset)
    found = []
    for limit in limits:
        some = records.take(limit)
        assert len(some) <= limit
        found += some
        assert not some or records.next_fetch_offset > some[-1].offset
        if len(some) < limit:
            break
    return found, records.next_fetch_offset


@st.composite
def answers(draw):
    """What a broker may answer: batches of which the first may begin before what was asked for."""
    base, packed, firsts = draw(st.integers(0, 5)), b"", []
    for _ in range(draw(st.integers(1, 4))):
        offsets = sorted(draw(st.sets(st.integers(base, base + 12), min_size=1, max_size=10)))
        last = offsets[-1] + draw(st.integers(0, 3))
        firsts.append((base, last))
        packed += batch(
            base,
            offsets,
            codec=draw(st.sampled_from([DefaultRecordBatch.CODEC_NONE, DefaultRecordBatch.CODEC_LZ4])),
            attributes=draw(st.sampled_from([0, 0, CONTROL, LOG_APPEND_TIME])),
            headers=draw(st.sampled_from([(), (("a", b"1"), ("ü", b""))])),
            last=last,
        )
        base = last + 1 + draw(st.integers(0, 2))
    return packed, draw(st.integers(*firsts[0]))


@given(answers(), st.integers(1, 7))
def test_the_same_records_are_made_and_the_same_offset_is_next(answer, limit):
    packed, fetch_offset = answer
    assert ours(packed, fetch_offset, [limit] * 100) == theirs(packed, fetch_offset)


def test_batches_of_the_old_format_are_read():
    builder = LegacyRecordBatchBuilder(1, 0, 1 << 20)
    for offset in range(4):
        builder.append(offset, 1000 + offset, b"k", b"%d" % offset)
    packed = bytes(builder.build())
    found, following = ours(packed, 1, [10])
    assert [record.offset for record in found] == [1, 2, 3]
    assert (found, following) == theirs(packed, 1)


def test_what_is_taken_in_parts_tells_where_the_next_part_begins():
    records = FetchedRecords(PLACE, MemoryRecords(batch(0, [0, 1, 4], last=6) + batch(7, [8, 9])), fetch_offset=0)
    steps = []
    for _ in range(3):
        taken = records.take(2)
        steps.append(([record.offset for record in taken], records.next_fetch_offset))
    assert steps == [([0, 1], 2), ([4, 8], 9), ([9], 10)]


def test_a_batch_that_came_damaged_is_not_read():
    packed = bytearray(batch(0, [0, 1, 2]))
    packed[-1] ^= 1
    records = FetchedRecords(PLACE, MemoryRecords(bytes(packed)), fetch_offset=0)
    with pytest.raises(LogUnavailableError, match="came damaged"):
        records.take(10)
