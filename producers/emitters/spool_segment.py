"""A segment of a spool: a file that one process holds, by a lock that ends with it however it ends."""

import contextlib
import errno
import fcntl
import os
import time
from pathlib import Path
from typing import Self

from .spool_lines import HEADER_BYTES, header, position_in

SUFFIX = ".spool"
_EMPTY_SECONDS = 60.0
_READ_BYTES = 1024 * 1024


class Segment:
    """A file of lines, appended to by the process that created it, and read from `position` on by whoever holds it."""

    def __init__(self, path: Path, descriptor: int, *, position: int, end: int) -> None:
        self.position = position
        self.end = end
        self._path = path
        self._descriptor = descriptor
        self._synced = end

    @classmethod
    def create(cls, folder: Path, *, owner: str) -> Self:
        """A new file, named by the time and who writes it. Raises OSError."""
        while True:
            path = folder / f"{time.time_ns():020d}-{owner}{SUFFIX}"
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            if _lock(descriptor):
                break
            os.close(descriptor)  # somebody is looking whether it is an orphan, and will leave it alone
        try:
            _write(descriptor, header(HEADER_BYTES), 0)
        except OSError:
            path.unlink(missing_ok=True)
            os.close(descriptor)
            raise
        return cls(path, descriptor, position=HEADER_BYTES, end=HEADER_BYTES)

    @classmethod
    def adopt(cls, path: Path) -> Self | None:
        """A file of another process; None when that still holds it, or it is gone or empty. Raises OSError."""
        try:
            descriptor = os.open(path, os.O_RDWR)
        except (FileNotFoundError, PermissionError):  # gone, or another user's
            return None
        segment: Self | None = None
        try:
            if _lock(descriptor):
                segment = cls._left(path, descriptor)
        finally:
            if segment is None:
                os.close(descriptor)
        return segment

    @classmethod
    def _left(cls, path: Path, descriptor: int) -> Self | None:
        """What is left in a file that nobody else holds."""
        status = os.fstat(descriptor)
        if status.st_nlink and status.st_size >= HEADER_BYTES:
            position = position_in(os.pread(descriptor, HEADER_BYTES, 0), end=status.st_size)
            return cls(path, descriptor, position=position, end=status.st_size)
        if time.time() - status.st_mtime > _EMPTY_SECONDS:  # else its process may be about to write to it
            path.unlink(missing_ok=True)
        return None

    @property
    def is_drained(self) -> bool:
        """Whether nothing is left to read."""
        return self.position >= self.end

    def append(self, data: bytes) -> None:
        """Write whole lines, which are in the system's hands then, and survive the process. Raises OSError, and has
        written nothing then.
        """
        _write(self._descriptor, data, self.end)
        self.end += len(data)

    def sync(self, end: int) -> None:
        """Write through to the disk up to an end, unless that has been done, or the file is gone. Raises OSError."""
        if self._synced < end and self._descriptor >= 0:
            reached = self.end
            os.fdatasync(self._descriptor)
            self._synced = reached

    def read(self, size: int) -> bytes:
        """Bytes from the position on. Raises OSError."""
        return os.pread(self._descriptor, min(size, self.end - self.position), self.position)

    def take_stock(self) -> tuple[int, bytes]:
        """How many whole lines are left to read, and what follows them, which is cut off then: the beginning of a line,
        where its process was killed in the middle. Raises OSError.
        """
        lines, last = 0, self.position
        for start in range(self.position, self.end, _READ_BYTES):
            part = os.pread(self._descriptor, _READ_BYTES, start)
            lines += part.count(b"\n")
            last = max(last, start + part.rfind(b"\n") + 1) if b"\n" in part else last
        rest = os.pread(self._descriptor, min(self.end - last, _READ_BYTES), last)
        os.ftruncate(self._descriptor, last)
        self.end = last
        return lines, rest

    def move(self, position: int) -> None:
        """Read on from a position."""
        self.position = position
        with contextlib.suppress(OSError):  # it costs repeats after a crash, and those are allowed
            os.pwrite(self._descriptor, header(position), 0)

    def close(self) -> None:
        """Let go of the file: delete it when nothing is left in it, else write it through. Raises OSError."""
        try:
            if self.is_drained:
                self._path.unlink(missing_ok=True)
            else:
                self.sync(self.end)
        finally:
            self.let_go()

    def let_go(self) -> None:
        """Hold it no more, as in a forked child, whose parent still does."""
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)


def _write(descriptor: int, data: bytes, at: int) -> None:
    if os.pwrite(descriptor, data, at) != len(data):
        os.ftruncate(descriptor, at)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
