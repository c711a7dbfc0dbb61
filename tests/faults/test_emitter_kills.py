"""Kills services that publish, at random: whatever an emitter had promised by then arrives."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from support import publishing_service
from support.aio import soon
from support.collector_double import CollectorDouble
from support.collector_faults import random_weather

from snowbus.producers.emitters import CollectorEmitter

pytestmark = pytest.mark.faults

KILLS = 50
AT_ONCE = 2
SECONDS_UNTIL_A_KILL = (0.05, 0.4)


class Services:
    """Two services at once on one spool, one of which is killed now and then, and replaced."""

    def __init__(self, *arguments):
        command = [sys.executable, "-P", publishing_service.__file__, *arguments]
        self._mother = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._running = []

    def _start(self):
        self._mother.stdin.write("\n")
        self._mother.stdin.flush()
        return int(self._mother.stdout.readline())

    def kill_one(self, chance):
        index = chance.randrange(AT_ONCE)
        os.kill(self._running[index], signal.SIGKILL)
        self._running[index] = self._start()

    def __enter__(self):
        self._running = [self._start() for _ in range(AT_ONCE)]
        return self

    def __exit__(self, *_):
        for pid in self._running:
            os.kill(pid, signal.SIGKILL)
        self._mother.communicate()


def lines(path):
    return path.read_text().split() if path.exists() else []


@pytest.mark.parametrize("durability", ["memory", "written", "synced"])
def test_a_service_that_is_killed_loses_nothing_that_was_promised(tmp_path, durability):
    chance = random.Random(7)
    spool = tmp_path / "spool"
    with CollectorDouble() as collector:
        collector.weather = random_weather(7, good=0.6)
        with Services(collector.url, str(spool), durability) as services:
            for _ in range(KILLS):
                time.sleep(chance.uniform(*SECONDS_UNTIL_A_KILL))
                services.kill_one(chance)
        waiting = sum(path.read_bytes().count(b"\n") - 1 for path in spool.glob("*.spool"))
        collector.weather = None
        last = CollectorEmitter(collector.url, spool=spool)
        soon(lambda: not list(spool.glob("*.spool")), timeout=60)
        last.close()
        tracked = lines(Path(f"{spool}.tracked"))
        delivered = lines(Path(f"{spool}.delivered"))
        arrived = Counter(payload["eid"] for payload in collector.accepted)
        lost = set(tracked) - set(arrived)
        kills = KILLS + AT_ONCE
        again = arrived.total() - len(arrived)
        print(
            f"\n{durability}: {len(tracked)} events tracked, {kills} kills; "
            f"{len(lost)} lost, {len(lost) / kills:.1f} a kill; {again} delivered again; {waiting} spooled at the end"
        )
        assert not set(delivered) - set(arrived)
        assert collector.violations == []
        assert len(tracked) > 20 * KILLS
        if durability == "memory":
            assert len(lost) <= kills * 100, "more than memory holds"
        else:
            assert lost == set()
