"""Ties a worker to the process that started it: it tells how far it is, and ends when that process wants or is gone.

It is one end of a socket pair, so that the kernel says when the other process is gone, however it went.
"""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable

from . import exit_codes
from .ending import end_process


class Link:
    """A worker's end, from the number of an inherited file descriptor; `listen` is the worker's own address."""

    def __init__(self, descriptor: int, *, listen: str) -> None:
        self.listen = listen
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)

    def tell(self, line: str) -> None:
        """Say the next thing: the modules are imported; the address of /health, /ready and /metrics; all have begun."""
        with contextlib.suppress(OSError):  # nobody is there to hear it: on_end follows
            self._socket.sendall(f"{line}\n".encode())

    def on_end(self, stop: Callable[[], object], *, deadline: float) -> None:
        """Call `stop` in the running loop when the other process wants us to end or is gone itself.

        Whoever has not ended `deadline` seconds later is ended then: a handler may have stopped the loop for good.
        """
        loop = asyncio.get_running_loop()

        def watch() -> None:
            with contextlib.suppress(OSError):
                self._socket.recv(1)
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(stop)
            time.sleep(deadline)
            end_process(exit_codes.FAILED, after=deadline)

        threading.Thread(target=watch, name="snowbus-link", daemon=True).start()
