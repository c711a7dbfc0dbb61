"""The counts: by app and name, bounded whatever is sent, and on the address that `snowbus consume` serves."""

from urllib.request import urlopen

import pytest
from prometheus_client import REGISTRY
from support.aio import soon
from support.consuming import append, consume

from snowbus.cli import exit_codes
from snowbus.consumers.examples import prometheus_counts as example
from snowbus.consumers.examples.prometheus_counts import prometheus_counts
from snowbus.consumers.testing import event, run_consumer

ADD = "iglu:com.acme/add_to_cart/jsonschema/1-0-0"


@pytest.fixture(autouse=True)
def from_zero():
    example.SEEN.clear()
    example.pairs.clear()


def count(app_id, event_name):
    return REGISTRY.get_sample_value("events_seen_total", {"app_id": app_id, "event_name": event_name})


def test_events_are_counted_by_app_and_name():
    events = [event("page_view", app_id="shop"), event("page_view", app_id="shop"), event(schema=ADD, app_id="till")]
    assert run_consumer(prometheus_counts, [*events, event("page_view")]).handled == 4
    assert (count("shop", "page_view"), count("till", "add_to_cart"), count("none", "page_view")) == (2, 1, 1)


def test_there_are_never_more_series_than_is_good(monkeypatch):
    monkeypatch.setattr(example, "MOST_PAIRS", 10)
    run_consumer(prometheus_counts, [event(app_id=f"app-{number}", user_id="u") for number in range(50)])
    run_consumer(prometheus_counts, [event(app_id="app-0")])
    series = [sample for metric in example.SEEN.collect() for sample in metric.samples if "total" in sample.name]
    assert len(series) == 11
    assert (count("app-0", "page_view"), count("other", "other")) == (2, 40)


def test_a_name_that_prometheus_could_not_show_is_changed_and_cut():
    run_consumer(prometheus_counts, [event(app_id="\ud800" + 500 * "x")])
    assert count("?" + 99 * "x", "page_view") == 1


def test_what_is_no_event_is_not_counted_and_no_dead_letter():
    result = run_consumer(prometheus_counts, [event()._replace(value=b"nonsense"), event()])
    assert (result.handled, result.retries, result.dead_letters, result.lag) == (1, 0, [], 0)


def test_the_command_serves_the_counts_beside_its_own(tmp_path, sqlite_url):
    append(sqlite_url, [event(app_id="shop") for _ in range(3)])
    with consume(tmp_path, sqlite_url, "snowbus.consumers.examples.prometheus_counts") as process:
        address = process.address("consume")

        def metrics():
            with urlopen(f"{address}/metrics") as answer:
                return answer.read().decode().splitlines()

        soon(lambda: 'events_seen_total{app_id="shop",event_name="page_view"} 3.0' in metrics())
        assert any(line.startswith("snowbus_consumer_records_total") for line in metrics())
        assert process.stop() == exit_codes.OK
