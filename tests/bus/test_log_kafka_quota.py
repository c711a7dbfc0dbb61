"""Appends to a Kafka that throttles who sends more than its quota allows."""

import os

import pytest
from support.aio import run
from support.diagnostics import capture_logs
from support.kafka import limit_producer
from support.logs import read_on

from snowbus.bus.errors import LogUnavailableError
from snowbus.bus.event import EVENTS_TOPIC, ProducerRecord
from snowbus.bus.log import LogOptions, open_log

pytestmark = pytest.mark.real_kafka

CLIENT = "throttled"
BYTES_PER_SECOND = 2000
WINDOW_SECONDS = 10
"""Over how long Kafka's quota takes the mean, when there was nothing before."""


@pytest.fixture
def throttling_kafka_url(real_kafka_url):
    limit_producer(real_kafka_url.removeprefix("kafka://"), CLIENT, BYTES_PER_SECOND)
    yield real_kafka_url
    limit_producer(real_kafka_url.removeprefix("kafka://"), CLIENT, None)


def test_what_a_throttled_log_refuses_is_not_appended_and_it_says_why(throttling_kafka_url):
    """It stays connected, answers questions, and appends again after the time that Kafka has told."""
    much = ProducerRecord(b"key", os.urandom(round(BYTES_PER_SECOND * WINDOW_SECONDS * 1.2)))
    late = ProducerRecord(b"key", b"late")

    async def main():
        with capture_logs() as told:
            async with await open_log(throttling_kafka_url, LogOptions(client_id=CLIENT, append_timeout=0.5)) as log:
                await log.create_topics([EVENTS_TOPIC])
                accepted = 0
                while not told:
                    await log.append(EVENTS_TOPIC, [much])
                    accepted += 1
                refused = 0
                while True:
                    try:
                        await log.append(EVENTS_TOPIC, [late])
                    except LogUnavailableError as error:
                        assert "Kafka throttles us by its quota" in str(error)
                        await log.check()
                        refused += 1
                    else:
                        break
                assert refused
                async with await log.read(await log.beginning_offsets(EVENTS_TOPIC)) as reader:
                    values = [record.value for record in await read_on(reader, accepted + 1)]
                assert values == [much.value] * accepted + [late.value]
        assert [line["event"] for line in told] == ["Kafka throttles us by its quota; appends wait"]

    run(main())
