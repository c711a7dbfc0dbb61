"""docs/metrics.md is what the code says, and what the documents and the dashboards name is there."""

import re
from pathlib import Path

from snowbus.cli import metrics_docs

ROOT = Path(__file__).parents[2]


def test_the_docs_are_what_the_code_says():
    assert (ROOT / "docs/metrics.md").read_text("utf-8") == metrics_docs.render(), "run `make docs`"


def test_every_metric_that_a_document_names_is_one():
    known = {metric.name for metric in metrics_docs.metrics()}
    pattern = re.compile(r"\bsnowbus_(?:ingest|collect|consumer|gateway|log|emitter)_\w+")
    named = {
        (path.name, name)
        for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
        for name in pattern.findall(path.read_text("utf-8"))
    }
    wrong = {(path, name) for path, name in named if re.sub(r"_(bucket|sum|count)$", "", name) not in known}
    assert len(named) > 30
    assert not wrong
