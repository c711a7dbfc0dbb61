"""Kills roles at random while numbered events flow: nothing that got its 200 is lost, no reader gets a record twice."""

import random
import time

import pytest
from support.aio import soon
from support.collector_double import CollectorDouble
from support.fleet import Fleet
from support.traffic import Follower, Publisher

pytestmark = pytest.mark.faults

SECONDS = 30.0
KILL_EVERY = 2.0
BATCH_EVENTS = 20
IN_FLIGHT = 4


def test_roles_that_are_killed_lose_nothing(log_url, tmp_path):
    chance = random.Random(1)
    kills = dict.fromkeys(("ingest", "collect", "gateway"), 0)
    with CollectorDouble(seconds=0.01) as collector:
        bounds = ("--batch-events", str(BATCH_EVENTS), "--in-flight", str(IN_FLIGHT))
        arguments = {"collect": ("--collector", collector.url, *bounds)}
        with Fleet(log_url, tmp_path, arguments=arguments, flags=("--session-timeout", "6")) as fleet:
            for role in kills:
                fleet.start(role)
            publisher = Publisher(lambda: fleet.addresses("ingest"))
            follower = Follower(lambda: fleet.addresses("gateway"))
            publisher.start()
            follower.start()
            deadline = time.monotonic() + SECONDS
            while time.monotonic() < deadline:
                time.sleep(KILL_EVERY * chance.uniform(0.3, 1.0))
                role = min(kills, key=lambda role: (kills[role], chance.random()))
                fleet.restart(*fleet.of(role))
                kills[role] += 1
            publisher.stop()
            acknowledged = set(publisher.acknowledged)
            soon(lambda: acknowledged <= set(collector.event_ids), timeout=60)
            soon(lambda: acknowledged <= set(follower.seen), timeout=60)
            follower.stop()
        sent_twice = len(follower.places) - len(follower.seen)
        repeated = len(collector.event_ids) - len(set(collector.event_ids)) - sent_twice
        print(
            f"\n{len(acknowledged)} events, kills {kills}: 0 lost; "
            f"{sent_twice} sent twice by the publisher, which got no answer; "
            f"{repeated} delivered again, {repeated / max(1, kills['collect']):.1f} a kill; "
            f"the follower came back {follower.connections - 1} times"
        )
        assert collector.violations == []
        assert follower.gaps == []
        assert len(set(follower.places)) == len(follower.places), "the follower got a record twice"
        assert sent_twice <= publisher.attempts - len(publisher.acknowledged)
        assert repeated <= kills["collect"] * BATCH_EVENTS * IN_FLIGHT * 2
