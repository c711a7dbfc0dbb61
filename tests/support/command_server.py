"""Runs the `snowbus` command many times, each in a process of its own, and imports it once.

Run as a program it reads a job a line, forks for it, and answers with the exit code of the fork, which has gone through
`main` and the end of an interpreter as the installed command does.
"""

import atexit
import importlib
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from select import select
from typing import Any


class CommandServer:
    """The program, started when there is a first job; one job after the other."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def run(
        self, arguments: list[str], *, cwd: Path, variables: Mapping[str, str], stdin: str, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. Raises subprocess.TimeoutExpired."""
        if self._process is None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with tempfile.TemporaryDirectory() as folder:
            streams = [Path(folder) / name for name in ("in", "out", "err")]
            streams[0].write_text(stdin, "utf-8")
            job = {"arguments": arguments, "cwd": str(cwd), "variables": dict(variables), "streams": folder}
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
            if not select([self._process.stdout], [], [], timeout)[0]:
                self.close()
                raise subprocess.TimeoutExpired(["snowbus", *arguments], timeout)
            code = int(self._process.stdout.readline())
            output, diagnostics = (stream.read_text("utf-8") for stream in streams[1:])
        return subprocess.CompletedProcess(["snowbus", *arguments], code, output, diagnostics)

    def close(self) -> None:
        """End the program, and the job that it is at."""
        if self._process is None:
            return
        process, self._process = self._process, None
        os.killpg(process.pid, 9)
        process.communicate()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        atexit.register(self.close)


def _next_job() -> dict[str, Any] | None:
    """The job that this process is the fork for; None in the server, when there are no more."""
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            return dict(json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    return None


def _become(job: dict[str, Any]) -> None:
    """Have the streams, the environment, the folder and the arguments of the job."""
    folder = Path(job["streams"])
    for number, (name, mode) in enumerate([("in", os.O_RDONLY), ("out", os.O_WRONLY), ("err", os.O_WRONLY)]):
        opened = os.open(folder / name, mode | os.O_CREAT, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(job["variables"])
    os.chdir(job["cwd"])
    sys.argv = ["snowbus", *job["arguments"]]


def _main() -> int | None:
    import snowbus.cli  # noqa: PLC0415 - only the server needs it

    for module in pkgutil.iter_modules(snowbus.cli.__path__, "snowbus.cli."):
        importlib.import_module(module.name)
    job = _next_job()
    if job is None:
        return None
    _become(job)
    from snowbus.cli.main import main  # noqa: PLC0415

    return main()


if __name__ == "__main__":
    sys.path.pop(0)  # this folder, which the command does not have
    sys.exit(_main())
