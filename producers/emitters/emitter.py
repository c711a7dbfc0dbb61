"""What all emitters are: a plug-in of the official tracker that takes events at once, and sends them from a thread."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypedDict, Unpack

from snowbus.bus.errors import ConfigurationError

from . import lifecycle
from .destination import Destination
from .ledger import Ledger
from .options import check_choice, check_seconds, check_whole
from .outbox import Durability, Outbox
from .outcomes import Counts, Depth, OnOutcome
from .spool import Spool, SpoolError
from .tracked import Tracked, tracked
from .worker import Worker

_DURABILITIES = ("memory", "written", "synced")
_GRACE_SECONDS = 5.0
_OPENING_SECONDS = 5.0
_LEAST_SPOOL_BYTES = 65_536


class EmitterOptions(TypedDict, total=False):
    """What every emitter can be told.

    `max_queued` (10,000): events in memory, at most. `spool`: a folder for events that outlive the process, of
    `spool_bytes` (1 GiB) at most, which processes may share. `durability` says when events are there: "memory" (the
    default), when they cannot be sent, when half of `max_queued` wait, and at the end; "written", before `track()`
    returns, so that they survive a SIGKILL; "synced", the same, and the disk has them. `exit_timeout` (5): seconds for
    what waits when the interpreter ends. `on_outcome` is called with each Outcome, in the emitter's thread.
    """

    max_queued: int
    spool: str | Path | None
    spool_bytes: int
    durability: Durability
    exit_timeout: float
    on_outcome: OnOutcome | None


class Emitter:
    """Takes events by `input`, which neither blocks nor raises, and sends them from a thread, in order, until they are
    durable at their destination.

    The thread starts with the first event, or when the spool holds some. It is at home in one process: after a fork the
    parent goes on, and the child begins empty.
    """

    def __init__(
        self, make: Callable[[], Destination[Any]], *, name: str, at_once: int, **options: Unpack[EmitterOptions]
    ) -> None:
        _check(options)
        folder = Path(spool) if (spool := options.get("spool")) else None
        self._make = make
        self._name = name
        self._at_once = at_once
        self._exit_timeout = options.get("exit_timeout", 5.0)
        self._ledger = Ledger(name, on_outcome=options.get("on_outcome"), folder=folder)
        self._outbox = Outbox(
            max_queued=options.get("max_queued", 10_000),
            spool=self._open_spool(folder, options.get("spool_bytes", 1 << 30)),
            durability=options.get("durability", "memory"),
            on_spilled=self._ledger.spooled,
        )
        self._worker: Worker | None = None
        self._closed = False
        self._is_out = False
        self._is_at_exit = False
        self._is_starting = False
        self._abandoned: list[Worker] = []
        if self._outbox.spool is not None and self._outbox.spool.has_files:
            self._start()
            self._let_it_open()

    def _open_spool(self, folder: Path | None, max_bytes: int) -> Spool | None:
        if folder is None:
            return None
        return Spool(folder, max_bytes=max_bytes, on_damaged=self._ledger.damaged)

    @property
    def counts(self) -> Counts:
        """How many events had which outcome."""
        return self._ledger.counts

    @property
    def pending(self) -> int:
        """How many events wait, in memory and in what this process holds of the spool."""
        return self._outbox.pending

    @property
    def depth(self) -> Depth:
        """How much waits, in memory and in the spool, and how much more may; it looks at the files of the spool."""
        return self._outbox.depth

    def input(self, payload: Mapping[str, Any]) -> None:
        """Take one event."""
        try:
            event = tracked(payload)
            if self._closed:
                self._put_late(event)
            elif not self._outbox.put(event):
                self._ledger.drop(1, "too many events wait (max_queued, spool)")
            if self._worker is None:
                self._start()
            self._let_it_open()
        except Exception as error:  # noqa: BLE001 - whatever a payload holds, its tracker must go on
            self._ledger.unreadable(str(error) or type(error).__name__)

    def _put_late(self, event: Tracked) -> None:
        """Take an event that comes after the worker's end: where it is the program's, too, the spool may keep it."""
        if not self._is_at_exit:
            self._ledger.drop(1, "the emitter is closed")
            return
        with lifecycle.lock:
            self._outbox.put(event)
            self._keep()

    def flush(self, timeout: float = 10.0) -> Any:
        """Wait until nothing waits, `timeout` seconds at most, and return whether all is out, with nothing lost
        meanwhile.

        (A bool; but the tracker's protocol, which type checkers hold emitters against, says None.)
        """
        worker = self._worker
        if worker is not None and threading.current_thread() is worker.thread:
            return not self.pending  # a callback would wait for itself
        if self._closed and (worker is None or not worker.thread.is_alive()):
            return not self.pending  # nobody sends any more
        dropped = self.counts.dropped
        return self._outbox.wait_until_empty(timeout) and self.counts.dropped == dropped

    def sync_flush(self) -> None:
        """As `flush`, under the tracker's own name."""
        self.flush()

    def async_flush(self) -> None:
        """Nothing to do: the thread sends as soon as it can."""

    def close(self, timeout: float = 10.0) -> bool:
        """Give what waits `timeout` seconds; what is left goes to the spool, or is lost. Says whether all is out."""
        with lifecycle.lock:
            self._closed = True
            worker = self._worker
        if worker is None:
            self._finish()
        else:
            worker.end(timeout)
            if threading.current_thread() is not worker.thread:
                worker.thread.join(timeout + _GRACE_SECONDS)
        return self._is_out

    def _start(self, *, after: Worker | None = None) -> None:
        with lifecycle.lock:
            if self._closed or self._is_starting or (self._worker is not None and after is None):
                return
            if lifecycle.is_over():
                self._finish_at_exit()
                return
            self._is_starting = True  # a signal handler or a `__del__` may track in the middle of it
            try:
                self._worker = Worker(
                    self._outbox,
                    self._make,
                    at_once=self._at_once,
                    ledger=self._ledger,
                    name=self._name,
                    at_end=self._finish,
                    after=after,
                )
                lifecycle.began(self)
                self._worker.start()
            except RuntimeError:  # no thread can be started any more
                self._worker = None
                self._finish_at_exit()
            finally:
                self._is_starting = False

    def _let_it_open(self) -> None:
        """Wait for the destination, whose threads must have been started when the main one ends, where Python starts
        none after that.
        """
        if not lifecycle.STARTS_THREADS_TO_THE_END and self._worker is not None:
            self._worker.wait_until_open(_OPENING_SECONDS)

    def _finish_at_exit(self) -> None:
        self._is_at_exit = True
        self._finish()

    def _finish(self) -> None:
        """End, with nothing left to send."""
        self._closed = True
        lifecycle.ended(self)
        self._keep()
        if self._outbox.spool is not None:
            self._outbox.spool.close()

    def _keep(self) -> None:
        """Move what is left to the spool, or say that it is lost."""
        try:
            while self._outbox.spill():
                pass
        except SpoolError as error:
            self._ledger.spool_failed(str(error))
        self._is_out = not self.pending
        self._outbox.forget(lambda lost: self._ledger.drop(lost, "the emitter ended before they could be sent"))
        self._ledger.tell()

    def before_fork(self, seconds: float) -> None:
        """See lifecycle.Running."""
        if self._worker is not None:
            self._worker.leave(seconds)

    def wait_for_fork(self, seconds: float) -> None:
        """See lifecycle.Running."""
        if self._worker is not None and threading.current_thread() is not self._worker.thread:
            self._worker.wait_until_left(seconds)

    def after_fork_in_parent(self) -> None:
        """See lifecycle.Running."""
        if self._worker is None:
            return
        if self._closed:
            self._worker.dismiss(None)
            self._finish()  # it was about to end, and has no time left
        else:
            self._start(after=self._worker)

    def after_fork_in_child(self) -> None:
        """See lifecycle.Running."""
        if self._worker is not None:
            self._abandoned.append(self._worker)  # where it had no time to leave, its loop is the parent's to close
        self._worker = None
        self._outbox.abandon()
        self._ledger.abandon()

    def at_exit(self) -> None:
        """See lifecycle.Running."""
        self._is_at_exit = True
        if self._worker is not None:
            self._worker.end_soon(self._exit_timeout)

    def wait_at_exit(self) -> None:
        """See lifecycle.Running."""
        if self._worker is not None:
            self._worker.thread.join(self._exit_timeout + _GRACE_SECONDS)


def _check(options: EmitterOptions) -> None:
    """Raise TypeError for what is no option, ConfigurationError for one that cannot work."""
    if unknown := options.keys() - EmitterOptions.__annotations__.keys():
        raise TypeError(f"an emitter has no option {', '.join(sorted(unknown))}")
    durability = options.get("durability", "memory")
    check_choice("durability", durability, _DURABILITIES)
    if durability != "memory" and not options.get("spool"):
        raise ConfigurationError(f"durability {durability!r} needs a folder to write to: give spool")
    check_whole("max_queued", options.get("max_queued", 1), least=1)
    check_whole("spool_bytes", options.get("spool_bytes", _LEAST_SPOOL_BYTES), least=_LEAST_SPOOL_BYTES)
    check_seconds("exit_timeout", options.get("exit_timeout", 0), may_be_zero=True)
    if (on_outcome := options.get("on_outcome")) and not callable(on_outcome):
        raise ConfigurationError("on_outcome must be a function, which is called with each Outcome")
