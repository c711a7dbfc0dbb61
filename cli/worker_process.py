"""A worker: a process of its own that runs the same command line, started and ended by another."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Self

from snowbus.bus.errors import ConfigurationError
from snowbus.bus.http_server import split_listen

_GRACE_SECONDS = 5.0


class WorkerProcess:
    """A worker that is running, or has ended. `stop` or `kill` it, and `wait` for its end."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.has_told = False  # anything, of what has been asked for
        self._process = process
        self._reader = reader
        self._writer = writer

    @classmethod
    async def start(
        cls, arguments: Sequence[str], *, listen: str, environment: Mapping[str, str] | None = None
    ) -> Self:
        """Run `snowbus` with these arguments, the command's name first, as a worker that listens on `listen`."""
        command, *others = arguments
        ours, theirs = socket.socketpair()
        with theirs:
            # Not in our session: Ctrl-C on the terminal is for us, who then ask every worker once.
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # the working directory is for the user's modules, not for ours
                "-m",
                __package__ or "",
                command,
                f"--worker-link={theirs.fileno()}",
                f"--worker-listen={listen}",
                *others,
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )
        return cls(process, *await asyncio.open_connection(sock=ours))

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether it has."""
        return self._process.returncode is not None

    async def told(self) -> str:
        """The next thing that it tells through its link; empty when it ended before."""
        with contextlib.suppress(OSError):
            told = (await self._reader.readline()).decode().strip()
            self.has_told |= bool(told)
            return told
        return ""

    async def wait(self) -> int:
        """Wait for its end. The exit code, or the number of the signal that ended it, negative."""
        return await self._process.wait()

    async def stop(self, *, within: float) -> int:
        """Ask it to drain and wait for its end; kill it when it takes much longer than it may, `within` seconds."""
        self._writer.close()
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(self.wait(), within + _GRACE_SECONDS)
        self.kill()
        return await self.wait()

    def kill(self) -> None:
        """End it now (SIGKILL)."""
        if not self.has_ended:
            self._process.send_signal(signal.SIGKILL)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.kill()
        await self.wait()
        self._writer.close()


def listen_addresses(listen: str, count: int) -> list[str]:
    """An address for each worker: the next ports, or port 0 for all. Raises ConfigurationError."""
    host, port = split_listen(listen)
    shown = f"[{host}]" if ":" in host else host
    if port and port + count - 1 > 65535:
        raise ConfigurationError(f"{listen}: {count} workers need {count} ports from there on")
    return [f"{shown}:{port and port + number}" for number in range(count)]
