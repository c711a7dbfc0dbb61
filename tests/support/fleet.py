"""Roles on one log, several of each, to be killed, frozen and replaced while traffic flows."""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from support.snowbus import COMMAND, Process


@dataclass
class Member:
    """A process of a role, and the address that it keeps when it is started again."""

    role: str
    process: Process
    address: str

    @property
    def pid(self) -> int:
        """The process id, another one after each start."""
        return self.process.pid


class Fleet:
    """Starts members; `arguments` are those of each role, `flags` those of all. All are killed at the end."""

    def __init__(
        self, log_url: str, folder: Path, *, arguments: Mapping[str, Sequence[str]], flags: Sequence[str] = ()
    ) -> None:
        self.members: list[Member] = []
        self._folder = folder
        self._arguments = arguments
        self._flags = ("--log", log_url, *flags)
        self._started: list[Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._started:
            process.__exit__()

    def of(self, role: str) -> list[Member]:
        """The members of a role."""
        return [member for member in self.members if member.role == role]

    def addresses(self, role: str) -> list[str]:
        """Where the members of a role listen, as those behind a load balancer do."""
        return [member.address for member in self.of(role)]

    def start(self, role: str) -> Member:
        """A further member, on a port of its own."""
        process = self._process(role, "127.0.0.1:0")
        member = Member(role, process, process.address(role))
        self.members.append(member)
        return member

    def kill(self, member: Member) -> None:
        """End it at once, as a crash does; it is no member any more."""
        _end(member)
        self.members.remove(member)

    def stop(self, member: Member) -> None:
        """Ask it to end, as a rollout does; it is no member any more."""
        self.members.remove(member)
        assert member.process.stop() == 0, "".join(member.process.diagnostics)[-3000:]

    def restart(self, member: Member) -> None:
        """Kill it, and start it again where it was."""
        _end(member)
        member.process = self._process(member.role, member.address.rpartition("/")[2])
        member.process.address(member.role)

    def freeze(self, member: Member, seconds: float) -> None:
        """Let it stand still, as on a machine that has too much to do."""
        os.kill(member.pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(member.pid, signal.SIGCONT)

    def _process(self, role: str, listen: str) -> Process:
        arguments = (*self._arguments.get(role, ()), "--listen", listen, *self._flags)
        process = Process(role, *arguments, program=COMMAND, cwd=self._folder)
        self._started.append(process)
        return process


def _end(member: Member) -> None:
    member.process.send(signal.SIGKILL)
    member.process.wait()
