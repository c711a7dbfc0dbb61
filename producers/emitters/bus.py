"""The bus emitter: puts events on the log from a thread of its own, so that tracking never waits for it."""

import asyncio
import contextlib
import functools
import itertools
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, NamedTuple

import structlog

from snowbus.bus.acceptance import Draft, check, draft, schemas_of
from snowbus.bus.errors import LogError, LogUnavailableError, SnowbusError
from snowbus.bus.event import BAD_TOPIC, EVENTS_TOPIC, ProducerRecord
from snowbus.bus.iglu.config import settings_config
from snowbus.bus.iglu.resolver import Resolver
from snowbus.bus.log import Log, LogOptions, open_log
from snowbus.bus.payload import as_payload
from snowbus.bus.version import producer_name

from ..ingest.bad_records import bad_record, invalid

logger = structlog.get_logger(__name__)

_BATCH = 500
_RETRY_SECONDS = 0.5
_IDLE_SECONDS = 0.2
_EXIT_SECONDS = 5.0
_FORK_SECONDS = 5.0
_SCHEMA_SECONDS = 1.0

_emitters: "weakref.WeakSet[BusEmitter]" = weakref.WeakSet()
_fork_lock = threading.Lock()


class _Queued(NamedTuple):
    """An event that waits, and when it was tracked, in ms since 1970."""

    drafted: Draft
    now: int


_Placed = tuple[str, ProducerRecord]
"""A topic, and what is to be appended there."""


class _ThreadPerCall(ThreadPoolExecutor):
    """An executor that still works when the main thread has ended, which is when the pools of the library refuse to."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def call() -> None:
            try:
                future.set_result(function(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - the future's, as with any executor
                future.set_exception(error)

        threading.Thread(target=call, name="snowbus-emitter-call", daemon=True).start()
        return future


class BusEmitter:
    """Puts events on the log: `Tracker("ns", [BusEmitter(log="kafka://localhost:9092")])`.

    `input` puts a copy of the payload in a queue of `max_queued` events and returns; a thread checks and appends what
    waits, in order, again and again until the log takes it. `iglu_resolver` and `on_invalid` are as the settings of
    these names. `input` never blocks and never raises: an event that finds the queue full is counted in `dropped`, one
    that is no event, or too large, in `refused`; `delivered` counts what is durable.
    When the interpreter ends, what waits gets five seconds. For a fork the log is closed, as neither SQLite nor Kafka's
    connections survive one: the parent goes on with its queue, the child begins with an empty one when it tracks.
    Raises ConfigurationError when the log's URL, or the resolver's file, cannot work.
    """

    def __init__(
        self,
        log: str,
        *,
        options: LogOptions | None = None,
        max_queued: int = 10_000,
        iglu_resolver: str = "",
        on_invalid: Literal["forward", "divert"] = "forward",
    ) -> None:
        self.delivered = 0
        self.dropped = 0
        self.refused = 0
        self._url = log
        self._options = options
        self._max_queued = max_queued
        self._resolver_config = settings_config(iglu_resolver)
        self._is_strict = bool(iglu_resolver)
        self._diverts = on_invalid == "divert"
        self._producer = producer_name("emitter")
        self._give_up_at: float | None = None
        self._abandoned: list[asyncio.AbstractEventLoop] = []
        self._begin_empty()
        with _fork_lock:
            self._start()
            self._opened.wait()
            if self._error is not None:
                raise self._error
            _emitters.add(self)

    def _begin_empty(self) -> None:
        self._pid = os.getpid()
        self._queue: deque[_Queued] = deque()
        self._settled = threading.Condition()

    def _start(self, *, after: threading.Thread | None = None) -> None:
        """Start the thread that appends; it waits for the end of the one before it."""
        self._opened = threading.Event()
        self._error: SnowbusError | None = None
        self._forking = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(_ThreadPerCall())
        self._wake = asyncio.Event()
        # Not a daemon: the interpreter waits for it, and it notices when the main thread has ended.
        run = functools.partial(self._run, self._loop, self._forking, after)
        self._thread = threading.Thread(target=run, name="snowbus-emitter", daemon=False)
        self._thread.start()

    def _before_fork(self) -> None:
        """Let go of the log: locks of SQLite held by a thread would stay held in the child for ever."""
        self._forking.set()
        self._call_in_loop(self._wake.set)
        if self._thread is not threading.current_thread():
            self._thread.join(_FORK_SECONDS)

    def _after_fork_in_parent(self) -> None:
        self._start(after=self._thread)

    def _start_after_fork_in_child(self) -> None:
        """Only the thread that forked lives on in a child; what was queued is the parent's to deliver."""
        if not self._loop.is_closed():
            self._abandoned.append(self._loop)  # the parent's: closing it here would take its descriptors
        self._begin_empty()
        self._start()

    def input(self, payload: Mapping[str, Any]) -> None:
        """Take one event."""
        if os.getpid() != self._pid:
            self._start_after_fork_in_child()
        try:
            drafted = draft(as_payload(payload))
        except Exception as error:  # noqa: BLE001 - whatever a payload holds, its tracker must go on
            self.refused += 1
            logger.warning("not an event", reason=str(error) or type(error).__name__)
            return
        if len(self._queue) >= self._max_queued or self._give_up_at is not None:
            self.dropped += 1
            if self.dropped == 1 or self.dropped % 1000 == 0:
                logger.warning("event dropped: the queue is full, or closed", log=self._url, dropped=self.dropped)
            return
        self._queue.append(_Queued(drafted, time.time_ns() // 1_000_000))
        if len(self._queue) == 1:
            self._call_in_loop(self._wake.set)

    @property
    def pending(self) -> int:
        """How many events wait to become durable."""
        return len(self._queue)

    def flush(self, timeout: float = 10.0) -> None:
        """Wait until nothing is pending, `timeout` seconds at most."""
        with self._settled:
            self._settled.wait_for(lambda: not self._queue, timeout)

    def sync_flush(self) -> None:
        """As `flush`, under the tracker's own name."""
        self.flush()

    def async_flush(self) -> None:
        """Nothing to do: the thread appends as soon as it can."""

    def close(self, timeout: float = 10.0) -> None:
        """Give what is pending `timeout` seconds, then let go of the log."""
        self._give_up_at = self._give_up_at or time.monotonic() + timeout
        with _fork_lock:
            self._call_in_loop(self._wake.set)
            _emitters.discard(self)
        self._thread.join()

    def _call_in_loop(self, callback: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, after close()
            self._loop.call_soon_threadsafe(callback)

    def _run(self, loop: asyncio.AbstractEventLoop, forking: threading.Event, after: threading.Thread | None) -> None:
        if after is not None:
            after.join()
        with contextlib.closing(loop):
            loop.run_until_complete(self._serve(forking))

    async def _serve(self, forking: threading.Event) -> None:
        try:
            log = await self._open(forking)
        except SnowbusError as error:
            self._error = error
            return
        finally:
            self._opened.set()
        if log is None:
            return
        topics = [EVENTS_TOPIC, BAD_TOPIC] if self._diverts else [EVENTS_TOPIC]
        async with log, Resolver(self._resolver_config, wait=_SCHEMA_SECONDS, is_strict=self._is_strict) as resolver:
            created = False
            while not forking.is_set() and (self._queue or not self._ending()):
                if not self._queue:
                    await self._idle(forking)
                    continue
                try:
                    if not created:
                        await log.create_topics(topics)
                        created = True
                    waiting = list(itertools.islice(self._queue, _BATCH))
                    await self._append(log, await self._check(waiting, resolver, log.options.max_record_bytes))
                except LogError as error:
                    logger.warning(
                        "events wait for the log", log=self._url, waiting=len(self._queue), reason=str(error)
                    )
                    if self._ending() and time.monotonic() >= (self._give_up_at or 0):
                        break
                    await asyncio.sleep(_RETRY_SECONDS)

    async def _open(self, forking: threading.Event) -> Log | None:
        """Open the log, also one that is locked now; None when it is too late, or a fork is near."""
        while True:
            try:
                return await open_log(self._url, self._options)
            except LogUnavailableError as error:
                self._opened.set()
                logger.warning("the log is away", log=self._url, reason=str(error))
                if self._ending() or forking.is_set():
                    return None
                await asyncio.sleep(_RETRY_SECONDS)

    async def _check(self, waiting: Sequence[_Queued], resolver: Resolver, max_bytes: int) -> list[_Placed]:
        """Check events against their schemas; each has a record then, and a topic that it goes to."""
        lookups = await resolver.look_up(schemas_of(drafted for drafted, _ in waiting))
        placed = []
        for drafted, now in waiting:
            accepted = check(drafted, lookups, now=now, producer=self._producer)
            if accepted.errors and self._diverts:
                bad = invalid(drafted, accepted)
                placed.append((BAD_TOPIC, bad_record(bad, source={}, query=b"", received=now, max_bytes=max_bytes)))
            else:
                placed.append((EVENTS_TOPIC, accepted.record))
        return placed

    async def _append(self, log: Log, placed: Sequence[_Placed]) -> None:
        """Append the records of events that stand first in the queue, and take these out of it."""
        try:
            for topic in (BAD_TOPIC, EVENTS_TOPIC):
                if records := [record for name, record in placed if name == topic]:
                    await log.append(topic, records)
            self.delivered += len(placed)
        except LogError as error:
            if error.retriable:
                raise
            if len(placed) > 1:  # one of them is too large; the others are not to blame
                for each in placed:
                    await self._append(log, [each])
                return
            self.refused += 1
            logger.warning("event refused by the log", reason=str(error))
        with self._settled:
            for _ in placed:
                self._queue.popleft()
            self._settled.notify_all()

    async def _idle(self, forking: threading.Event) -> None:
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            if not self._queue and not forking.is_set():
                async with asyncio.timeout(_IDLE_SECONDS):
                    await self._wake.wait()

    def _ending(self) -> bool:
        if self._give_up_at is None and not threading.main_thread().is_alive():
            self._give_up_at = time.monotonic() + _EXIT_SECONDS
        return self._give_up_at is not None


def _before_fork() -> None:
    _fork_lock.acquire()
    for emitter in _emitters:
        emitter._before_fork()  # noqa: SLF001 - of this module


def _after_fork_in_parent() -> None:
    for emitter in _emitters:
        emitter._after_fork_in_parent()  # noqa: SLF001 - of this module
    _fork_lock.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_fork_lock.release)
