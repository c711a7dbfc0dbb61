"""What processes take of the machine while they run for long."""

import os
import statistics
import threading
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple


class Sample(NamedTuple):
    """What a process takes."""

    megabytes: float
    open_files: int


class Watch(threading.Thread):
    """Samples what processes take, by their names, until it is stopped; they must live as long."""

    def __init__(self, pids: Mapping[str, int], *, every: float = 1.0) -> None:
        super().__init__(daemon=True)
        self._pids = pids
        self._every = every
        self._samples: dict[str, list[Sample]] = {name: [] for name in pids}
        self._ended = threading.Event()

    def run(self) -> None:
        """Called by the thread."""
        while not self._ended.wait(self._every):
            for name, pid in self._pids.items():
                self._samples[name].append(_sample(pid))

    def stop(self) -> None:
        """Sample no more."""
        self._ended.set()
        self.join()
        ended = [name for name, samples in self._samples.items() if any(not sample.open_files for sample in samples)]
        assert not ended, f"who was to live through it all has ended: {ended}"

    def quarters(self, name: str) -> list[Sample]:
        """What a process took in each quarter of the time, at the median."""
        samples = self._samples[name]
        bounds = [len(samples) * part // 4 for part in range(5)]
        return [_typical(samples[begin:end]) for begin, end in pairwise(bounds)]


def _sample(pid: int) -> Sample:
    """What a process takes: no file when it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text("utf-8").split()[1])
        return Sample(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, len(list(Path(f"/proc/{pid}/fd").iterdir())))
    except OSError:
        return Sample(0.0, 0)


def _typical(samples: list[Sample]) -> Sample:
    megabytes, open_files = zip(*samples, strict=True)
    return Sample(statistics.median(megabytes), int(statistics.median(open_files)))
