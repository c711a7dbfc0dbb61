"""A disk that fills up under a running Snowbus: what was acknowledged is kept, the rest refused, until it has room."""

import shutil

import pytest
import requests
from support.aio import run, soon
from support.collector_double import CollectorDouble, status
from support.disks import fill, small_disk
from support.snowbus import Process, snowbus

from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.log import open_log

RESERVE = 8_000_000


class Shop:
    """Sends page views to ingest, and remembers those that it took."""

    def __init__(self, address):
        self.address = address
        self.taken = []
        self._count = 0

    def send(self, *, padding=0):
        self._count += 1
        event_id = f"00000000-0000-4000-8000-{self._count:012d}"
        event = {"e": "pv", "eid": event_id, "p": "web", "tv": "t", "page": "x" * padding}
        body = {"schema": "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4", "data": [event]}
        answer = requests.post(f"{self.address}/com.snowplowanalytics.snowplow/tp2", json=body, timeout=30)
        if answer.status_code == 200:
            self.taken.append(event_id)
        return answer

    def send_until(self, code, **options):
        (answer,) = soon(lambda: [each for each in [self.send(**options)] if each.status_code == code])
        return answer


@pytest.fixture
def collector():
    with CollectorDouble() as double:
        yield double


@pytest.fixture
def disk():
    with small_disk(mib=24) as folder:
        yield folder


@pytest.fixture
def up(disk, collector, tmp_path):
    with Process(
        "up",
        *("--log", f"sqlite:///{disk}/log.db", "--disk-reserve", str(RESERVE), "--collector", collector.url),
        *("--collect-backoff", "0.1", "--collect-backoff-max", "0.2"),
        *("--ingest-listen", "127.0.0.1:0", "--gateway-listen", "127.0.0.1:0"),
        cwd=tmp_path,
    ) as process:
        yield process


def committed(disk):
    async def read():
        async with await open_log(f"sqlite:///{disk}/log.db") as log:
            places = await log.group_offsets("collector")
            return sum(at.offset for place, at in places.items() if place.topic == EVENTS_TOPIC)

    return run(read())


def test_a_disk_that_fills_up_costs_nothing_that_was_acknowledged(up, disk, collector, tmp_path):
    address = up.address("ingest")
    shop = Shop(address)
    shop.send_until(200)

    # Less is left than appends may take: what is on the log goes on to the collector, and its offsets are committed.
    collector.always(status(503))
    for _ in range(5):
        assert shop.send().status_code == 200
    filler = fill(disk, leave=RESERVE // 2)
    refused = shop.send_until(503)
    assert int(refused.headers["Retry-After"]) > 0
    ready = requests.get(f"{address}/ready", timeout=10)
    assert (ready.status_code, "the disk is full" in ready.text) == (503, True)
    collector.always(None)
    soon(lambda: committed(disk) == len(shop.taken) == len(set(collector.event_ids)))
    free = requests.get(f"{address}/metrics", timeout=10).text.partition("snowbus_log_free_bytes{")[2]
    assert float(free.split("\n")[0].split(" ")[1]) < RESERVE
    told = snowbus("status", "--log", f"sqlite:///{disk}/log.db", "--disk-reserve", str(RESERVE), cwd=tmp_path)
    assert "is full" in told.stdout

    # Nothing at all is left.
    filler.unlink()
    shop.send_until(200)
    filler = fill(disk)
    assert shutil.disk_usage(disk).free == 0
    shop.send_until(503)
    filler.unlink()
    shop.send_until(200)
    soon(lambda: sorted(set(collector.event_ids)) == shop.taken)
    assert up.stop() == 0
    assert "Traceback" not in "".join(up.diagnostics)
    assert snowbus("log", "check", f"{disk}/log.db", cwd=tmp_path).returncode == 0


def test_a_log_fills_its_own_disk_and_retention_makes_room(up, disk, tmp_path):
    """By hand, with the disk full: less is to be kept, and what is kept too long goes."""
    shop = Shop(up.address("ingest"))
    shop.send_until(503, padding=700_000)
    assert up.stop() == 0
    with Process(
        "up",
        *("--log", f"sqlite:///{disk}/log.db", "--disk-reserve", str(RESERVE), "--retention-bytes", "5000000"),
        *("--ingest-listen", "127.0.0.1:0", "--gateway-listen", "127.0.0.1:0"),
        cwd=tmp_path,
    ) as again:
        refreshed = Shop(again.address("ingest"))
        refreshed.send_until(200)
