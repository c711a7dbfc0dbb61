"""How fast the log takes and gives records of 600 bytes, beside raw aiokafka on the same broker."""

import asyncio
import time

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from snowbus.bus.event import EVENTS_TOPIC, ProducerRecord
from snowbus.bus.log import open_log

COUNT = 100_000
TASKS = 100
RECORDS = [ProducerRecord(b"user-%d" % (number % 1000), b"x" * 600) for number in range(COUNT)]


async def append_in_batches(log, size):
    """Seconds to append everything, in batches of `size` from many tasks at once."""
    batches = iter([RECORDS[start : start + size] for start in range(0, COUNT, size)])

    async def work():
        for batch in batches:
            await log.append(EVENTS_TOPIC, batch)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(TASKS):
            tasks.create_task(work())
    return time.perf_counter() - started


async def read_everything(log):
    started = time.perf_counter()
    async with await log.read(await log.beginning_offsets(EVENTS_TOPIC)) as reader:
        left = sum((await log.end_offsets(EVENTS_TOPIC)).values())
        total = left
        while left:
            left -= len(await reader.poll(max_records=2000))
    return (time.perf_counter() - started) * COUNT / total


async def read_in_a_group(log):
    """As `read_everything`, from the first records on that a member of a group is given."""
    left = total = sum((await log.end_offsets(EVENTS_TOPIC)).values())
    async with await log.join([EVENTS_TOPIC], group_id="group") as reader:
        while not (records := await reader.poll(max_records=1)):
            pass
        started = time.perf_counter()
        while left := left - len(records):
            records = await reader.poll(max_records=2000)
        return (time.perf_counter() - started) * COUNT / total


async def raw_aiokafka(servers):
    """Seconds to send everything with aiokafka's own producer, and to read it with its own consumer."""
    producer = AIOKafkaProducer(
        bootstrap_servers=servers, acks="all", enable_idempotence=True, compression_type="lz4", linger_ms=5
    )
    async with producer:
        started = time.perf_counter()
        futures = [await producer.send(EVENTS_TOPIC, key=record.key, value=record.value) for record in RECORDS]
        await asyncio.gather(*futures)
        sent = time.perf_counter() - started
    consumer = AIOKafkaConsumer(EVENTS_TOPIC, bootstrap_servers=servers, auto_offset_reset="earliest")
    async with consumer:
        await consumer.getmany(timeout_ms=5000, max_records=1)
        started = time.perf_counter()
        total = left = sum((await consumer.end_offsets(list(consumer.assignment()))).values()) - 1
        while left > 0:
            left -= sum(map(len, (await consumer.getmany(timeout_ms=1000, max_records=2000)).values()))
        read = (time.perf_counter() - started) * COUNT / total
    return sent, read


async def measure(url):
    async with await open_log(url) as log:
        await log.create_topics([EVENTS_TOPIC])
        singly = await append_in_batches(log, 1)
        in_batches = await append_in_batches(log, 200)
        return singly, in_batches, await read_everything(log), await read_in_a_group(log)


def show(what, seconds, floor=None):
    ratio = f"   {floor / seconds:5.2f} of raw aiokafka" if floor else ""
    print(f"  {what:<46} {COUNT / seconds:>10,.0f} records/s{ratio}")


@pytest.fixture
def loop_factory():
    uvloop = pytest.importorskip("uvloop")
    return uvloop.new_event_loop


def test_embedded_log(sqlite_url, loop_factory):
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        singly, in_batches, read, member = runner.run(measure(sqlite_url))
    print("\nEmbedded log (flushed to the disk)")
    show(f"append, one a call from {TASKS} tasks", singly)
    show(f"append, 200 a call from {TASKS} tasks", in_batches)
    show("read", read)
    show("read as a member of a group", member)


def test_kafka(kafka_url, loop_factory):
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        singly, in_batches, read, member = runner.run(measure(kafka_url))
        raw_sent, raw_read = runner.run(raw_aiokafka(kafka_url.removeprefix("kafka://")))
    print("\nKafka (acks=all, idempotent, lz4)")
    show("append, raw aiokafka send", raw_sent)
    show(f"append, one a call from {TASKS} tasks", singly, raw_sent)
    show(f"append, 200 a call from {TASKS} tasks", in_batches, raw_sent)
    show("read, raw aiokafka getmany", raw_read)
    show("read", read, raw_read)
    show("read as a member of a group", member, raw_read)
