"""Many websocket readers in a process of their own, the gateway for them, and what a server costs meanwhile."""

import atexit
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from uuid import UUID

from snowbus.bus.event import ProducerRecord

from .gateway import numbered
from .snowbus import COMMAND, Process

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
QUIET_SECONDS = 2.0
DELIVERIES_A_SECOND = 100_000  # at a steady pace, for latencies


@dataclass(frozen=True)
class Taken:
    """What the readers of a sink have had: `bytes` and `messages` by reader, since they connected.

    `seconds` are those from the first byte to the last of one taking, `cpu` the sink's own. `holes` counts the places
    where the offsets of a sampled or stalled reader did not follow one another, `gaps` the messages that said why, and
    `told` the events that they named. `ages` are seconds from the stamps of sampled events on, sorted.
    """

    seconds: float
    cpu: float
    bytes: list[int]
    messages: list[int]
    holes: int
    gaps: int
    told: int
    ages: list[float]

    def percentiles(self) -> str:
        """How old the sampled events were when they were read, in words."""
        p50, p99 = (self.ages[len(self.ages) * share // 100] * 1000 for share in (50, 99))
        return f"p50 {p50:.1f} ms p99 {p99:.1f} ms from publish to socket"


class Sink:
    """Readers that have connected, and that read only while told to `take`."""

    def __init__(self, port: int, readers: int, *, sampled: int, stalled: int, path: str, header: str) -> None:
        self.readers = readers - stalled
        arguments = [str(port), path, str(readers), str(sampled), str(stalled), *([header] if header else [])]
        command = [*sink_command(), *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        pin(self.process.pid, last=True)
        assert self._line() == "connected"

    def begin(self, count: int, *, quiet: float = QUIET_SECONDS, stalled: bool = False) -> None:
        """Take until each reader has had `count` messages in all, or until nothing comes for `quiet` seconds."""
        assert self.process.stdin
        print("all" if stalled else "take", count, int(quiet * 1000), file=self.process.stdin, flush=True)

    def result(self) -> Taken:
        """What came of it, once it is over."""
        return Taken(**json.loads(self._line()))

    def take(self, count: int, *, quiet: float = QUIET_SECONDS, stalled: bool = False) -> Taken:
        """As `begin`; returns what came of it."""
        self.begin(count, quiet=quiet, stalled=stalled)
        return self.result()

    def _line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()


@contextlib.contextmanager
def sink(
    port: int, readers: int, *, sampled: int = 5, stalled: int = 0, path: str = "/v1/events", header: str = ""
) -> Iterator[Sink]:
    """Connect readers, of whom some are sampled, and the `stalled` ones read nothing unless told to."""
    opened = Sink(port, readers, sampled=sampled, stalled=stalled, path=path, header=header)
    with opened.process:
        try:
            yield opened
        finally:
            opened.process.kill()


@cache
def sink_command() -> tuple[str, ...]:
    """The sink in C, compiled, where there is a compiler; else the one in Python."""
    if compiler := shutil.which("cc"):
        folder = tempfile.TemporaryDirectory()
        atexit.register(folder.cleanup)
        program = Path(folder.name) / "websocket_sink"
        subprocess.run([compiler, "-O2", "-o", program, BENCHMARKS / "websocket_sink.c"], check=True)
        return (str(program),)
    print("\n  no cc: the sink is the one in Python, which may be slower than the server")
    return (sys.executable, str(BENCHMARKS / "websocket_sink.py"))


def pin(pid: int, *, last: bool = False) -> None:
    """Keep all threads of a process on the first core, or off it, when there are several."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), cores[1:] if last else cores[:1])


class Usage:
    """What a process has used since: CPU seconds, and calls of write."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._cpu, self._writes = self._read_cpu(), self._read_writes()

    def cpu(self) -> float:
        """CPU seconds of its own and the kernel's for it."""
        return self._read_cpu() - self._cpu

    def writes(self) -> int:
        """How often it wrote, to sockets and files."""
        return self._read_writes() - self._writes

    def _read_cpu(self) -> float:
        tasks = Path(f"/proc/{self._pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    def _read_writes(self) -> int:
        return int(Path(f"/proc/{self._pid}/io").read_text().partition("syscw:")[2].split()[0])


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def page_view(number: int, *, user: str = "", app: str = "shop") -> ProducerRecord:
    """An event whose message has some 700 bytes, with nothing in common with the others' that real ones do not have."""
    chance = random.Random(number)
    eid, page = str(UUID(int=chance.getrandbits(128))), f"https://shop.example/{chance.getrandbits(40):x}"
    return numbered(number, user=user or f"user-{chance.randrange(10_000)}", eid=eid, url=page, aid=app)


@contextlib.contextmanager
def gateway_command(*settings: str) -> Iterator[tuple[str, int, int]]:
    """Run `snowbus gateway` on a core of its own and a log of its own; yields the log's URL, the port and the pid.

    The log lies in memory where the machine allows it: the gateway is measured, not the disk.
    """
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - a folder of its own is made in it
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        url = f"sqlite:///{folder}/log.db"
        command = ("gateway", "--log", url, "--listen", "127.0.0.1:0", "--heartbeat", "3600", "--ping", "3600")
        with Process(*command, *settings, program=COMMAND, cwd=Path(folder)) as gateway:
            port = int(gateway.address("gateway").rpartition(":")[2])
            pin(gateway.pid)
            yield url, port, gateway.pid


def report(what: str, *, deliveries: int, seconds: float, cpu: float, more: str = "") -> float:
    """Print a figure; returns the deliveries a CPU second."""
    print(
        f"  {what:<38} {deliveries / seconds:>11,.0f} {deliveries / cpu:>15,.0f} {cpu * 1e6 / deliveries:>9.2f}  {more}"
    )
    return deliveries / cpu


def report_head(what: str) -> None:
    """Print what the columns of `report` are."""
    print(f"\n{what:<40} {'deliveries/s':>11} {'a CPU second':>15} {'CPU s/M':>9}")
