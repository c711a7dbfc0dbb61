"""Writes docs/metrics.md from the metrics themselves: `python -m snowbus.cli.metrics_docs`."""

from collections import defaultdict
from typing import NamedTuple

from prometheus_client import Metric
from prometheus_client.metrics import MetricWrapperBase

from snowbus.bus.consumer_metrics import consumer_families
from snowbus.bus.metrics import Metrics, emitter_families

_BEGINNING = """\
# Metrics

Written by `make docs` from the code; a test fails when it is out of date.

Every role answers `/metrics` in Prometheus' text format. Several roles in one process (`snowbus up`) answer with the
metrics of all of them. With `--workers` each worker prints an address of its own, and is to be scraped there.

The label `consumer` is the name of a consumer; all groups of websockets are `websocket`. Of several with one name, a
process tells the sum, and the oldest age. How the work of a consumer stands (its gauges) is told until it ends.

A counter's name ends in `_total`; a histogram has `_bucket`, `_sum` and `_count`. Times are in seconds, sizes in bytes.
[compose/](../compose/README.md) has a dashboard and alerts made of them.
"""


class Described(NamedTuple):
    """A metric by its name in Prometheus: what it is and says."""

    name: str
    kind: str
    labels: tuple[str, ...]
    words: str


_SECTIONS = {
    "ingest": "Ingest",
    "collect": "Collector consumer",
    "consumer": "Every consumer, the collector consumer too",
    "gateway": "Gateway",
    "log": "Embedded log, told by every process that has it open",
    "emitter": "Emitters, told by an app that registers its `EmitterMetrics`",
    "settings": "What settings name, and is read again when it changes",
}


def render() -> str:
    """The whole document."""
    sections: defaultdict[str, list[str]] = defaultdict(list)
    for metric in metrics():
        section = metric.name.split("_")[1]
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        sections[section].append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.words} |")
    tables = [
        "\n".join([f"## {title}", "", "| metric | kind | labels | what it is |", "|---|---|---|---|", *sections[key]])
        for key, title in _SECTIONS.items()
    ]
    return "\n".join([_BEGINNING, "\n\n".join(tables), ""])


def metrics() -> list[Described]:
    """All metrics, as they stand in the code."""
    found = [_described(metric) for metric in vars(Metrics()).values() if isinstance(metric, MetricWrapperBase)]
    return found + [_family(family) for family in (*consumer_families(), *emitter_families())]


def _described(metric: MetricWrapperBase) -> Described:
    # Labels are told nowhere else before something is counted.
    name, kind, labels, words = (
        getattr(metric, f"_{fact}") for fact in ("name", "type", "labelnames", "documentation")
    )
    return Described(_whole(name, kind), kind, labels, words)


def _family(family: Metric) -> Described:
    labels: tuple[str, ...] = family._labelnames  # type: ignore[attr-defined]  # noqa: SLF001 - as above
    return Described(_whole(family.name, family.type), family.type, labels, family.documentation)


def _whole(name: str, kind: str) -> str:
    return f"{name}_total" if kind == "counter" else name


if __name__ == "__main__":
    print(render(), end="")
