"""Kills roles at random while numbered events flow: nothing that got its 200 is lost, no reader gets a record twice."""

import http.client
import itertools
import json
import random
import signal
import threading
import time
import urllib.request
from contextlib import suppress

import pytest
from support.aio import soon
from support.collector_double import CollectorDouble
from support.snowbus import COMMAND, Process
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect

pytestmark = pytest.mark.faults

SECONDS = 40.0
KILL_EVERY = 2.0
BATCH_EVENTS = 20
IN_FLIGHT = 4
SCHEMA = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"
HEADERS = {"Content-Type": "application/json"}


class Publisher(threading.Thread):
    """Sends numbered events, each again and again until it gets its 200, as trackers do."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.acknowledged = []
        self.attempts = 0
        self.ended = threading.Event()
        self._url = f"{address}/com.snowplowanalytics.snowplow/tp2"

    def run(self):
        for number in itertools.count():
            if self.ended.is_set():
                return
            event = {"e": "pv", "p": "srv", "tv": "t", "eid": str(number), "uid": f"user-{number % 7}"}
            body = json.dumps({"schema": SCHEMA, "data": [event]}).encode()
            while not self._send(body):
                time.sleep(0.02)
            self.acknowledged.append(str(number))

    def _send(self, body):
        self.attempts += 1
        try:
            with urllib.request.urlopen(urllib.request.Request(self._url, body, HEADERS), timeout=15) as answer:
                return answer.status == 200
        except (OSError, http.client.HTTPException):
            return False


class Follower(threading.Thread):
    """Reads the stream, and comes back with its last cursor whenever it is cut off."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.event_ids = []
        self.places = []
        self.gaps = []
        self.connections = 0
        self.ended = threading.Event()
        self._url = f"{address.replace('http', 'ws')}/v1/events?from="
        self._cursor = "earliest"

    def run(self):
        while not self.ended.is_set():
            with suppress(OSError, ConnectionClosed, InvalidHandshake, TimeoutError, EOFError):
                self._follow()
            time.sleep(0.05)

    def _follow(self):
        with connect(self._url + self._cursor, open_timeout=5, close_timeout=0.1) as stream:
            self.connections += 1
            while not self.ended.is_set():
                with suppress(TimeoutError):
                    self._take(json.loads(stream.recv(timeout=0.2)))

    def _take(self, message):
        if message["type"] == "event":
            self.event_ids.append(message["payload"]["eid"])
            self.places.append((message["partition"], message["offset"]))
        elif message["type"] == "gap":
            self.gaps.append(message)
        if message.get("cursor"):
            self._cursor = message["cursor"]


@pytest.fixture
def roles(log_url, tmp_path):
    """Starts roles on the log, each again on the port that it had; all are killed at the end."""
    started = {}
    ports = {}

    def start(role, *arguments):
        listen = f"127.0.0.1:{ports.get(role, 0)}"
        flags = ("--log", log_url, "--listen", listen, "--session-timeout", "6")
        process = Process(role, *flags, *arguments, program=COMMAND, cwd=tmp_path)
        started.setdefault(role, []).append(process)
        address = process.address(role)
        ports[role] = address.rpartition(":")[2]
        return address

    def kill(role):
        started[role][-1].send(signal.SIGKILL)
        started[role][-1].wait()

    yield start, kill
    for process in itertools.chain(*started.values()):
        process.__exit__()


def test_roles_that_are_killed_lose_nothing(roles):
    start, kill = roles
    chance = random.Random(1)
    kills = dict.fromkeys(("ingest", "collect", "gateway"), 0)
    with CollectorDouble(seconds=0.01) as collector:
        bounds = ("--batch-events", str(BATCH_EVENTS), "--in-flight", str(IN_FLIGHT))
        arguments = {"collect": ("--collector", collector.url, *bounds)}
        addresses = {role: start(role, *arguments.get(role, ())) for role in kills}
        publisher, follower = Publisher(addresses["ingest"]), Follower(addresses["gateway"])
        publisher.start()
        follower.start()
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            time.sleep(KILL_EVERY * chance.uniform(0.3, 1.0))
            role = chance.choice(list(kills))
            kill(role)
            kills[role] += 1
            start(role, *arguments.get(role, ()))
        publisher.ended.set()
        publisher.join(30)
        acknowledged = set(publisher.acknowledged)
        soon(lambda: acknowledged <= set(collector.event_ids), timeout=60)
        soon(lambda: acknowledged <= set(follower.event_ids), timeout=60)
        follower.ended.set()
        follower.join(10)
        sent_twice = len(follower.event_ids) - len(set(follower.event_ids))
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
