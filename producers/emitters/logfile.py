"""The logfile emitter: appends each event to a file, a JSON object of tracker-protocol parameters a line."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from snowbus.bus.errors import ConfigurationError
from snowbus.bus.payload import dump_payload

from .base import as_payload

logger = structlog.get_logger(__name__)


class LogfileEmitter:
    """Writes events to `path` as JSON lines, which `snowbus publish < path` puts on the log.

    A plug-in of the official tracker: `Tracker("ns", [LogfileEmitter("events.ndjson")])`. A line is written whole, by
    one write, before `input` returns; several processes may write to one file. `input` never raises: an event that
    cannot be written is counted in `failed` and said in the diagnostics. Raises ConfigurationError when the file cannot
    be opened.
    """

    def __init__(self, path: str | Path) -> None:
        self.written = 0
        self.failed = 0
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
                self._file.write(line)
                self.written += 1
        except (OSError, ValueError) as error:
            self.failed += 1
            logger.warning("event not written", path=self._file.name, reason=str(error))

    def flush(self) -> None:
        """Nothing waits: each event is written when it is tracked."""

    async_flush = sync_flush = flush

    def close(self) -> None:
        """Close the file."""
        self._file.close()
