"""Appends to a Kafka that throttles who sends more than its quota allows."""

import os
from contextlib import suppress

import pytest
from support.aio import run
from support.diagnostics import capture_logs
from support.kafka import limit_producer
from support.logs import opened, read_on

from snowbus.bus.errors import LogUnavailableError
from snowbus.bus.event import EVENTS_TOPIC, ProducerRecord
from snowbus.bus.log import LogOptions, open_log

pytestmark = pytest.mark.real_kafka

THROTTLED = "Kafka throttles us by its quota; appends wait"
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
    much = ProducerRecord(b"key", os.urandom(round(BYTES_PER_SECOND * WINDOW_SECONDS * 1.25)))
    late = ProducerRecord(b"key", b"late")

    async def main():
        hasty = LogOptions(client_id=CLIENT, append_timeout=1.0)
        async with opened(throttling_kafka_url) as plain, await open_log(throttling_kafka_url, hasty) as log:
            with capture_logs() as told:
                while THROTTLED not in [line["event"] for line in told]:
                    with suppress(LogUnavailableError):
                        await log.append(EVENTS_TOPIC, [much])
                reasons = []
                while True:
                    try:
                        await log.append(EVENTS_TOPIC, [late])
                    except LogUnavailableError as error:
                        reasons.append(str(error))
                        await log.check()
                    else:
                        break
            assert "not durable within 1 s: Kafka throttles us by its quota" in reasons
            end = sum((await plain.end_offsets(EVENTS_TOPIC)).values())
            async with await plain.read(await plain.beginning_offsets(EVENTS_TOPIC)) as reader:
                values = [record.value for record in await read_on(reader, end)]
            assert values.count(late.value) == 1

    run(main())
