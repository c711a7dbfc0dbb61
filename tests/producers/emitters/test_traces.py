"""Traces: each event keeps its own, wherever an emitter sends it, and however it waits."""

import pytest
from support.emitting import place, run
from support.forwarding import read_all

from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.log import open_log
from snowbus.bus.tracing import carrying

TRACES = [f"00-{number:032x}-{number:016x}-01" for number in range(1, 200)]


@pytest.mark.parametrize("kind", ["sqlite", "ingest"])
def test_each_event_keeps_its_trace(kind, sqlite_url, tmp_path):
    """More traces than go in one request."""
    traces = [*TRACES[:150], "", TRACES[0], TRACES[0], ""]
    with place(kind, tmp_path, sqlite_url) as found:
        emitter = found.make(spool=tmp_path / "spool", durability="written")
        for number, traceparent in enumerate(traces):
            with carrying(traceparent):
                emitter.input({"e": "pv", "p": "srv", "eid": f"{number}"})
        assert emitter.close(30)

    async def arrived():
        async with await open_log(sqlite_url) as log:
            records = await read_all(log, EVENTS_TOPIC)
        return {
            record.header("event_id").decode(): (record.header("traceparent") or b"").decode() for record in records
        }

    assert run(arrived()) == {str(number): traceparent for number, traceparent in enumerate(traces)}
