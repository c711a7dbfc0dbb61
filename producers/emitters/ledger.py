"""Books what becomes of events: counts it, says it in the diagnostics, tells who asked, and keeps what was refused."""

import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from snowbus.bus.clock import now_ms
from snowbus.bus.diagnostics import Diagnostics
from snowbus.bus.json_text import dump_bytes
from snowbus.bus.payload import Payload
from snowbus.bus.sparingly import SparingDiagnostics

from .outcomes import Counts, Kind, OnOutcome, Outcome
from .tracked import Tracked

logger = Diagnostics(__name__)

REFUSED_FILE = "refused.ndjson"
_REFUSED_BYTES = 64 * 1024 * 1024


class Ledger:
    """The books of one emitter. `drop` and `spooled` may be called from any thread, everything else from the worker's.

    What was refused is kept in `folder`, where there is one, in a file that is put aside once when it is large.
    """

    def __init__(self, name: str, *, on_outcome: OnOutcome | None, folder: Path | None) -> None:
        self.counts = Counts()
        self._name = name
        self._on_outcome = on_outcome
        self._refused = folder / REFUSED_FILE if folder is not None else None
        self._lock = threading.RLock()
        self._untold: Counter[tuple[Kind, str]] = Counter()
        self._diagnostics = SparingDiagnostics(logger)

    def abandon(self) -> None:
        """Begin empty, in a forked child."""
        self.counts = Counts()
        self._lock = threading.RLock()
        self._untold = Counter()

    def drop(self, count: int, reason: str) -> None:
        """So many events are lost."""
        with self._lock:
            self.counts.dropped += count
            self._untold["dropped", reason] += count
        self._warn("dropped", "events lost", count=count, reason=reason, dropped=self.counts.dropped)

    def spooled(self, count: int) -> None:
        """So many events have been moved from memory to the spool."""
        with self._lock:
            self.counts.spooled += count
            self._untold["spooled", ""] += count

    def tell(self) -> None:
        """Tell who asked of what was dropped, and spooled, since the last time."""
        with self._lock:
            untold, self._untold = self._untold, Counter()
        for (kind, reason), count in untold.items():
            self._tell(Outcome(kind, count, reason))

    def delivered(self, payloads: Sequence[Payload]) -> None:
        """Events are durable at their destination."""
        self.counts.delivered += len(payloads)
        self._tell(Outcome("delivered", len(payloads), "", payloads))

    def spool_failed(self, reason: str) -> None:
        """The spool takes nothing now; events wait in memory."""
        self.counts.spool_failures += 1
        self._warn("spooled", "the spool takes nothing", reason=reason)

    def retried(self, payloads: Sequence[Payload], reason: str, *, waiting: int) -> None:
        """A try to send events was in vain; so many wait."""
        self.counts.retried += len(payloads)
        self._warn("retried", "events wait", waiting=waiting, reason=reason)
        self._tell(Outcome("retried", len(payloads), reason, payloads))

    def unreadable(self, reason: str) -> None:
        """What was tracked is no event; from any thread."""
        with self._lock:
            self.counts.refused += 1
        self._warn("refused", "event refused", reason=reason)

    def refused(self, event: Tracked, reason: str, *, kept: bool) -> None:
        """The destination will never take an event; `kept` says that it has kept it otherwise."""
        with self._lock:
            self.counts.refused += 1
        if not kept:
            self._keep({"reason": reason, "at": event.at, "payload": event.payload})
        self._warn("refused", "event refused", reason=reason, eid=event.payload.get("eid", ""))
        self._tell(Outcome("refused", 1, reason, [event.payload]))

    def damaged(self, value: bytes, reason: str) -> None:
        """The spool held bytes that are no event."""
        self.counts.damaged += 1
        self._keep({"reason": reason, "at": now_ms(), "bytes": value.decode("latin-1")})
        self._diagnostics.warning("not an event in the spool", emitter=self._name, reason=reason)

    def _keep(self, line: dict[str, object]) -> None:
        if self._refused is None:
            return
        try:
            if self._refused.exists() and self._refused.stat().st_size > _REFUSED_BYTES:
                self._refused.replace(self._refused.with_suffix(".old.ndjson"))
            with self._refused.open("ab", buffering=0) as file:  # one write, so that processes may share it
                file.write(dump_bytes(line) + b"\n")
        except OSError as error:
            self._diagnostics.warning(
                "a refused event could not be kept", path=str(self._refused), reason=error.strerror
            )

    def _tell(self, outcome: Outcome) -> None:
        if self._on_outcome is None:
            return
        try:
            self._on_outcome(outcome)
        except BaseException:  # noqa: BLE001 - it is told, with its traceback
            self._diagnostics.exception("on_outcome raised", emitter=self._name)

    def _warn(self, kind: Kind, what: str, **facts: object) -> None:
        self._diagnostics.warning(what, about=kind, emitter=self._name, **facts)
