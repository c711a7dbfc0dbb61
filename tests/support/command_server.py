"""Runs the `snowbus` command many times, each in a process of its own, and imports it once.

Run as a program it forks for each command that it is asked for. A fork has the streams, the environment and the folder
it was given, and goes through `main` and the end of an interpreter as the installed command does.
"""

import atexit
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

_POLL_SECONDS = 0.01


class Command:
    """A command that runs, as a `subprocess.Popen` is used: text through pipes, in a session of its own."""

    def __init__(
        self, server: "CommandServer", arguments: list[str], *, cwd: Path, variables: Mapping[str, str], stdin: bool
    ) -> None:
        self._server = server
        theirs, ours = os.pipe() if stdin else (os.open(os.devnull, os.O_RDONLY), None)
        output, its_output = os.pipe()
        diagnostics, its_diagnostics = os.pipe()
        request = {"arguments": arguments, "cwd": str(cwd), "variables": dict(variables)}
        fds = [theirs, its_output, its_diagnostics]
        try:
            self.pid = server.ask(request, fds)
        finally:
            for fd in fds:
                os.close(fd)
            self.stdin: TextIO | None = None if ours is None else os.fdopen(ours, "w", encoding="utf-8")
            self.stdout = os.fdopen(output, encoding="utf-8")
            self.stderr = os.fdopen(diagnostics, encoding="utf-8")
        self._code: int | None = None

    def poll(self) -> int | None:
        """The exit code, or None while it runs; below zero for the signal that ended it."""
        if self._code is None:
            self._code = self._server.ask({"ended": self.pid})
        return self._code

    def wait(self, timeout: float) -> int:
        """The exit code, once there is one. Raises subprocess.TimeoutExpired."""
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(["snowbus"], timeout)
            time.sleep(_POLL_SECONDS)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


class CommandServer:
    """The program, started when it is first asked for something."""

    def __init__(self) -> None:
        self._program: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def ask(self, request: Mapping[str, Any], fds: list[int] | None = None) -> Any:
        """Send a request with file descriptors; its answer."""
        with self._lock:
            if self._program is None:
                self._start()
            socket.send_fds(self._channel, [json.dumps(request).encode() + b"\n"], fds or [])
            return json.loads(self._answers.readline())

    def close(self) -> None:
        """End the program, and those of its commands that still run."""
        self._channel.close()
        self._answers.close()
        if self._program is not None:
            self._program.wait()

    def _start(self) -> None:
        self._channel, its = socket.socketpair()
        self._answers = self._channel.makefile()
        self._program = subprocess.Popen(
            [sys.executable, __file__, str(its.fileno())],
            pass_fds=[its.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        its.close()
        atexit.register(self.close)


def _next_command(channel: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The request that this process is the fork for, and its streams; None in the server, at its end."""
    running = set[int]()
    while request := _next_request(channel):
        asked, streams = request
        if "ended" in asked:
            pid, status = os.waitpid(asked["ended"], os.WNOHANG)
            running.discard(pid)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if not answer:
                return request
            running.add(answer)
        for stream in streams:
            os.close(stream)
        channel.sendall(json.dumps(answer).encode() + b"\n")
    for pid in running:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    return None


def _next_request(channel: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    data, streams, _, _ = socket.recv_fds(channel, 65_536, 3)
    while data and not data.endswith(b"\n"):
        data += channel.recv(65_536)
    return (json.loads(data), streams) if data else None


def _become(command: Mapping[str, Any], streams: list[int]) -> None:
    """Have the streams, the environment, the folder and the arguments of a command, and its own session."""
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(command["variables"])
    os.chdir(command["cwd"])
    sys.argv = ["snowbus", *command["arguments"]]


def _main() -> int | None:
    import snowbus.cli  # noqa: PLC0415 - only the server needs it

    channel = socket.socket(fileno=int(sys.argv[1]))
    for module in pkgutil.iter_modules(snowbus.cli.__path__, "snowbus.cli."):
        importlib.import_module(module.name)
    if (command := _next_command(channel)) is None:
        return None
    channel.close()
    _become(*command)
    from snowbus.cli.main import main  # noqa: PLC0415

    return main()


if __name__ == "__main__":
    sys.path.pop(0)  # this folder, which the command does not have
    sys.exit(_main())
