"""Runs a command in a terminal of its own, as somebody at one does: a pseudo-terminal that is its controlling one."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from .aio import soon
from .snowbus import COMMAND, environment

_TAKE_IT = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"


class Screen:
    """A command in a terminal: what it has written there, on stdout and stderr, and keys for it."""

    def __init__(self, *arguments: str, cwd: Path, variables: Mapping[str, str] | None = None) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 300, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_IT, str(COMMAND), *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=cwd,
            env=environment() | {"TERM": "xterm"} | dict(variables or {}),
            start_new_session=True,
        )
        self._theirs = theirs
        self._written = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        """All that was written so far."""
        return self._written.decode("utf-8", "replace")

    def wait_for(self, *texts: str) -> None:
        """Wait until all of this is there."""
        soon(lambda: all(text in self.text for text in texts))

    def press(self, keys: str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode())

    @property
    def modes(self) -> list[Any]:
        """How the terminal is set: whether it echoes, for example."""
        return termios.tcgetattr(self._theirs)

    @modes.setter
    def modes(self, modes: list[Any]) -> None:
        termios.tcsetattr(self._theirs, termios.TCSANOW, modes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._theirs)
        self._reader.join()
        os.close(self._ours)

    def _read(self) -> None:
        while block := self._block():
            self._written += block

    def _block(self) -> bytes:
        try:
            return os.read(self._ours, 65_536)
        except OSError:  # EIO: the other end is closed
            return b""
