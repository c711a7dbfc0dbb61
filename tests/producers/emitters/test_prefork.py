"""An emitter that is made, and used, before gunicorn forks its workers."""

import os
import signal
import sys
from collections import Counter

from support.aio import soon
from support.collector_double import CollectorDouble
from support.processes import children
from support.snowbus import Process
from support.web import fetch, listening

APP = """
from snowplow_tracker import PageView, Tracker
from snowbus.producers.emitters import CollectorEmitter

tracker = Tracker("ns", [CollectorEmitter({url!r}, spool="spool", durability="written")])
tracker.track(PageView("https://shop.example/preload"))

def app(environ, start_response):
    tracker.track(PageView("https://shop.example" + environ["PATH_INFO"]))
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


def test_workers_deliver_what_was_tracked_in_them_though_they_are_killed(tmp_path):
    """And the master delivers what was tracked before; nothing is left."""
    with CollectorDouble() as collector:
        (tmp_path / "shop.py").write_text(APP.format(url=collector.url))
        command = ["-m", "gunicorn", "--preload", "--workers", "2", "--bind", "127.0.0.1:0", "shop:app"]
        with Process(*command, program=sys.executable, cwd=tmp_path) as server:
            address = soon(lambda: listening(server))
            for number in range(10):
                assert fetch(address, f"/{number}").body == b"ok"
            before = soon(lambda: children(server.pid))
            for worker in before:
                os.kill(worker, signal.SIGKILL)
            soon(lambda: len(children(server.pid) - before) == 2)
            for number in range(10, 20):
                assert fetch(address, f"/{number}").body == b"ok"
            assert server.stop() == 0
        arrived = Counter(payload["url"].rpartition("/")[2] for payload in collector.accepted)
        assert set(arrived) == {"preload", *map(str, range(20))}
        assert len({payload["eid"] for payload in collector.accepted}) == 21
    assert list((tmp_path / "spool").iterdir()) == []
