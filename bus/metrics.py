"""Every metric, made in one place; roles that share a process share one registry."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

from .consumer_metrics import ConsumerMetrics, Consumers
from .log.interface import Log
from .watched_file import WatchedFile

_LATENCY_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_DELIVERY_SECONDS = (*_LATENCY_SECONDS, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0)
_BATCH_EVENTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)
_BATCH_BYTES = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)


class Metrics:
    """The metrics of one process, each an attribute, in a registry of their own; those `besides` are rendered, too."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, besides: CollectorRegistry | None = None) -> None:
        self._besides = besides
        registry = self.registry = CollectorRegistry()
        self.ingest_requests = Counter(
            "snowbus_ingest_requests", "Requests answered.", ("method", "status"), registry=registry
        )
        self.ingest_events = Counter("snowbus_ingest_events", "Events durable on the log.", registry=registry)
        self.ingest_refused = Counter(
            "snowbus_ingest_refused", "Events and requests not understood.", ("reason",), registry=registry
        )
        self.ingest_validated = Counter(
            "snowbus_ingest_validated_events",
            "Events by what was found when they were checked: valid, invalid, unchecked.",
            ("validation",),
            registry=registry,
        )
        self.ingest_seconds = Histogram(
            "snowbus_ingest_seconds",
            "From a request to its answer.",
            buckets=_LATENCY_SECONDS,
            registry=registry,
        )
        self.ingest_pending = Gauge("snowbus_ingest_pending", "Requests waiting for the log.", registry=registry)
        self.collect_requests = Counter(
            "snowbus_collect_requests",
            "Requests to a collector, by the status of its answer; 0 is no answer.",
            ("collector", "status"),
            registry=registry,
        )
        self.collect_delivered = Counter(
            "snowbus_collect_delivered_events", "Events that a collector took.", registry=registry
        )
        self.collect_batch_events = Histogram(
            "snowbus_collect_batch_events", "Events of a request.", buckets=_BATCH_EVENTS, registry=registry
        )
        self.collect_batch_bytes = Histogram(
            "snowbus_collect_batch_bytes", "Bytes of a request's body.", buckets=_BATCH_BYTES, registry=registry
        )
        self.collect_in_flight = Gauge("snowbus_collect_in_flight", "Requests under way.", registry=registry)
        self.collect_seconds = Histogram(
            "snowbus_collect_seconds",
            "From a request to the collector's answer, or to its failure.",
            ("collector",),
            buckets=_LATENCY_SECONDS,
            registry=registry,
        )
        self.collect_delivery_seconds = Histogram(
            "snowbus_collect_delivery_seconds",
            "From the append to the log until a collector has an event; of each request, the event that took longest.",
            buckets=_DELIVERY_SECONDS,
            registry=registry,
        )
        self.collect_collector_up = Gauge(
            "snowbus_collect_collector_up",
            "Whether a collector takes events: 1, or 0 from a failure until it is tried again and does; "
            "none before it has been tried.",
            ("collector",),
            registry=registry,
        )
        self.consumer_records = Counter(
            "snowbus_consumer_records",
            "Records by what became of them: handled, skipped, filtered, known, retried, failed, held, dead, expired.",
            ("consumer", "outcome"),
            registry=registry,
        )
        self.consumer_seconds = Histogram(
            "snowbus_consumer_call_seconds",
            "Calls of the handler.",
            ("consumer",),
            buckets=_LATENCY_SECONDS,
            registry=registry,
        )
        self._consumers = Consumers()
        registry.register(self._consumers)
        self.log_bytes = Gauge(
            "snowbus_log_bytes", "Bytes of disk that the embedded log takes.", ("log",), registry=registry
        )
        self.log_free_bytes = Gauge(
            "snowbus_log_free_bytes", "Bytes left on the disk of the embedded log.", ("log",), registry=registry
        )
        self.settings_file_broken = Gauge(
            "snowbus_settings_file_broken",
            "1 while what a setting names has changed and cannot be used, and what it held before stays in force.",
            ("setting",),
            registry=registry,
        )
        self.gateway_connections = Gauge("snowbus_gateway_connections", "Websockets open.", registry=registry)
        self.gateway_messages = Counter(
            "snowbus_gateway_messages", "Messages sent to readers.", ("type",), registry=registry
        )
        self.gateway_refused = Counter("snowbus_gateway_refused", "Handshakes refused.", ("status",), registry=registry)
        self.gateway_ring_misses = Counter(
            "snowbus_gateway_ring_misses",
            "Readers that fell behind the ring and went to the log.",
            registry=registry,
        )
        self.gateway_skipped = Counter(
            "snowbus_gateway_skipped_events",
            "Events that slow readers skipped, as they asked for.",
            ("policy",),
            registry=registry,
        )
        self.gateway_delivery_seconds = Histogram(
            "snowbus_gateway_delivery_seconds",
            "From the append to the log until live readers are sent it; of each write, the event that took longest.",
            buckets=_LATENCY_SECONDS,
            registry=registry,
        )

    def watch_disk(self, log: Log) -> None:
        """Tell what a log takes of a disk of this machine, if it does."""
        if log.disk() is not None:
            self.log_bytes.labels(log.url).set_function(lambda: disk.used if (disk := log.disk()) else 0)
            self.log_free_bytes.labels(log.url).set_function(lambda: disk.free if (disk := log.disk()) else 0)

    def watch_file(self, file: WatchedFile[Any]) -> None:
        """Tell whether a file that was changed can be used."""
        self.watch_setting(file.setting, lambda: file.is_broken(now=time.monotonic()))

    def watch_setting(self, setting: str, is_broken: Callable[[], bool]) -> None:
        """Tell whether what a setting names can be used."""
        self.settings_file_broken.labels(setting).set_function(is_broken)

    def of_consumer(self, name: str) -> ConsumerMetrics:
        """The metrics of one consumer, until they are closed; several may have one name."""
        return self._consumers.add(name, self.consumer_records, self.consumer_seconds)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry) + (generate_latest(self._besides) if self._besides else b"")


class EmitterFamilies(NamedTuple):
    """The metrics of the emitters of an app, which the app's own registry asks for; each has a label `emitter`."""

    events: CounterMetricFamily
    spool_failures: CounterMetricFamily
    queue_events: GaugeMetricFamily
    queue_free_events: GaugeMetricFamily
    spool_events: GaugeMetricFamily
    spool_bytes: GaugeMetricFamily
    spool_free_bytes: GaugeMetricFamily


def emitter_families() -> EmitterFamilies:
    """Them, with nothing in them."""
    one = ("emitter",)
    return EmitterFamilies(
        CounterMetricFamily(
            "snowbus_emitter_events",
            "Events by what became of them: delivered, refused, dropped (lost), spooled, retried (once for each try).",
            labels=(*one, "outcome"),
        ),
        CounterMetricFamily(
            "snowbus_emitter_spool_failures",
            "Times that the spool took nothing, being full or on a full disk.",
            labels=one,
        ),
        GaugeMetricFamily("snowbus_emitter_queue_events", "Events that wait in memory.", labels=one),
        GaugeMetricFamily(
            "snowbus_emitter_queue_free_events",
            "Events more that memory has room for; at 0, without a spool, they are lost.",
            labels=one,
        ),
        GaugeMetricFamily("snowbus_emitter_spool_events", "Events of this process that wait in the spool.", labels=one),
        GaugeMetricFamily(
            "snowbus_emitter_spool_bytes", "Bytes in the folder of the spool, of all who share it.", labels=one
        ),
        GaugeMetricFamily(
            "snowbus_emitter_spool_free_bytes", "Bytes more that the spool may hold (spool_bytes).", labels=one
        ),
    )
