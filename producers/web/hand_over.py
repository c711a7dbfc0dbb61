"""Hands events to an emitter in a thread of its own, so that no request waits for an emitter, whatever that does."""

import queue
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from snowbus.bus import tracing
from snowbus.bus.diagnostics import Diagnostics
from snowbus.bus.sparingly import SparingDiagnostics

logger = Diagnostics(__name__)

_LAST_SECONDS = 1.0


class Emitter(Protocol):
    """What the official tracker calls an emitter, as far as events go."""

    def input(self, payload: dict[str, Any], /) -> None:
        """Take an event."""


class HandOver:
    """The events that wait for one emitter: `max_waiting` at most, what comes beyond is counted in `dropped`.

    Ours take an event in microseconds. Others send it before they return, and may wait for a collector as they do.
    """

    def __init__(self, emitter: Emitter, *, max_waiting: int) -> None:
        self.dropped = 0
        self.failed = 0
        self._emitter = emitter
        self._max_waiting = max_waiting
        self._diagnostics = SparingDiagnostics(logger)
        self.begin_anew()

    def begin_anew(self) -> None:
        """Begin with an empty queue and no thread."""
        self._waiting: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._is_ending = False
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def put(self, payload: Mapping[str, Any], traceparent: str) -> None:
        """Let an event wait for its turn; neither blocks, but at the end, nor raises."""
        if sys.is_finalizing():  # no thread goes on by now, and to start one would wait for ever
            self._drop("events dropped: the interpreter has ended")
        elif self._waiting.qsize() >= self._max_waiting:
            self._drop("events dropped: an emitter takes none")
        else:
            self._put(partial(self._give, dict(payload), traceparent))
            if self._is_ending:
                self.mark(flush=False).wait(_LAST_SECONDS)

    def end(self) -> None:
        """The process ends: from now on whoever puts an event waits a moment, as nobody else waits for the thread."""
        self._is_ending = True

    def _give(self, payload: dict[str, Any], traceparent: str) -> None:
        with tracing.carrying(traceparent):
            self._emitter.input(payload)

    def mark(self, *, flush: bool) -> threading.Event:
        """What is set once the emitter has all that waits now, and has flushed it, if so asked."""
        reached = threading.Event()
        if self._thread is None and not flush:
            reached.set()
            return reached
        if flush and (flushes := getattr(self._emitter, "sync_flush", None)):
            self._put(flushes)
        self._put(reached.set)
        return reached

    def _put(self, call: Callable[[], object]) -> None:
        self._waiting.put(call)
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=self._run, args=(self._waiting,), name="snowbus-hand-over", daemon=True
                    )
                    self._thread.start()

    def _run(self, waiting: "queue.SimpleQueue[Callable[[], object]]") -> None:
        while True:
            call = waiting.get()
            try:
                call()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next event may be taken
                self.failed += 1
                self._warn("an emitter failed", reason=str(error) or type(error).__name__, failed=self.failed)

    def _drop(self, why: str) -> None:
        self.dropped += 1
        self._warn(why, dropped=self.dropped)

    def _warn(self, what: str, **facts: Any) -> None:
        self._diagnostics.warning(what, emitter=type(self._emitter).__name__, **facts)
