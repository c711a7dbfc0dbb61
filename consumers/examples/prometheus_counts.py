"""Counts events by app and name, for Prometheus: `events_seen_total{app_id="shop",event_name="add_to_cart"}`.

    snowbus consume snowbus.consumers.examples.prometheus_counts

The counts stand on `/metrics`, beside Snowbus' own: `snowbus consume` serves there whatever a module makes with
prometheus_client, for each worker at its own address. As any counter they begin at 0 with the process; what a SIGKILL
repeats, at most 1,000 events, is counted twice.
"""

from prometheus_client import Counter

from snowbus.consumers import Record, consumer

# Who sends events chooses their names, and Prometheus keeps a series for each for ever: so these are bounded.
MOST_PAIRS = 500
MOST_CHARACTERS = 100

SEEN = Counter("events_seen", "Events by app and name.", ("app_id", "event_name"))
pairs: set[tuple[str, str]] = set()


# What is no event at all has no name to count by, and is not ours to keep.
@consumer("snowbus.events", group_id="prometheus-counts", retries=0, dead_letter=False)
async def prometheus_counts(record: Record) -> None:
    """Count one event."""
    pair = _label(record, "app_id"), _label(record, "event_name")
    if pair not in pairs:
        if len(pairs) >= MOST_PAIRS:
            pair = "other", "other"
        pairs.add(pair)
    SEEN.labels(*pair).inc()


def _label(record: Record, field: str) -> str:
    text = str(record.event.get(field) or "none")[:MOST_CHARACTERS]
    return text.encode(errors="replace").decode()  # half a surrogate pair would break /metrics for good
