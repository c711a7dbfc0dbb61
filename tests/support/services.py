"""Services that publish with an emitter on one spool, to be killed, and what they have tracked."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

from support import publishing_service


class Services:
    """So many at once; who is killed is replaced, and all are killed at the end."""

    def __init__(self, url: str, spool: Path, *, durability: str, every: float, at_once: int = 2) -> None:
        arguments = [url, str(spool), durability, str(every)]
        command = [sys.executable, "-P", publishing_service.__file__, *arguments]
        self._mother = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._at_once = at_once
        self._running: list[int] = []
        self._spool = spool

    def __enter__(self) -> Self:
        self._running = [self._start() for _ in range(self._at_once)]
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self._running:
            os.kill(pid, signal.SIGKILL)
        self._mother.communicate()

    def kill_one(self, chance: random.Random) -> None:
        """Kill one of them, and start another."""
        index = chance.randrange(self._at_once)
        os.kill(self._running[index], signal.SIGKILL)
        self._running[index] = self._start()

    def tracked(self) -> dict[str, float]:
        """The `eid` of each event whose `track()` has returned, and when it was called."""
        return {event_id: float(at) for event_id, at in map(str.split, self._lines("tracked"))}

    def delivered(self) -> set[str]:
        """The `eid`s of those that an emitter has said are delivered."""
        return set(self._lines("delivered"))

    def spooled(self) -> int:
        """How many events wait on the disk."""
        return sum(path.read_bytes().count(b"\n") - 1 for path in self._spool.glob("*.spool"))

    def _start(self) -> int:
        assert self._mother.stdin
        assert self._mother.stdout
        self._mother.stdin.write("\n")
        self._mother.stdin.flush()
        return int(self._mother.stdout.readline())

    def _lines(self, journal: str) -> list[str]:
        path = Path(f"{self._spool}.{journal}")
        return path.read_text("utf-8").splitlines() if path.exists() else []
