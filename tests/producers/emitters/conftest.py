"""The destinations of emitters: one contract holds for all of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.emitting import KINDS, Place, place


@pytest.fixture(params=[pytest.param(kind, marks=pytest.mark.kafka) if kind == "kafka" else kind for kind in KINDS])
def destination(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A log (embedded, and Kafka), an ingest, a collector, a file: one after the other."""
    log_url = request.getfixturevalue("kafka_url" if request.param == "kafka" else "sqlite_url")
    with place(request.param, tmp_path, log_url) as found:
        yield found
