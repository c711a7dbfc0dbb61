"""Batches as Kafka stores them, as aiokafka reads them."""

from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from snowbus.bus.event import ProducerRecord
from snowbus.bus.log.kafka_driver.batches import ProducerId, pack

records = st.builds(
    ProducerRecord,
    key=st.none() | st.binary(max_size=9),
    value=st.binary(max_size=300) | st.binary(max_size=9).map(lambda value: value * 99),
    headers=st.lists(st.tuples(st.text(max_size=9), st.binary(max_size=9)), max_size=3).map(tuple),
    timestamp=st.none() | st.integers(0, 2**42),
)


def read(packed):
    """The one batch in these bytes, whose checksum is right."""
    batches = MemoryRecords(packed)
    batch = batches.next_batch()
    assert batch.validate_crc()
    assert not batches.has_next()
    return batch


@given(st.lists(records, min_size=1, max_size=20))
def test_what_is_packed_is_read_back(packed):
    batch = read(pack(packed, ProducerId(7, 2), sequence=5, now=99))
    assert (batch.producer_id, batch.producer_epoch, batch.base_sequence) == (7, 2, 5)
    assert [ProducerRecord(record.key, record.value, tuple(record.headers), record.timestamp) for record in batch] == [
        record._replace(timestamp=99 if record.timestamp is None else record.timestamp) for record in packed
    ]


def test_batches_are_compressed():
    value = b'{"e":"pv"}' * 100
    packed = pack([ProducerRecord(None, value)] * 9, ProducerId(7, 2), sequence=0, now=99)
    assert read(packed).compression_type == DefaultRecordBatch.CODEC_LZ4
    assert len(packed) < len(value)
