"""One reader: where it starts, its history, the live stream, and what it says to us."""

import asyncio
from dataclasses import dataclass, replace

from snowbus.bus.backoff import Backoff
from snowbus.bus.clock import now_ms
from snowbus.bus.cursor import RunningCursor, encode_cursor
from snowbus.bus.diagnostics import Diagnostics
from snowbus.bus.errors import LogError, TopicNotFoundError
from snowbus.bus.event import EVENTS_TOPIC, Record
from snowbus.bus.log.interface import Log
from snowbus.bus.metrics import Metrics
from snowbus.bus.start import Earliest, Gap, Last, Latest, Positions, Resume, Since, Start, find_start

from ..history import History
from ..reading import Reading
from .bodies import Bodies
from .chunks import MAX_WRITE_BYTES
from .conversation import Conversation
from .deliveries import Deliveries
from .flow import Flow
from .frames import event_frame, gap_frame, heartbeat_frame
from .limits import TokenBucket
from .live import Live
from .reader import LiveReader
from .requests import Pause, Permit, Request, RequestError, SetFilter, parse_request
from .subscription import Subscription
from .tail import Tail
from .wire import GatewayConnection

logger = Diagnostics(__name__)

HISTORY_SLOTS = 8
"""Readers that read the log at once; the others wait their turn."""

_FIRST_TRY_SECONDS = 1.0
_LOG_SECONDS = 3.0
_TURN_SECONDS = 2.0
_STALLED_SECONDS = 0.5
_RECORDS_A_WRITE = 64
_FILTERS_AT_ONCE = 20


@dataclass(frozen=True)
class Hub:
    """What the readers of a gateway share."""

    log: Log
    live: Live
    tail: Tail
    deliveries: Deliveries
    metrics: Metrics
    history_slots: asyncio.Semaphore
    bodies: Bodies
    heartbeat: float


class Session:
    """One reader's loop. Everything it keeps is bounded: what its socket has not taken, and one read of the log."""

    def __init__(self, connection: GatewayConnection, subscription: Subscription, hub: Hub) -> None:
        self._connection = connection
        self._subscription = subscription
        self._hub = hub
        self._position: RunningCursor | None = None
        self._live_reader: LiveReader | None = None
        self._restarts = 0
        self._flow = Flow()
        self._flow_changed = asyncio.Event()
        self._greeted = False
        self._told_outage = False
        self._conversation = Conversation(connection, hub.metrics)
        self._new_filters = TokenBucket(_FILTERS_AT_ONCE, now=connection.loop.time())

    async def run(self) -> None:
        """Stream until the connection is closed."""
        streaming = asyncio.create_task(self._stream(), name="snowbus-gateway-reader")
        try:
            await self._conversation.listen(self._take, cursor=self._cursor)
        finally:
            streaming.cancel()
            await asyncio.wait({streaming})

    def tick(self, now: float) -> None:
        """Break the silence: with a heartbeat, or with what is wrong. `now` is the event loop's time in seconds."""
        connection = self._connection
        if not self._greeted or not connection.is_writable:
            return
        cursor = self._cursor()
        silent = now - connection.sent_at >= self._hub.heartbeat
        if (outage := self._hub.tail.outage) and (silent or not self._told_outage):
            self._say_outage(outage, cursor)
        elif cursor is not None and not outage and (silent or self._told_outage):
            self._told_outage = False
            self._conversation.send("heartbeat", heartbeat_frame(cursor, now=now_ms()))

    # Streaming

    async def _stream(self) -> None:
        deliveries, asked = self._hub.deliveries, self._subscription
        told = None
        try:
            self._restarts = self._hub.live.restarts
            self._position = await self._begin()
            if asked.deliveries:
                starts = dict(self._position.positions)
                told = deliveries.join(self._connection, starts, since=asked.deliveries_since)
            backoff = Backoff(0.2, maximum=5.0)
            while self._connection.is_open:
                await self._connection.drain()
                await self._until_something_may_be_sent()
                try:
                    await self._go_on(self._position)
                    backoff.reset()
                except (LogError, TimeoutError) as error:
                    logger.debug("a reader's history has to wait", reason=str(error) or "no answer in time")
                    await asyncio.sleep(backoff.next_wait())
        except ConnectionError:
            logger.debug("a reader is gone")
        except Exception:
            logger.exception("a reader's stream failed")
            self._conversation.say_error(
                "internal", "the gateway failed to go on; reconnect with your cursor", self._cursor()
            )
            self._connection.give_up("internal error")
        finally:
            if told is not None:
                deliveries.leave(told)

    async def _begin(self) -> RunningCursor:
        """Find where to start, and say hello; while the log is away, say so and try on."""
        start, asked_at = self._subscription.start, now_ms()
        cursor = encode_cursor(start.positions) if isinstance(start, Resume) else None
        backoff = Backoff(0.2, maximum=2.0)
        await self._hub.tail.wait_first_try(_FIRST_TRY_SECONDS)
        while True:
            try:
                positions, gaps = await self._find_start(start)
                break
            except (LogError, TimeoutError) as error:
                if not self._greeted:
                    self._say_hello(cursor)
                    self._say_outage(str(error) or "the log does not answer", None)
                if isinstance(start, Latest):  # what comes between now and then is new to this reader
                    start = Earliest() if isinstance(error, TopicNotFoundError) else Since(asked_at)
                await asyncio.sleep(backoff.next_wait())
        position = RunningCursor(start.positions if isinstance(start, Resume) else positions)
        if self._greeted:
            self._conversation.send("heartbeat", heartbeat_frame(position.text, now=now_ms()))
        else:
            self._say_hello(position.text.decode())
        for gap in gaps:
            self._say_gap(gap, position)
        return RunningCursor(positions)

    async def _find_start(self, start: Start) -> tuple[Positions, list[Gap]]:
        """As `find_start`, by the ring where that tells as much."""
        log, ring = self._hub.log, self._hub.live.ring
        if isinstance(start, Resume) and ring is not None:
            known = all(offset <= ring.positions.get(part, -1) for part, offset in start.positions.items())
            if known and ring.seat(start.positions):
                return dict(start.positions), []
        async with asyncio.timeout(_LOG_SECONDS):
            if isinstance(start, Last) and ring is not None:
                ends = await log.end_offsets(EVENTS_TOPIC)
                reached = all(ring.positions.get(part, 0) >= end for part, end in ends.items())
                if reached and (positions := ring.last_positions(start.count)) is not None:
                    return positions, []
            return await find_start(log, EVENTS_TOPIC, start)

    async def _go_on(self, position: RunningCursor) -> None:
        """Follow live from here, until the ring has moved past us; or read the log, until the ring is reached."""
        live = self._hub.live
        if self._restarts != live.restarts:
            await self._check_again(position)
        asked = self._subscription
        reader = live.join(
            self._connection,
            asked.filter,
            position.positions,
            mask=asked.rights.mask,
            policy=asked.policy,
            flow=self._flow,
        )
        if reader is None:
            async with self._hub.history_slots:
                await self._read_log(position)
            return
        self._live_reader = reader
        try:
            position.add(await reader.gone)
        finally:
            self._live_reader = None
            live.leave(reader)
            self._restarts = live.restarts
        if self._subscription.filter == asked.filter:
            self._hub.metrics.gateway_ring_misses.inc()

    async def _until_something_may_be_sent(self) -> None:
        while self._flow.limit == 0:
            self._flow_changed.clear()
            await self._flow_changed.wait()

    async def _check_again(self, position: RunningCursor) -> None:
        """The log is another one than when we took our position: what of it still stands?"""
        restarts = self._hub.live.restarts
        async with asyncio.timeout(_LOG_SECONDS):
            positions, gaps = await find_start(self._hub.log, EVENTS_TOPIC, Resume(position.positions))
        for gap in gaps:
            self._say_gap(gap, position)
        position.replace(positions)
        self._restarts = restarts

    async def _read_log(self, position: RunningCursor) -> None:
        """Send history; returns when the ring is reached, when the socket stalls, or when it is another's turn."""
        hub, connection = self._hub, self._connection
        turn_ends = connection.loop.time() + _TURN_SECONDS
        async with await History.open(hub.log, EVENTS_TOPIC, position.positions) as history:
            while connection.is_open:
                found = await history.next()
                for start in range(0, len(found), _RECORDS_A_WRITE):
                    if not await self._send_found(found[start : start + _RECORDS_A_WRITE], position):
                        return
                position.add(history.positions())
                others_wait = hub.history_slots.locked() and connection.loop.time() > turn_ends
                if others_wait or (hub.live.ring is not None and hub.live.ring.seat(position.positions)):
                    return

    async def _send_found(self, found: list[Record | Gap], position: RunningCursor) -> bool:
        """Send what was found in the log, moving the position; False when no more may be sent for now."""
        frames: list[bytes] = []
        size = 0
        for item in found:
            if self._flow.limit is not None and len(frames) >= self._flow.limit:
                await self._deliver(frames)
                return False
            if isinstance(item, Gap):
                if not await self._deliver(frames):
                    return False
                frames, size = [], 0
                self._say_gap(item, position)
                continue
            cursor = position.advance(item.topic_partition, item.offset + 1)
            reading = Reading(item)
            if self._subscription.filter and not self._subscription.filter.matches(reading.candidate):
                continue
            frames.append(event_frame(cursor, self._hub.bodies.of(reading, self._subscription.rights.mask)))
            size += len(frames[-1])
            if size >= MAX_WRITE_BYTES:
                if not await self._deliver(frames):
                    return False
                frames, size = [], 0
        return await self._deliver(frames)

    async def _deliver(self, frames: list[bytes]) -> bool:
        """Send, and wait a moment for room; False when there is none, or when the connection is closed."""
        connection = self._connection
        if not connection.is_open:
            return False
        if frames:
            self._conversation.send_events(frames)
            self._flow.spend(len(frames))
        await asyncio.sleep(0)
        if connection.paused:
            try:
                async with asyncio.timeout(_STALLED_SECONDS):
                    await connection.drain()
            except TimeoutError:
                return False
        return connection.is_open

    # Messages about the stream

    def _cursor(self) -> bytes | None:
        if self._live_reader is not None:
            return self._hub.live.cursor(self._live_reader)
        return self._position.text if self._position is not None else None

    def _say_hello(self, cursor: str | None) -> None:
        self._greeted = True
        self._conversation.say_hello(self._in_force(), cursor)

    def _say_subscription(self) -> None:
        cursor = self._cursor()
        self._conversation.say(
            "subscription", subscription=self._in_force(), cursor=cursor.decode() if cursor else None
        )

    def _in_force(self) -> dict[str, object]:
        flow = self._flow
        return self._subscription.as_json() | {"paused": flow.paused, "permits": flow.permits}

    def _say_gap(self, gap: Gap, position: RunningCursor) -> None:
        self._conversation.send("gap", gap_frame(position.advance(gap.partition, gap.end), gap))

    def _say_outage(self, reason: str, cursor: bytes | None) -> None:
        self._told_outage = True
        self._conversation.say_error(
            "log_unavailable", f"{reason}; the stream goes on by itself, with nothing lost", cursor
        )

    # What the reader says

    async def _take(self, message: str | bytes) -> None:
        """Do what a reader asks for. Raises RequestError, NotAllowedError."""
        request = self._allowed(parse_request(message))
        await self._connection.drain()  # nobody gets answers who does not take them
        self._do(request)

    def _allowed(self, request: Request) -> Request:
        """The request as far as its reader may. Raises RequestError, NotAllowedError."""
        if not isinstance(request, SetFilter):
            return request
        if not self._new_filters.take(self._connection.loop.time()):
            raise RequestError("the filter was changed too often; once a second is all right")
        return SetFilter(self._subscription.rights.narrow(request.filter))

    def _do(self, request: Request) -> None:
        """Do it from here on, and say what is in force."""
        match request:
            case SetFilter(wanted):
                self._subscription = replace(self._subscription, filter=wanted)
            case Pause(paused):
                self._flow.paused = paused
            case Permit(count):
                self._flow.permit(count)
        self._say_subscription()
        self._flow_changed.set()
        if (reader := self._live_reader) is not None:
            if isinstance(request, SetFilter):
                self._hub.live.send_away(reader)  # and it comes again with the filter
            else:
                self._hub.live.go_on(reader)
