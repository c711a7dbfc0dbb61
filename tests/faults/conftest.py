"""Streams of events for the fault runs."""

from collections.abc import Callable, Iterator

import pytest
from support.streams import Stream


@pytest.fixture
def stream_to() -> Iterator[Callable[..., Stream]]:
    """Starts streams of events; each ends with its test, lest the next finds its events."""
    started: list[Stream] = []

    def start(url: str, **options: int) -> Stream:
        stream = Stream(url, **options)
        started.append(stream)
        stream.start()
        return stream

    yield start
    for stream in started:
        stream.stop()
