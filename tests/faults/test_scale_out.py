"""Three of each role share a Kafka of 12 partitions, and are killed, replaced and rolled out again under load."""

import random
import re
import time
import urllib.request
from itertools import pairwise

import pytest
from support.aio import soon
from support.collector_double import CollectorDouble
from support.fleet import Fleet
from support.traffic import Follower, Publisher, flowing

from snowbus.bus.event import EVENTS_TOPIC, RETRY_TOPIC

pytestmark = [pytest.mark.faults, pytest.mark.real_kafka]

ROLES = ("ingest", "collect", "gateway", "consume")
OF_EACH = 3
PARTITIONS = 12
TOPICS = (EVENTS_TOPIC, RETRY_TOPIC)
KILLS_OF_EACH = 3
BATCH_EVENTS = 20
IN_FLIGHT = 4
FLAGS = ("--partitions", str(PARTITIONS), "--session-timeout", "6")
STOCK = """\
import os
from snowbus.consumers import consumer

journal = os.open("journal.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

@consumer("snowbus.events", group_id="stock")
async def stock(record):
    os.write(journal, record.event_id.encode() + b"\\n")
"""


def partitions(fleet, role):
    """How many partitions each member of a role has."""
    counts = []
    for address in fleet.addresses(role):
        with urllib.request.urlopen(f"{address}/metrics", timeout=5) as answer:
            (count,) = re.findall(r"^snowbus_consumer_partitions{.*} (\d+)", answer.read().decode(), re.MULTILINE)
        counts.append(int(count))
    return counts


def shared_evenly(fleet):
    """Wait until each member has its part, none has more, and all partitions are had."""
    even = [len(TOPICS) * PARTITIONS // OF_EACH] * OF_EACH
    soon(lambda: [partitions(fleet, role) for role in ("collect", "consume")] == [even, even], timeout=60, every=0.2)


def test_three_of_each_role_are_killed_and_replaced(real_kafka_url, tmp_path):
    chance = random.Random(3)
    (tmp_path / "stock.py").write_text(STOCK)
    with CollectorDouble(seconds=0.01) as collector:
        bounds = ("--batch-events", str(BATCH_EVENTS), "--in-flight", str(IN_FLIGHT))
        arguments = {"collect": ("--collector", collector.url, *bounds), "consume": ("stock:stock",)}
        with Fleet(real_kafka_url, tmp_path, arguments=arguments, flags=FLAGS) as fleet:
            for role in ROLES * OF_EACH:
                fleet.start(role)
            publishers = [
                Publisher(lambda: fleet.addresses("ingest"), name=f"{name}-", batch=7, every=0.02)
                for name in range(OF_EACH)
            ]
            followers = [Follower(lambda: fleet.addresses("gateway")) for _ in range(OF_EACH)]
            with flowing(*followers):
                with flowing(*publishers):
                    shared_evenly(fleet)
                    for role in chance.sample(ROLES * KILLS_OF_EACH, len(ROLES) * KILLS_OF_EACH):
                        time.sleep(chance.uniform(0.0, 1.0))
                        fleet.kill(chance.choice(fleet.of(role)))
                        fleet.start(role)
                    shared_evenly(fleet)
                    at = time.monotonic()
                    for member in list(fleet.members):
                        fleet.start(member.role)
                        fleet.stop(member)
                    rolled_out = time.monotonic() - at
                    shared_evenly(fleet)
                acknowledged = {event_id for each in publishers for event_id in each.acknowledged}
                soon(lambda: acknowledged <= collector.taken_at.keys(), timeout=60, every=0.2)
                soon(lambda: acknowledged <= set((tmp_path / "journal.txt").read_text().split()), timeout=60, every=0.5)
                for follower in followers:
                    soon(lambda follower=follower: acknowledged <= follower.seen.keys(), timeout=60, every=0.2)
        sent_twice = len(followers[0].places) - len(followers[0].seen)
        repeated = len(collector.event_ids) - len(collector.taken_at) - sent_twice
        print(
            f"\n{len(acknowledged)} events, {KILLS_OF_EACH} kills each of {', '.join(ROLES)}, all 12 replaced one by "
            f"one in {rolled_out:.0f} s: 0 lost, {repeated} delivered again, key order kept"
        )
        assert collector.violations == []
        for event_ids in collector.order().values():
            numbers = [int(event_id.partition("-")[2]) for event_id in event_ids]
            assert all(before < after for before, after in pairwise(numbers)), "a key's events came out of order"
        for follower in followers:
            assert follower.gaps == []
            assert len(set(follower.places)) == len(follower.places), "a reader got a record twice"
        assert repeated <= KILLS_OF_EACH * BATCH_EVENTS * IN_FLIGHT * 2
