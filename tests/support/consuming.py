"""Consumers in a folder of their own, for tests of `snowbus consume`."""

import os
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path

from snowbus.bus.event import ProducerRecord, Record
from snowbus.bus.log import open_log

from .aio import run
from .forwarding import publish as publish_records
from .forwarding import read_all
from .snowbus import Process, snowbus

HEAD = """\
import asyncio, os, time
from snowbus.consumers import consumer

print("worker", os.getpid(), flush=True)

"""


def write_consumer(folder: Path, body: str, *, name: str = "stock", options: str = "") -> None:
    """Write a module with one consumer of the same name; `body` is its handler's, which has a `record`.

    The module prints `worker PID` when it is imported.
    """
    declaration = f'@consumer("snowbus.events", group_id="{name}"{options})\nasync def {name}(record):\n'
    (folder / f"{name}.py").write_text(HEAD + declaration + textwrap.indent(body, "    ") + "\n")


def publish(folder: Path, url: str, *event_ids: str) -> None:
    """Put an event for each id on the log, of a user each."""
    lines = "\n".join(f'{{"e":"pv","eid":"{event_id}","uid":"{event_id}"}}' for event_id in event_ids)
    answer = snowbus("publish", "--log", url, cwd=folder, stdin=lines)
    assert answer.returncode == 0, answer.stderr


def append(url: str, records: Iterable[ProducerRecord]) -> None:
    """Put records on the log, from here: a command would take a second."""

    async def main() -> None:
        async with await open_log(url) as log:
            await publish_records(log, records)

    run(main())


def records_of(url: str, topic: str) -> list[Record]:
    """Everything that stands in a topic."""

    async def main() -> list[Record]:
        async with await open_log(url) as log:
            return await read_all(log, topic)

    return run(main())


def consume(folder: Path, url: str, *arguments: str) -> Process:
    """Start `snowbus consume` on free ports."""
    return Process("consume", *arguments, "--log", url, "--listen", "127.0.0.1:0", cwd=folder)


def workers(process: Process) -> list[int]:
    """The process ids of the workers that have been started so far."""
    return [int(match[1]) for line in process.output if (match := re.fullmatch(r"worker (\d+)", line))]


def is_running(pid: int) -> bool:
    """Whether a process is, and not only waits for somebody to ask how it ended."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
