"""Kills services that publish, at random: whatever an emitter had promised by then arrives."""

import random
import time

import pytest
from support.aio import soon
from support.collector_double import CollectorDouble
from support.collector_faults import random_weather
from support.services import Services

from snowbus.producers.emitters import CollectorEmitter

pytestmark = pytest.mark.faults

KILLS = 50
AT_ONCE = 2
EVERY_SECONDS = 0.0005
SECONDS_UNTIL_A_KILL = (0.05, 0.4)


@pytest.mark.parametrize("durability", ["memory", "written", "synced"])
def test_a_service_that_is_killed_loses_nothing_that_was_promised(tmp_path, durability):
    chance = random.Random(7)
    spool = tmp_path / "spool"
    with CollectorDouble() as collector:
        collector.weather = random_weather(7, good=0.6)
        services = Services(collector.url, spool, durability=durability, every=EVERY_SECONDS, at_once=AT_ONCE)
        with services:
            for _ in range(KILLS):
                time.sleep(chance.uniform(*SECONDS_UNTIL_A_KILL))
                services.kill_one(chance)
        waiting = services.spooled()
        collector.weather = None
        last = CollectorEmitter(collector.url, spool=spool)
        soon(lambda: not list(spool.glob("*.spool")), timeout=60)
        last.close()
        tracked = services.tracked()
        arrived = collector.taken_at.keys()
        lost = tracked.keys() - arrived
        kills = KILLS + AT_ONCE
        again = len(collector.accepted) - len(arrived)
        print(
            f"\n{durability}: {len(tracked)} events tracked, {kills} kills; "
            f"{len(lost)} lost, {len(lost) / kills:.1f} a kill; {again} delivered again; {waiting} spooled at the end"
        )
        assert services.delivered() <= arrived
        assert collector.violations == []
        assert len(tracked) > 20 * KILLS
        if durability == "memory":
            assert len(lost) <= kills * 100, "more than memory holds"
        else:
            assert lost == set()
