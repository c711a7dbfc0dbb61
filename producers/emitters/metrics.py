"""The metrics of emitters, for apps that answer a Prometheus: read from the emitters whenever it asks."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import Metric

    from .emitter import Emitter


class EmitterMetrics:
    """Emitters by the names that their metrics carry: `REGISTRY.register(EmitterMetrics(shop=emitter))`."""

    def __init__(self, **emitters: "Emitter") -> None:
        self._emitters = emitters

    def describe(self) -> Iterable["Metric"]:
        """What there is, without a look at the emitters."""
        from snowbus.bus.metrics import emitter_families  # noqa: PLC0415 - an app that has no use for it need not wait

        return emitter_families()

    def collect(self) -> Iterable["Metric"]:
        """What Prometheus is told."""
        from snowbus.bus.metrics import emitter_families  # noqa: PLC0415 - as above

        metrics = emitter_families()
        for name, emitter in self._emitters.items():
            counts, depth = emitter.counts, emitter.depth
            for outcome in ("delivered", "refused", "dropped", "spooled", "retried"):
                metrics.events.add_metric([name, outcome], getattr(counts, outcome))
            metrics.spool_failures.add_metric([name], counts.spool_failures)
            metrics.queue_events.add_metric([name], depth.queued)
            metrics.queue_free_events.add_metric([name], depth.queue_free)
            metrics.spool_events.add_metric([name], depth.spooled)
            metrics.spool_bytes.add_metric([name], depth.spool_bytes)
            metrics.spool_free_bytes.add_metric([name], depth.spool_free_bytes)
        return metrics
