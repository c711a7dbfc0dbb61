"""What /metrics of a running `snowbus collect` says of deliveries, asked as Prometheus asks."""

import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.aio import soon
from support.collector_double import CollectorDouble
from support.consuming import append
from support.forwarding import numbered
from support.snowbus import Process

from snowbus.bus.event import ProducerRecord

BEHIND = 4_000
"""More than is read ahead of one partition, so that some of them are unread while the collector is away."""
QUICK = ("--backoff", "0.02", "--backoff-max", "0.05", "--timeout", "1", "--max-in-flight", "1000")

Sample = Callable[..., float | None]


@pytest.fixture
def collector() -> Iterator[CollectorDouble]:
    with CollectorDouble() as double:
        yield double


@pytest.fixture
def sample(tmp_path: Path, sqlite_url: str, collector: CollectorDouble) -> Iterator[Sample]:
    """Asks a consumer of the log for a sample by its name and its labels; None when there is none."""
    arguments = ("--log", sqlite_url, "--listen", "127.0.0.1:0", "--collector", f"{collector.url}?key=secret", *QUICK)
    with Process("collect", *arguments, cwd=tmp_path) as process:
        address = process.address("collect")

        def ask(name: str, **labels: str) -> float | None:
            with urllib.request.urlopen(f"{address}/metrics", timeout=5) as answer:
                text = answer.read().decode()
            assert "secret" not in text
            families = text_string_to_metric_families(text)
            samples = (each for family in families for each in family.samples)
            return next((each.value for each in samples if (each.name, each.labels) == (name, labels)), None)

        yield ask


@pytest.fixture
def name(collector: CollectorDouble) -> str:
    """What the metrics call the collector: its URL without the query, where some keep a key."""
    collector.path += "?key=secret"
    return f"{collector.url}/com.snowplowanalytics.snowplow/tp2"


def aged(record: ProducerRecord, seconds: float) -> ProducerRecord:
    """A record that was accepted so long ago."""
    return record._replace(timestamp=round(1000 * (time.time() - seconds)))


def test_a_delivery_is_counted_timed_and_measured(
    sqlite_url: str, collector: CollectorDouble, name: str, sample: Sample
) -> None:
    assert sample("snowbus_collect_collector_up", collector=name) is None
    append(sqlite_url, map(numbered, range(30)))
    soon(lambda: sample("snowbus_collect_delivered_events_total") == 30)
    requests = len(collector.requests)
    size = sum(len(request.body) for request in collector.requests)
    assert sample("snowbus_collect_requests_total", collector=name, status="200") == requests
    assert sample("snowbus_collect_seconds_count", collector=name) == requests
    assert (sample("snowbus_collect_seconds_sum", collector=name) or 0) > 0
    assert sample("snowbus_collect_batch_events_count") == requests
    assert sample("snowbus_collect_batch_events_sum") == 30
    assert sample("snowbus_collect_batch_bytes_sum") == size
    assert sample("snowbus_collect_collector_up", collector=name) == 1
    assert sample("snowbus_collect_in_flight") == 0
    assert sample("snowbus_collect_delivery_seconds_count") == requests
    assert (sample("snowbus_log_bytes", log=sqlite_url) or 0) > size
    assert (sample("snowbus_log_free_bytes", log=sqlite_url) or 0) > 0
    soon(lambda: sample("snowbus_consumer_oldest_seconds", consumer="collector") == 0)


def test_a_refusal_is_an_attempt_and_its_event_dead(
    sqlite_url: str, collector: CollectorDouble, name: str, sample: Sample
) -> None:
    collector.refused = {"7": 400}
    append(sqlite_url, map(numbered, range(30)))
    soon(lambda: sample("snowbus_consumer_records_total", consumer="collector", outcome="dead") == 1)
    soon(lambda: sample("snowbus_collect_delivered_events_total") == 29)
    taken = sample("snowbus_collect_requests_total", collector=name, status="200") or 0
    refused = sample("snowbus_collect_requests_total", collector=name, status="400") or 0
    assert refused >= 1
    assert taken + refused == len(collector.requests) == sample("snowbus_collect_seconds_count", collector=name)
    assert sample("snowbus_collect_collector_up", collector=name) == 1


def test_while_the_collector_is_down_tries_are_counted_and_the_oldest_event_grows_older(
    sqlite_url: str, collector: CollectorDouble, name: str, sample: Sample
) -> None:
    def age() -> float:
        return sample("snowbus_consumer_oldest_seconds", consumer="collector") or 0

    collector.down()
    oldest, *behind = (numbered(number, user="same") for number in range(BEHIND))
    append(sqlite_url, [aged(oldest, 3600.0), *(aged(record, 10.0) for record in behind)])
    soon(lambda: sample("snowbus_collect_collector_up", collector=name) == 0)
    first = soon(lambda: age() >= 3600 and age())
    soon(lambda: age() >= first + 1)
    tries = sample("snowbus_collect_requests_total", collector=name, status="0") or 0
    soon(lambda: (sample("snowbus_collect_requests_total", collector=name, status="0") or 0) > tries)
    assert (sample("snowbus_collect_seconds_count", collector=name) or 0) >= tries
    soon(lambda: sample("snowbus_consumer_lag", consumer="collector", topic="snowbus.events") == BEHIND)
    assert sample("snowbus_consumer_held", consumer="collector") == 1
    assert sample("snowbus_collect_delivered_events_total") == 0
    collector.up()
    soon(lambda: sample("snowbus_collect_delivered_events_total") == BEHIND)
    soon(lambda: age() == 0)
    assert sample("snowbus_collect_collector_up", collector=name) == 1
