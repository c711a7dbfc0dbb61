"""Keys that somebody presses in a terminal while a command prints there."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

_BLOCK_BYTES = 1_024
_SEQUENCE = re.compile("\x1b(\\[[0-9;]*.|O.|.)?")
"""What a key without a character of its own sends, such as an arrow."""


@contextmanager
def pressed_keys(on_key: Callable[[str], None]) -> Iterator[bool]:
    """Have a function called, in this thread's event loop, with each key; gives whether there are any.

    There are when stdin and stdout are a terminal, and this process is the one that it is for: one in the background
    would be stopped for asking.
    """
    if sys.stdin is None or not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield False
        return
    import termios  # noqa: PLC0415 - there is none on Windows
    import tty  # noqa: PLC0415 - nor this

    descriptor, loop = sys.stdin.fileno(), asyncio.get_running_loop()

    def is_ours() -> bool:
        try:
            return os.tcgetpgrp(descriptor) == os.getpgrp()
        except OSError:  # it is no longer, or never was, the terminal of this session
            return False

    def read() -> None:
        text = ""
        with suppress(OSError):
            text = os.read(descriptor, _BLOCK_BYTES).decode("utf-8", "replace") if is_ours() else ""
        if not text:  # the terminal is gone, or another process has it now
            loop.remove_reader(descriptor)
        for key in _SEQUENCE.sub("", text):
            on_key(key)

    before: list[Any] = []

    def take() -> None:
        """Have keys come one by one; a shell that continues us has set the terminal otherwise."""
        if is_ours():
            before[:] = before or termios.tcgetattr(descriptor)
            tty.setcbreak(descriptor, termios.TCSADRAIN)
            loop.add_reader(descriptor, read)

    take()
    loop.add_signal_handler(signal.SIGCONT, take)
    try:
        yield bool(before)
    finally:
        loop.remove_signal_handler(signal.SIGCONT)
        loop.remove_reader(descriptor)
        if before and is_ours():
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
