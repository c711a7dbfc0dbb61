"""Workers that share a port: where they listen, and whether they run."""

import re
from pathlib import Path

from support.aio import soon
from support.processes import children
from support.snowbus import Process

WORKERS = 2


def workers(role: str, folder: Path, url: str, *arguments: str) -> Process:
    """A command that runs workers on one free port."""
    listen = ("--listen", "127.0.0.1:0", "--workers", str(WORKERS))
    return Process(role, "--log", url, *listen, *arguments, cwd=folder)


def shared_address(process: Process, role: str) -> str:
    """The HOST:PORT that all workers listen on."""
    return process.address(role).removeprefix("http://").rstrip(",")


def own_addresses(process: Process, role: str) -> list[str]:
    """The URLs that the workers listen on alone, once each has said so."""

    def said() -> list[str]:
        return re.findall(rf"{role} listens on .*, and alone on (\S+)", "\n".join(process.output))

    soon(lambda: len(said()) >= WORKERS)
    return said()


def all_run_besides(process: Process, victim: int) -> bool:
    """Whether another has taken the place of one that was killed."""
    return len(children(process.pid) - {victim}) == WORKERS
