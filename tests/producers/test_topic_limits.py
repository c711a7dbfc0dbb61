"""A topic on Kafka that takes less than we think: what is too large is refused alone, and nothing comes twice."""

import asyncio
import json
import os

import pytest
from aiokafka.admin import NewTopic
from support.aio import run
from support.forwarding import read_all
from support.ingest import payload_data, serving
from support.kafka import administer
from support.snowbus import snowbus

from snowbus.bus.envelope import decode_event
from snowbus.bus.event import BAD_TOPIC, EVENTS_TOPIC
from snowbus.bus.log import open_log
from snowbus.cli import exit_codes
from snowbus.producers.emitters import BusEmitter

pytestmark = pytest.mark.real_kafka


@pytest.fixture
def small_topic_url(real_kafka_url):
    """A Kafka whose topic of events has two partitions, and takes batches of 20 kB at most."""
    topic = NewTopic(EVENTS_TOPIC, 2, 1, topic_configs={"max.message.bytes": "20000"})
    run(administer(real_kafka_url, lambda admin: admin.create_topics([topic])))
    return real_kafka_url


def event(number, *, is_large=False):
    """An event; one that is large is no smaller when it is compressed."""
    payload = {"e": "pv", "eid": f"00000000-0000-4000-8000-{number:012}", "p": "web", "tv": "js-3", "uid": str(number)}
    return payload | ({"page": os.urandom(20_000).hex()} if is_large else {})


async def ids_on(log):
    """The numbers of the events on the topic, sorted."""
    return sorted(int(decode_event(record.value).event_id[-12:]) for record in await read_all(log, EVENTS_TOPIC))


def test_ingest_refuses_the_event_alone_that_a_topic_does_not_take(small_topic_url):
    """In a request of its own beside others, and among others of one request."""

    async def main():
        async with await open_log(small_topic_url) as log, serving(log) as ingest:
            single = [payload_data(event(number, is_large=number == 2)) for number in range(5)]
            together = payload_data(*(event(number, is_large=number == 12) for number in range(10, 20)))
            *answers, mixed = await asyncio.gather(*map(ingest.post, [*single, together]))
            assert [status for status, _ in answers] == [200, 200, 413, 200, 200]
            assert (mixed[0], mixed[1]["accepted"], mixed[1]["refused"]) == (200, 9, 1)
            assert await ids_on(log) == [0, 1, 3, 4, 10, 11, *range(13, 20)]
            bad = await ingest.bad()
            assert sorted(value.split(b'"uid":"')[1].split(b'"')[0] for value, _ in bad) == [b"12", b"2"]
            assert all("larger than topic snowbus.events takes" in headers["reason"] for _, headers in bad)
            assert ingest.metric("snowbus_ingest_events_total") == 13
            assert ingest.metric("snowbus_ingest_refused_total", reason="too_large") == 2

    run(main())


def test_an_emitter_sends_what_is_beside_a_refused_event_once(small_topic_url):
    emitter = BusEmitter(small_topic_url)
    for number in range(10):
        emitter.input(event(number, is_large=number == 6))
    emitter.close()
    assert (emitter.counts.delivered, emitter.counts.refused) == (9, 1)

    async def main():
        async with await open_log(small_topic_url) as log:
            assert await ids_on(log) == [0, 1, 2, 3, 4, 5, 7, 8, 9]
            assert len(await read_all(log, BAD_TOPIC)) == 1

    run(main())


def test_publish_names_the_event_that_a_topic_does_not_take(small_topic_url, tmp_path):
    lines = "".join(json.dumps(event(number, is_large=number == 1)) + "\n" for number in range(3))
    answer = snowbus("publish", "--log", small_topic_url, cwd=tmp_path, stdin=lines)
    assert (answer.stdout, answer.returncode) == ("2 published, 1 refused\n", exit_codes.FAILED)
    assert answer.stderr.startswith("line 2: a record of ")
