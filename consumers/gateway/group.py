"""One durable group in one gateway: a member of the log's own group that shares records out among connections."""

import asyncio
import heapq
import itertools
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from snowbus.bus.diagnostics import Diagnostics
from snowbus.bus.errors import LogError
from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.filters import Filter
from snowbus.bus.log.interface import Assignment, AutoOffsetReset, Log
from snowbus.bus.metrics import Metrics

from ..declare import Consumer
from ..intents import DeadLetter, Retry
from ..record import Record
from ..runner import Runner
from .failures import Failures
from .turns import Turns

logger = Diagnostics(__name__)

GROUP_PREFIX = "websocket."
"""What stands before a group's name on the log, so that no client joins the group of a consumer or of the collector."""

_TOLD_AS = "websocket"  # by metrics: clients choose names, and there is no end of them
_NO_TIMEOUT = 1e9  # a record waits for a client for as long as there is none; clients have a timeout of their own
_DRAIN_SECONDS = 2.0
_READ_AHEAD = 5


@dataclass(frozen=True, slots=True)
class Done:
    """The client is done with it."""


@dataclass(frozen=True, slots=True)
class Again:
    """The client wants it again, after so many seconds."""

    delay: float


@dataclass(frozen=True, slots=True)
class Overdue:
    """The client has not answered within so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection is closed."""


Answer = Done | Again | Overdue | Lost


class Member(Protocol):
    """A connection, as its group sees it."""

    @property
    def has_room(self) -> bool:
        """Whether it can be sent one more record now."""

    def send(self, delivery: "Delivery") -> None:
        """Send a record; its `answer` is to be set."""

    def withdraw(self, delivery: "Delivery") -> None:
        """A record that was sent is another gateway's by now; no answer is waited for."""

    def fail(self) -> None:
        """The group has failed; there is nothing more to come."""


@dataclass(eq=False)
class Delivery:
    """A record on its way to a client, and what it is for the `member` that it is sent to: the message `number`."""

    record: Record
    answer: asyncio.Future[Answer]
    member: Member | None = None
    number: int = 0


class _Waiting(NamedTuple):
    order: int
    serial: int  # no two are alike, so that no deliveries are compared
    delivery: Delivery


@dataclass(frozen=True)
class GroupOptions:
    """How groups are run: how many records one has in flight here, at most, and after how many deliveries that failed a
    record goes to the dead letters.
    """

    in_flight: int
    deliveries: int


class Group:
    """Reads the log's group `websocket.NAME` while it runs, and gives each record to a member that has room.

    A record is done with when a client says so. It comes again when a client asks for it, does not answer in time, or
    is gone. What a client wants later, or had not come to when it went, may come for ever; every other delivery that
    ends without an acknowledgement has failed. Records are given out in the order in which they were read, and wait,
    without a limit of time, while no member has room.
    """

    def __init__(
        self,
        name: str,
        wanted: Filter,
        log: Log,
        metrics: Metrics,
        *,
        auto_offset_reset: AutoOffsetReset,
        options: GroupOptions,
        failures: Failures,
    ) -> None:
        self.name = name
        self.filter = wanted
        self._deliveries = options.deliveries
        self._failures = failures
        self._turns = Turns[Member]()
        self._waiting: list[_Waiting] = []
        self._order = itertools.count()
        self._serial = itertools.count()
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._over = False
        many = options.in_flight * _READ_AHEAD
        consumer: Consumer[..., object] = Consumer(
            function=self._handle,
            topics=(EVENTS_TOPIC,),
            group_id=GROUP_PREFIX + name,
            filter=wanted,
            name=GROUP_PREFIX + name,
            concurrency=options.in_flight,
            ordered=False,  # a client may acknowledge seldom, and the events of one user are not to wait for that
            retries=None,
            backoff=0.0,
            timeout=_NO_TIMEOUT,
            max_in_flight=many,
            buffer=many,
            auto_offset_reset=auto_offset_reset,
        )
        self._runner = Runner(log, consumer, metrics=metrics, told_as=_TOLD_AS, drain_timeout=_DRAIN_SECONDS)
        self._runner.on_leaving = self._on_leaving
        self.joined = self._runner.assigned

    async def run(self) -> None:
        """Run until `stop`; then commit and leave the log's group."""
        try:
            await self._runner.run(self._stop)
        except LogError as error:
            logger.warning("a group ended without a word to the log", group=self.name, reason=str(error))
        except Exception:
            logger.exception("a group failed", group=self.name)
        finally:
            self._over = True
            self.joined.set()  # nobody need wait for it
            for member in self._turns.members:
                member.fail()

    def stop(self) -> None:
        """End `run`. What is not answered comes again."""
        self._stop.set()

    # What members say

    def join(self, member: Member) -> None:
        """A connection is ready for records."""
        if self._over:
            member.fail()
            return
        self._turns.join(member)
        self._give_out()

    def leave(self, member: Member) -> None:
        """A connection is gone; it answers what it was sent with Lost."""
        self._turns.leave(member)
        self._give_out()

    def blame(self, delivery: Delivery) -> None:
        """A client was lost without a goodbye, and had been busy with this, it seems."""
        self._failures.add(self.name, delivery.record, "a client was lost while it had it")

    def on_room(self, member: Member) -> None:
        """A member may have room, having answered or having taken what it was sent."""
        self._turns.on_room(member)
        self._give_out()

    def on_answer(self, member: Member) -> None:
        """A member answers; it may have been late before."""
        self._turns.on_answer(member)
        self._give_out()

    def on_late(self, member: Member) -> None:
        """A member has not answered in time."""
        self._turns.on_late(member)
        self._give_out()

    # Records

    async def _handle(self, record: Record) -> None:
        """See one record through to a client's answer."""
        order = next(self._order)
        while True:
            self._check_failures(record)
            if not self._runner.holds(record):
                raise Retry("its partition is another member's", delay=0)
            delivery = Delivery(record, self._loop.create_future())
            heapq.heappush(self._waiting, _Waiting(order, next(self._serial), delivery))
            self._give_out()
            try:
                answer = await delivery.answer
            finally:
                if delivery.member is not None:
                    delivery.member.withdraw(delivery)
            match answer:
                case Done():
                    self._failures.forget(self.name, record)
                    return
                case Again(delay) if delay:
                    raise Retry("a client asked for it", delay=delay)
                case Overdue(seconds):
                    self._failures.add(self.name, record, f"no client acknowledged it within {seconds:g} s")
                case Again():
                    self._failures.add(self.name, record, "a client asked for it again at once")
            if delivery.member is not None:
                record.attempt += 1

    def _check_failures(self, record: Record) -> None:
        """Raises DeadLetter when so many deliveries have failed that there is to be no other."""
        failed = self._failures.of(self.name, record)
        if failed is not None and failed.deliveries >= self._deliveries:
            record.attempt = max(record.attempt - 1, failed.deliveries)
            self._failures.forget(self.name, record)
            raise DeadLetter(f"{failed.deliveries} deliveries failed; at the last, {failed.reason}")

    def _give_out(self) -> None:
        """Send what waits to those who have room."""
        waiting = self._waiting
        while waiting:
            if waiting[0].delivery.answer.done():  # its handler has been ended
                heapq.heappop(waiting)
                continue
            member = self._turns.next()
            if member is None:
                return
            delivery = heapq.heappop(waiting).delivery
            delivery.member = member
            member.send(delivery)
            self._turns.on_room(member)

    def _on_leaving(self, partitions: Assignment) -> None:
        """Partitions are to leave: what waits for a client need not wait for one here."""
        for *_, delivery in self._waiting:
            if delivery.record.place in partitions and not delivery.answer.done():
                delivery.record.attempt -= 1  # nobody has been sent it
                delivery.answer.set_result(Lost())
        self._waiting = [each for each in self._waiting if not each.delivery.answer.done()]
        heapq.heapify(self._waiting)
