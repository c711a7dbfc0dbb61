"""The logfile emitter: appends each event to a file, a JSON object of tracker-protocol parameters a line."""

import errno
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from snowbus.bus.errors import ConfigurationError
from snowbus.bus.payload import as_payload, dump_payload

logger = structlog.get_logger(__name__)


class LogfileEmitter:
    """Writes events to `path` as JSON lines, which `snowbus publish < path` puts on the log.

    A plug-in of the official tracker: `Tracker("ns", [LogfileEmitter("events.ndjson")])`. A line is written whole, by
    one write, before `input` returns; several processes may write to one file. `input` never raises: an event that
    cannot be written is counted in `failed` and said in the diagnostics. Raises ConfigurationError when the file cannot
    be opened. On a full disk a line may be there in part; the next one begins on a line of its own.
    """

    def __init__(self, path: str | Path) -> None:
        self.written = 0
        self.failed = 0
        self._torn = False
        self._lock = threading.Lock()
        try:
            self._file = Path(path).open("ab", buffering=0)  # noqa: SIM115 - open for as long as the emitter is
        except OSError as error:
            raise ConfigurationError(f"logfile {path}: {error.strerror or error}") from None

    def input(self, payload: Mapping[str, Any]) -> None:
        """Write one event."""
        try:
            line = dump_payload(as_payload(payload)).encode() + b"\n"
            with self._lock:
                if self._torn:
                    line = b"\n" + line
                self._torn = self._file.write(line) != len(line)
                if self._torn:
                    raise OSError(errno.ENOSPC, "only a part of a line was written")
                self.written += 1
        except Exception as error:  # noqa: BLE001 - whatever a payload holds, its tracker must go on
            self.failed += 1
            logger.warning("event not written", path=self._file.name, reason=str(error) or type(error).__name__)

    def flush(self) -> None:
        """Nothing waits: each event is written when it is tracked."""

    async_flush = sync_flush = flush

    def close(self) -> None:
        """Close the file."""
        self._file.close()
