"""Metrics of emitters: what waits, in memory and in the spool, and what room is left."""

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from support.aio import soon

from snowbus.producers.emitters import BusEmitter, EmitterMetrics

NOWHERE = "http://127.0.0.1:9"


def test_an_app_s_registry_tells_how_its_emitters_stand(tmp_path):
    spooling = BusEmitter(NOWHERE, spool=tmp_path, durability="written", spool_bytes=1_000_000)
    holding = BusEmitter(NOWHERE, max_queued=3)
    registry = CollectorRegistry()
    registry.register(EmitterMetrics(spooling=spooling, holding=holding))

    def told(name, emitter, **labels):
        return registry.get_sample_value(f"snowbus_emitter_{name}", {"emitter": emitter, **labels})

    assert (told("queue_free_events", "holding"), told("spool_bytes", "spooling")) == (3, 0)
    for _ in range(5):
        spooling.input({"e": "pv", "p": "srv"})
        holding.input({"e": "pv", "p": "srv"})
    assert (told("spool_events", "spooling"), told("queue_events", "spooling")) == (5, 0)
    assert told("spool_bytes", "spooling") + told("spool_free_bytes", "spooling") == 1_000_000
    assert (told("queue_events", "holding"), told("queue_free_events", "holding")) == (3, 0)
    assert told("events_total", "holding", outcome="dropped") == 2
    soon(lambda: told("events_total", "holding", outcome="retried"))
    assert b'snowbus_emitter_spool_failures_total{emitter="spooling"} 0.0' in generate_latest(registry)
    for emitter in (spooling, holding):
        emitter.close(0)
