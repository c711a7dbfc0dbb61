"""The collector emitter: what it sends, and what each answer does."""

import json
import time

import pytest
from support.aio import soon
from support.certificates import Authority
from support.collector_double import CollectorDouble, close_mid_response, status
from support.collector_faults import retry_after

from snowbus.producers.emitters import BusEmitter, CollectorEmitter


def send(emitter, count, **parameters):
    for number in range(count):
        emitter.input({"e": "pv", "eid": str(number), "dtm": time.time_ns() // 1_000_000} | parameters)


def ids(collector):
    return [payload["eid"] for payload in collector.accepted]


def test_requests_are_bounded_and_say_when_they_were_sent():
    with CollectorDouble() as collector:
        emitter = CollectorEmitter(collector.url, batch_events=50, batch_bytes=20_000)
        before = time.time_ns() // 1_000_000
        send(emitter, 200, page="x" * 1_000)
        assert emitter.close() is True
        assert ids(collector) == [str(number) for number in range(200)]
        assert collector.violations == []
        assert max(len(request.body) for request in collector.requests) <= 20_000
        assert max(len(request.payloads) for request in collector.requests) <= 50
        assert all(before <= int(payload["stm"]) <= time.time_ns() // 1_000_000 for payload in collector.accepted)
        assert {payload["p"] for payload in collector.accepted} == {"srv"}


def test_the_time_of_sending_is_that_of_the_try_that_is_taken():
    """Else an outage would move derived_tstamp."""
    with CollectorDouble() as collector:
        collector.respond(status(503), status(503))
        emitter = CollectorEmitter(collector.url)
        send(emitter, 1)
        assert emitter.flush() is True
        emitter.close()
        sent = [int(request.payloads[0]["stm"]) for request in collector.requests]
        assert len(sent) == 3
        assert sent[0] < sent[1] < sent[2]


@pytest.mark.parametrize("emitter", [BusEmitter, CollectorEmitter])
def test_certificates_of_an_authority_of_your_own_are_trusted(tmp_path, emitter):
    authority = Authority(tmp_path)
    with CollectorDouble(tls=authority.issue("server", "IP:127.0.0.1").server()) as collector:
        trusting = emitter(collector.url, ssl_cafile=str(authority.file))
        send(trusting, 3)
        assert trusting.close() is True
        assert ids(collector) == ["0", "1", "2"]


@pytest.mark.parametrize(
    "behaviour",
    [status(500), status(302, "", location="/"), status(404), status(429), close_mid_response(), retry_after(1, 503)],
    ids=["500", "302", "404", "429", "broken off", "Retry-After"],
)
def test_what_may_heal_is_tried_again(behaviour):
    with CollectorDouble() as collector:
        collector.respond(behaviour)
        emitter = CollectorEmitter(collector.url)
        send(emitter, 3)
        assert emitter.flush(40) is True
        emitter.close()
        assert ids(collector)[-3:] == ["0", "1", "2"]
        assert (emitter.counts.delivered, emitter.counts.refused) == (3, 0)
        assert emitter.counts.retried > 0


def test_a_retry_after_is_obeyed():
    with CollectorDouble() as collector:
        collector.respond(retry_after(2, 503))
        emitter = CollectorEmitter(collector.url)
        send(emitter, 1)
        assert emitter.flush() is True
        emitter.close()
        first, second = (request.at for request in collector.requests)
        assert second - first >= 2


def test_what_is_too_large_together_goes_apart_and_alone_is_refused():
    with CollectorDouble(max_accepted_bytes=10_000) as collector:
        emitter = CollectorEmitter(collector.url)
        send(emitter, 20, page="x" * 1_000)
        emitter.input({"e": "pv", "eid": "large", "page": "x" * 20_000})
        emitter.input({"e": "pv", "eid": "larger", "page": "x" * 2_000_000})
        assert emitter.close() is True
        assert ids(collector) == [str(number) for number in range(20)]
        assert (emitter.counts.refused, emitter.counts.delivered) == (2, 20)


def test_an_event_that_a_firewall_forbids_does_not_stop_the_others():
    with CollectorDouble(refused={"5": 403}) as collector:
        emitter = CollectorEmitter(collector.url)
        send(emitter, 10)
        assert emitter.close() is True
        assert "5" not in ids(collector)
        assert (emitter.counts.refused, emitter.counts.delivered) == (1, 9)


def test_a_collector_that_forbids_everything_is_waited_for():
    with CollectorDouble() as collector:
        collector.always(status(403))
        emitter = CollectorEmitter(collector.url)
        send(emitter, 3)
        soon(lambda: emitter.counts.retried)
        assert emitter.counts.refused == 0
        collector.always(None)
        assert emitter.flush(20) is True
        emitter.close()
        assert ids(collector) == ["0", "1", "2"]


def test_an_event_with_a_parameter_that_is_unknown_goes_alone():
    """Enrich would make a bad row of all that are in one request with it."""
    with CollectorDouble() as collector:
        emitter = CollectorEmitter(collector.url)
        send(emitter, 3)
        emitter.input({"e": "pv", "eid": "odd", "co_own": "1"})
        send(emitter, 3)
        assert emitter.close() is True
        sent = [[payload["eid"] for payload in json.loads(request.body)["data"]] for request in collector.requests]
        assert ["odd"] in sent
        assert [event_id for each in sent for event_id in each] == ["0", "1", "2", "odd", "0", "1", "2"]


def test_headers_and_credentials_go_along():
    with CollectorDouble(authorization="Basic bWU6cw==") as collector:
        url = collector.url.replace("http://", "http://me:s@")
        emitter = BusEmitter(url, headers=["X-Api-Key: k"])
        send(emitter, 1)
        assert emitter.close() is True
        assert collector.requests[0].headers["x-api-key"] == "k"
        assert "me:s" not in repr(emitter.__dict__)
