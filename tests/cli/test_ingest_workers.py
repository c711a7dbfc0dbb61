"""`snowbus ingest --workers`: several processes on one port, kept running, ended together."""

import os
import re
import signal
import urllib.request
from collections import Counter

from support.aio import soon
from support.consuming import records_of
from support.processes import children
from support.sharing import all_run_besides, own_addresses, shared_address, workers
from support.traffic import Publisher, flowing

from snowbus.bus.envelope import decode_event
from snowbus.bus.event import EVENTS_TOPIC
from snowbus.cli import exit_codes


def events_taken(address):
    text = urllib.request.urlopen(f"{address}/metrics", timeout=5).read().decode()
    return float(re.search(r"^snowbus_ingest_events_total (\S+)$", text, re.MULTILINE)[1])


def event_ids(url):
    return Counter(decode_event(record.value).event_id for record in records_of(url, EVENTS_TOPIC))


def test_requests_are_spread_over_the_processes(tmp_path, log_url):
    with workers("ingest", tmp_path, log_url) as process:
        addresses = own_addresses(process, "ingest")
        shared = f"http://{shared_address(process, 'ingest')}"
        publisher = Publisher(lambda: [shared])
        with flowing(publisher):
            soon(lambda: all(map(events_taken, addresses)))
        assert process.stop() == exit_codes.OK
        assert not children(process.pid)
    assert event_ids(log_url) == dict.fromkeys(publisher.acknowledged, 1)


def test_what_was_acknowledged_is_on_the_log_whoever_is_killed(tmp_path, log_url):
    with workers("ingest", tmp_path, log_url, "--worker-backoff", "0.1") as process:
        own_addresses(process, "ingest")
        shared = f"http://{shared_address(process, 'ingest')}"
        publishers = [Publisher(lambda: [shared], name=f"{number}-", batch=5) for number in range(4)]
        with flowing(*publishers):
            for _ in range(3):
                victim, taken = min(children(process.pid)), sum(len(each.acknowledged) for each in publishers)
                os.kill(victim, signal.SIGKILL)
                soon(lambda victim=victim: all_run_besides(process, victim))
                soon(lambda taken=taken: sum(len(each.acknowledged) for each in publishers) > taken + 20)
        assert process.stop() == exit_codes.OK
    acknowledged = set().union(*(each.acknowledged for each in publishers))
    assert len(acknowledged) > 60
    assert acknowledged <= event_ids(log_url).keys()
