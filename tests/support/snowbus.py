"""Runs the `snowbus` command, as users do: the installed one, or quicker, forks of a process that has imported it."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from typing import Self

from .aio import soon
from .command_server import Command, CommandServer

COMMAND = Path(sys.executable).with_name("snowbus")
_SERVER = CommandServer()


def environment(**settings: str) -> dict[str, str]:
    """The environment for a command: ours without SNOWBUS_*, and with these settings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SNOWBUS_")}
    return {**inherited, **{f"SNOWBUS_{name.upper()}": value for name, value in settings.items()}}


def snowbus(
    *arguments: str, cwd: Path, stdin: str = "", timeout: float = 30.0, settings: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with settings in its environment."""
    variables = environment(**(settings or {}))
    with Process(*arguments, cwd=cwd, stdin=True, variables=variables) as process:
        with suppress(BrokenPipeError):
            process.write(stdin)
        process.end_input()
        code = process.wait(timeout=timeout)
    return subprocess.CompletedProcess(["snowbus", *arguments], code, process.text, "".join(process.diagnostics))


class Process:
    """A command that runs until it is told to stop; `with` kills it when the test is over.

    It is a fork of a process that has imported the command, or the program in an executable file (COMMAND, say).
    """

    def __init__(
        self,
        *arguments: str,
        cwd: Path,
        stdin: bool = False,
        program: str | Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        variables = variables or environment()
        self._process: Command | subprocess.Popen[str]
        if program is None:
            self._process = Command(_SERVER, list(arguments), cwd=cwd, variables=variables, stdin=stdin)
        else:
            self._process = subprocess.Popen(
                [program, *arguments],
                stdin=subprocess.PIPE if stdin else None,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=cwd,
                env=variables,
                start_new_session=True,
            )
        self.output: list[str] = []
        self.text = ""
        self.diagnostics: list[str] = []
        self._lines: Queue[str | None] = Queue()
        self._threads = [
            threading.Thread(target=self._read_output, daemon=True),
            threading.Thread(target=self._read_diagnostics, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def address(self, role: str, *, timeout: float = 20.0) -> str:
        """The address that a role printed, for example `http://127.0.0.1:41234`."""
        return self.line(rf"{role} listens on (\S+)", timeout=timeout)[1]

    def line(self, pattern: str, *, timeout: float = 20.0) -> re.Match[str]:
        """The first line of output, past or to come, that the pattern is found in."""
        deadline = time.monotonic() + timeout
        seen = 0
        while True:
            for line in self.output[seen:]:
                seen += 1
                if match := re.search(pattern, line):
                    return match
            try:
                ended = self._lines.get(timeout=max(0.0, deadline - time.monotonic())) is None
            except Empty:
                ended = True
            if ended and seen == len(self.output):
                raise AssertionError(
                    f"no {pattern!r} in {self.output}; diagnostics: {''.join(self.diagnostics)[-3000:]}"
                )

    def write(self, text: str) -> None:
        """Give it something to read."""
        assert self._process.stdin
        self._process.stdin.write(text)
        self._process.stdin.flush()

    def end_input(self) -> None:
        """Give it nothing more to read."""
        assert self._process.stdin
        with suppress(BrokenPipeError):
            self._process.stdin.close()

    def stop(self, *, timeout: float = 30.0) -> int:
        """Ask it to stop (SIGTERM), wait for its end, and return its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self.wait(timeout=timeout)

    def wait(self, *, timeout: float = 30.0) -> int:
        """Wait for its end, and return its exit code."""
        code = self._process.wait(timeout)
        for thread in self._threads:
            thread.join(timeout)
        return code

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def signal_twice(self) -> None:
        """Send SIGTERM, and when the main thread has done what it does then and sleeps again, SIGINT.

        Another thread may get what comes before, which wakes nobody, or it comes just before the main thread sleeps.
        """
        status = Path(f"/proc/{self.pid}/status")

        def sleeps_again() -> bool:
            told = status.read_text("utf-8")
            pending = re.search(r"^S(ig|hd)Pnd:.*[1-9a-f]", told, re.MULTILINE)
            return not pending and re.search(r"^State:\s+S", told, re.MULTILINE) is not None

        self.send(signal.SIGTERM)
        soon(sleeps_again)
        self.send(signal.SIGINT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self.wait()
        if self._process.stdin:
            self.end_input()
        assert self._process.stdout
        assert self._process.stderr
        self._process.stdout.close()
        self._process.stderr.close()

    def _read_output(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self.text += line
            self.output.append(line.rstrip("\n"))
            self._lines.put(line)
        self._lines.put(None)

    def _read_diagnostics(self) -> None:
        assert self._process.stderr
        for line in self._process.stderr:
            self.diagnostics.append(line)
