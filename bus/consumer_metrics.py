"""The metrics of the consumers of one process, by name: counts, and how the work of those that run stands."""

from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from prometheus_client import Counter, Histogram, Metric
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

_OUTCOMES = ("handled", "skipped", "filtered", "known", "retried", "failed", "held", "dead", "expired")


class Standing(NamedTuple):
    """How the work of a consumer stands."""

    in_flight: int = 0
    waiting: int = 0
    is_held: bool = False
    partitions: int = 0
    oldest_seconds: float = 0.0


class ConsumerMetrics:
    """The metrics of one consumer. What is added is in the registry after `flush` or `tell`, and stays there; how the
    work stands is told until `close`.
    """

    def __init__(self, consumers: "Consumers", name: str, records: Counter, seconds: Histogram) -> None:
        self.name = name
        self.standing = Standing()
        self.lag: Mapping[str, int] = {}
        self.observe = seconds.labels(name).observe
        self._consumers = consumers
        self._records = {outcome: records.labels(name, outcome) for outcome in _OUTCOMES}
        self._added = dict.fromkeys(_OUTCOMES, 0)

    def add(self, outcome: str, count: int) -> None:
        """So many records came to this."""
        self._added[outcome] += count

    def tell(self, standing: Standing) -> None:
        """How the work stands."""
        self.standing = standing
        self.flush()

    def tell_lag(self, lag: Mapping[str, int]) -> None:
        """How many records are not done, by topic."""
        self.lag = dict(lag)

    def close(self) -> None:
        """The consumer has ended."""
        self.flush()
        self._consumers.remove(self)

    def flush(self) -> None:
        """Put what was added into the registry."""
        for outcome, count in self._added.items():
            self._records[outcome].inc(count)
            self._added[outcome] = 0


class Consumers(Collector):
    """Those that run; those of one name are told as one."""

    def __init__(self) -> None:
        self._running: list[ConsumerMetrics] = []

    def add(self, name: str, records: Counter, seconds: Histogram) -> ConsumerMetrics:
        """One more."""
        metrics = ConsumerMetrics(self, name, records, seconds)
        self._running.append(metrics)
        return metrics

    def remove(self, metrics: ConsumerMetrics) -> None:
        """One has ended."""
        self._running.remove(metrics)

    def describe(self) -> Iterable[Metric]:
        """What there is, without a look at the consumers."""
        return consumer_families()

    def collect(self) -> Iterable[Metric]:
        """What Prometheus is told."""
        families = consumer_families()
        of_name: defaultdict[str, list[ConsumerMetrics]] = defaultdict(list)
        for metrics in self._running:
            of_name[metrics.name].append(metrics)
        for name, running in of_name.items():
            in_flight, waiting, is_held, partitions, oldest = zip(*(each.standing for each in running), strict=True)
            families.in_flight.add_metric([name], sum(in_flight))
            families.waiting.add_metric([name], sum(waiting))
            families.held.add_metric([name], any(is_held))
            families.partitions.add_metric([name], sum(partitions))
            families.oldest_seconds.add_metric([name], max(oldest))
            lag: Tally[str] = Tally()
            for each in running:
                lag.update(each.lag)
            for topic, behind in lag.items():
                families.lag.add_metric([name, topic], behind)
        return families


class ConsumerFamilies(NamedTuple):
    """How the work of consumers stands; each metric has a label `consumer`."""

    in_flight: GaugeMetricFamily
    waiting: GaugeMetricFamily
    held: GaugeMetricFamily
    partitions: GaugeMetricFamily
    lag: GaugeMetricFamily
    oldest_seconds: GaugeMetricFamily


def consumer_families() -> ConsumerFamilies:
    """Them, with nothing in them."""
    one = ("consumer",)
    return ConsumerFamilies(
        GaugeMetricFamily("snowbus_consumer_in_flight", "Records in hand.", labels=one),
        GaugeMetricFamily("snowbus_consumer_waiting", "Records that wait for a retry.", labels=one),
        GaugeMetricFamily(
            "snowbus_consumer_held",
            "1 while the handler waits for what it needs, and nothing is handled.",
            labels=one,
        ),
        GaugeMetricFamily("snowbus_consumer_partitions", "Partitions that this process has.", labels=one),
        GaugeMetricFamily(
            "snowbus_consumer_lag",
            "Records that are not done, of the partitions that this process has; every five seconds.",
            labels=(*one, "topic"),
        ),
        GaugeMetricFamily(
            "snowbus_consumer_oldest_seconds",
            "Age of the oldest record that is read and not done with.",
            labels=one,
        ),
    )
