"""The lines of a stream, such as stdin, as they come: read by a thread, and handed to the event loop many at a time."""

import asyncio
import contextlib
import os
import threading

from snowbus.bus.errors import SnowbusError

Line = tuple[int, bytes]
"""The number of a line, from 1, and what is on it."""

_BLOCK_BYTES = 262_144
_BATCH_LINES = 500
_BATCHES_AHEAD = 4


class StdinError(SnowbusError):
    """Stdin cannot be read; says why."""


class LineSplitter:
    """Cuts blocks of bytes into numbered lines; blank ones count, and are left out."""

    def __init__(self) -> None:
        self._number = 0
        self._begun: list[bytes] = []

    def feed(self, block: bytes) -> list[Line]:
        """The lines that end in this block."""
        first, *others = block.split(b"\n")
        self._begun.append(first)
        if not others:
            return []
        ended = [b"".join(self._begun), *others[:-1]]
        self._begun = [others[-1]]
        return self._numbered(ended)

    def end(self) -> list[Line]:
        """The last line, if nothing ended it."""
        ended, self._begun = [b"".join(self._begun)], []
        return self._numbered(ended)

    def _numbered(self, lines: list[bytes]) -> list[Line]:
        start = self._number + 1
        self._number += len(lines)
        return [(number, line) for number, line in enumerate(lines, start) if line.strip()]


class StdinLines:
    """Reads a descriptor ahead of whoever asks by a few batches, each of so many lines, and of a block's bytes and one
    line at most.

    The thread is one that nobody waits for: a terminal may never say another line.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[list[Line] | StdinError | None] = asyncio.Queue()  # bounded by the room
        self._room = threading.Semaphore(_BATCHES_AHEAD)
        threading.Thread(target=self._read, daemon=True).start()

    async def next(self) -> list[Line] | None:
        """The lines that came next, without waiting for more; none after `wake`, None at the end. Raises StdinError."""
        item = await self._queue.get()
        if isinstance(item, StdinError):
            raise item
        if item:
            self._room.release()
        return item

    def wake(self) -> None:
        """Let `next` return once more, with nothing, when all is given out that has been read."""
        self._queue.put_nowait([])

    def _read(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, after a signal: nobody reads on
            try:
                self._read_blocks()
            except OSError as error:
                self._put(StdinError(f"stdin cannot be read: {error.strerror}"))
            else:
                self._put(None)

    def _read_blocks(self) -> None:
        splitter = LineSplitter()
        while block := os.read(self._descriptor, _BLOCK_BYTES):
            self._give(splitter.feed(block))
        self._give(splitter.end())

    def _give(self, lines: list[Line]) -> None:
        for start in range(0, len(lines), _BATCH_LINES):
            self._room.acquire()
            self._put(lines[start : start + _BATCH_LINES])

    def _put(self, item: list[Line] | StdinError | None) -> None:
        self._loop.call_soon_threadsafe(self._queue.put_nowait, item)
