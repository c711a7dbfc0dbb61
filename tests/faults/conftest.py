"""Streams of events for the fault runs."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.snowbus import COMMAND, Process
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


@pytest.fixture
def gateways(log_url: str, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts gateways on the log; all are killed at the end."""
    started: list[Process] = []

    def start(*flags: str) -> Process:
        process = Process("gateway", "--log", log_url, "--listen", "127.0.0.1:0", *flags, program=COMMAND, cwd=tmp_path)
        started.append(process)
        return process

    yield start
    for process in started:
        process.__exit__()
