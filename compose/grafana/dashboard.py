"""Writes dashboards/snowbus.json, Grafana's form of the table below: `python compose/grafana/dashboard.py`."""

import json
from pathlib import Path
from typing import Any, NamedTuple

PATH = Path(__file__).with_name("dashboards") / "snowbus.json"

_COLUMNS = 3
_WIDTH = 24 // _COLUMNS
_HEIGHT = 8
_SOURCE = {"type": "prometheus", "uid": "prometheus"}


class Panel(NamedTuple):
    """A chart: its title, Grafana's unit, and what it draws, each with its legend."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]


def _latency(histogram: str) -> tuple[tuple[str, str], ...]:
    """The median and the 99th percentile of a histogram."""
    buckets = f"sum by (le) (rate({histogram}_bucket[$__rate_interval]))"
    return (f"histogram_quantile(0.5, {buckets})", "p50"), (f"histogram_quantile(0.99, {buckets})", "p99")


def _rate(counter: str, by: str = "") -> str:
    return f"sum{f' by ({by})' if by else ''} (rate({counter}[$__rate_interval]))"


ROWS: dict[str, tuple[Panel, ...]] = {
    "The way of an event": (
        Panel(
            "Events",
            "ops",
            (
                (_rate("snowbus_ingest_events_total"), "accepted"),
                (_rate("snowbus_collect_delivered_events_total"), "delivered"),
            ),
        ),
        Panel("From the log to the collector", "s", _latency("snowbus_collect_delivery_seconds")),
        Panel("From the log to live readers", "s", _latency("snowbus_gateway_delivery_seconds")),
        Panel("Lag", "short", (("sum by (consumer, topic) (snowbus_consumer_lag)", "{{consumer}} {{topic}}"),)),
        Panel("Oldest event in hand", "s", (("max by (consumer) (snowbus_consumer_oldest_seconds)", "{{consumer}}"),)),
        Panel(
            "What became of records",
            "ops",
            ((_rate("snowbus_consumer_records_total", "consumer, outcome"), "{{consumer}} {{outcome}}"),),
        ),
        Panel(
            "Partitions of each process",
            "short",
            (("sum by (consumer, instance) (snowbus_consumer_partitions)", "{{consumer}} {{instance}}"),),
        ),
    ),
    "Ingest": (
        Panel("Requests by status", "reqps", ((_rate("snowbus_ingest_requests_total", "status"), "{{status}}"),)),
        Panel("From a request to its answer", "s", _latency("snowbus_ingest_seconds")),
        Panel("Requests waiting for the log", "short", (("sum(snowbus_ingest_pending)", "waiting"),)),
        Panel("Validation", "ops", ((_rate("snowbus_ingest_validated_events_total", "validation"), "{{validation}}"),)),
        Panel("Refused", "ops", ((_rate("snowbus_ingest_refused_total", "reason"), "{{reason}}"),)),
        Panel("Disk of the embedded log", "bytes", (("max by (log) (snowbus_log_bytes)", "{{log}}"),)),
    ),
    "Collector consumer": (
        Panel("Collector up", "short", (("min by (collector) (snowbus_collect_collector_up)", "{{collector}}"),)),
        Panel(
            "Requests by status",
            "reqps",
            ((_rate("snowbus_collect_requests_total", "collector, status"), "{{collector}} {{status}}"),),
        ),
        Panel("From a request to its answer", "s", _latency("snowbus_collect_seconds")),
        Panel(
            "Events a request",
            "short",
            (
                (
                    f"{_rate('snowbus_collect_batch_events_sum')} / {_rate('snowbus_collect_batch_events_count')}",
                    "mean",
                ),
            ),
        ),
        Panel("Requests under way", "short", (("sum(snowbus_collect_in_flight)", "under way"),)),
        Panel("Waiting for a retry", "short", (("sum by (consumer) (snowbus_consumer_waiting)", "{{consumer}}"),)),
    ),
    "Apps": (
        Panel(
            "Events of emitters",
            "ops",
            (
                (_rate("snowbus_emitter_events_total", "emitter, outcome"), "{{emitter}} {{outcome}}"),
                (_rate("snowbus_emitter_spool_failures_total", "emitter"), "{{emitter}} not spooled"),
            ),
        ),
        Panel(
            "Events waiting in apps",
            "short",
            (
                ("sum by (emitter) (snowbus_emitter_queue_events)", "{{emitter}} in memory"),
                ("sum by (emitter) (snowbus_emitter_spool_events)", "{{emitter}} in the spool"),
                ("min by (emitter) (snowbus_emitter_queue_free_events)", "{{emitter}} room in memory"),
            ),
        ),
        Panel(
            "Spools of apps",
            "bytes",
            (
                ("max by (instance, emitter) (snowbus_emitter_spool_bytes)", "{{instance}} {{emitter}}"),
                ("min by (instance, emitter) (snowbus_emitter_spool_free_bytes)", "{{instance}} {{emitter}} free"),
            ),
        ),
    ),
    "Gateway": (
        Panel("Readers", "short", (("sum by (instance) (snowbus_gateway_connections)", "{{instance}}"),)),
        Panel("Messages", "ops", ((_rate("snowbus_gateway_messages_total", "type"), "{{type}}"),)),
        Panel(
            "Skipped, refused, behind the ring",
            "ops",
            (
                (_rate("snowbus_gateway_skipped_events_total", "policy"), "skipped ({{policy}})"),
                (_rate("snowbus_gateway_refused_total", "status"), "refused ({{status}})"),
                (_rate("snowbus_gateway_ring_misses_total"), "behind the ring"),
            ),
        ),
    ),
}


def render() -> str:
    """The dashboard as Grafana reads it."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS.items():
        panels.append({"type": "row", "title": title, "gridPos": {"x": 0, "y": top, "w": 24, "h": 1}})
        top += 1
        for place, panel in enumerate(row):
            where = {"x": place % _COLUMNS * _WIDTH, "y": top + place // _COLUMNS * _HEIGHT, "w": _WIDTH, "h": _HEIGHT}
            panels.append(_chart(panel, where))
        top += -(-len(row) // _COLUMNS) * _HEIGHT
    for number, each in enumerate(panels, 1):
        each["id"] = number
    dashboard = {
        "title": "Snowbus",
        "uid": "snowbus",
        "schemaVersion": 41,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "panels": panels,
    }
    return json.dumps(dashboard, indent=1) + "\n"


def _chart(panel: Panel, where: dict[str, int]) -> dict[str, Any]:
    return {
        "type": "timeseries",
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": where,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + place), "expr": query, "legendFormat": legend, "datasource": _SOURCE}
            for place, (query, legend) in enumerate(panel.queries)
        ],
    }


if __name__ == "__main__":
    PATH.write_text(render(), "utf-8")
