"""A file as an emitter's destination: JSON lines, begun anew by size or time, by several processes at once."""

import asyncio
import errno
import fcntl
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self

from snowbus.bus.collector.verdicts import Delivered, Retry, Verdict
from snowbus.bus.diagnostics import Diagnostics
from snowbus.bus.errors import LogUnavailableError
from snowbus.bus.payload import dump_payload

from .tracked import Tracked

logger = Diagnostics(__name__)

Fsync = Literal["never", "interval", "always"]

_INTERVAL_SECONDS = 1.0
_TRIES = 50
_TRY_SECONDS = 0.01


class Rotation(NamedTuple):
    """When a file is put aside: before it would have more bytes, and when so many seconds begin anew (as hours and days
    do, in UTC); 0 for never. `keep` is how many files put aside are kept, 0 for all.
    """

    max_bytes: int
    seconds: float
    keep: int


class FileDestination:
    """Appends lines, in one write for all that wait, whole or not at all.

    Whoever writes holds a lock on the file, and looks whether it is still the one at the path; so processes may share
    it, and logrotate may move it.
    """

    def __init__(self, path: Path, rotation: Rotation, fsync: Fsync) -> None:
        self.system, self.name = "file", str(path)
        self._path = path
        self._rotation = rotation
        self._fsync = fsync
        self._descriptor = -1
        self._sync_at: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        try:
            self._open()
        except OSError as error:
            raise LogUnavailableError(f"{self._path}: {error.strerror or error}") from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sync_at is not None:
            self._sync()
        os.close(self._descriptor)

    def prepare(self, event: Tracked) -> bytes:
        """See Destination."""
        return dump_payload(event.payload).encode() + b"\n"

    def requests(self, items: Sequence[bytes]) -> list[int]:
        """See Destination: a file is put aside before it would be too large."""
        counts: list[int] = []
        room = 0
        for item in items:
            if not counts or (self._rotation.max_bytes and len(item) > room):
                counts.append(0)
                room = self._rotation.max_bytes
            counts[-1] += 1
            room -= len(item)
        return counts

    async def send(self, items: Sequence[bytes]) -> Verdict:
        """See Destination."""
        data = b"".join(items)
        try:
            await self._lock()
            try:
                while self._is_full(len(data)):
                    await self._put_aside()
                self._write(data)
            finally:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        except BlockingIOError:
            return Retry("another process is writing to it")
        except OSError as error:
            return Retry(f"{self._path}: {error.strerror or error}")
        return Delivered()

    async def keep(self, event: Tracked, reason: str) -> bool:  # noqa: ARG002 - it takes whatever has a text
        """See Destination."""
        return False

    def _open(self) -> None:
        opened = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        before, self._descriptor = self._descriptor, opened
        if before >= 0:
            os.close(before)

    async def _lock(self) -> None:
        """Hold the file that is at the path now. Raises OSError, and BlockingIOError when others hold it for long."""
        for _ in range(_TRIES):
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                await asyncio.sleep(_TRY_SECONDS)
                continue
            if _is_at(self._path, self._descriptor):
                return
            self._open_anew()
        raise BlockingIOError

    def _open_anew(self) -> None:
        if self._sync_at is not None:
            self._sync()
        self._open()

    def _is_full(self, size: int) -> bool:
        status = os.fstat(self._descriptor)
        seconds, most = self._rotation.seconds, self._rotation.max_bytes
        aged = bool(seconds) and status.st_mtime // seconds != time.time() // seconds
        return bool(status.st_size) and (aged or (bool(most) and status.st_size + size > most))

    async def _put_aside(self) -> None:
        """Begin a new file; called, and left, with the lock. Raises OSError."""
        now = time.time_ns()
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now // 1_000_000_000))
        self._path.rename(self._path.with_name(f"{self._path.name}.{stamp}.{now % 1_000_000_000:09d}"))
        self._open_anew()
        await self._lock()
        if self._rotation.keep:
            ours = re.compile(re.escape(self._path.name) + r"\.\d{8}T\d{6}\.\d{9}")
            aside = sorted(path for path in self._path.parent.iterdir() if ours.fullmatch(path.name))
            for old in aside[: -self._rotation.keep]:
                old.unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        end = os.fstat(self._descriptor).st_size
        if end and os.pread(self._descriptor, 1, end - 1) != b"\n":  # somebody was cut off
            data = b"\n" + data
        if os.write(self._descriptor, data) != len(data):
            os.ftruncate(self._descriptor, end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self._fsync == "always":
            os.fdatasync(self._descriptor)
        elif self._fsync == "interval" and self._sync_at is None:
            self._sync_at = asyncio.get_running_loop().call_later(_INTERVAL_SECONDS, self._sync)

    def _sync(self) -> None:
        if self._sync_at is not None:
            self._sync_at.cancel()
            self._sync_at = None
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            logger.warning("a file is not written through", path=str(self._path), reason=error.strerror)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
