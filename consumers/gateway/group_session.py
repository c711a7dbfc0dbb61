"""One connection of a durable group: sends what the group gives it, and passes on what the client answers."""

import asyncio
import secrets

from snowbus.bus.clock import now_ms
from snowbus.bus.diagnostics import Diagnostics
from snowbus.bus.event import TopicPartition
from snowbus.bus.tracker_protocol import timestamp_from_ms

from ..reading import Reading
from .answers import Ack, MessageCursors, parse_answer
from .chunks import MAX_WRITE_BYTES
from .connection import Hub
from .conversation import Conversation
from .frames import event_frame
from .group import Again, Answer, Delivery, Done, Group, Lost, Overdue
from .in_flight import InFlight
from .subscription import GroupTerms, Subscription
from .wire import GatewayConnection

logger = Diagnostics(__name__)

_GREET_SECONDS = 5.0


class GroupSession:
    """A member of a group. What it keeps is bounded by `max_in_flight`, and what it has not written by one write."""

    def __init__(
        self, connection: GatewayConnection, subscription: Subscription, hub: Hub, group: Group, terms: GroupTerms
    ) -> None:
        self._connection = connection
        self._subscription = subscription
        self._hub = hub
        self._group = group
        self._ack_timeout = terms.ack_timeout
        self._in_flight = InFlight[Delivery](most=terms.max_in_flight, ack_timeout=terms.ack_timeout)
        self._cursors = MessageCursors(secrets.token_hex(6))
        self._frames: list[bytes] = []
        self._bytes = 0
        self._greeted = False
        self._told_outage = False
        self._conversation = Conversation(connection, hub.metrics)

    async def run(self) -> None:
        """Be in the group until the connection is closed."""
        beginning = asyncio.create_task(self._begin(), name="snowbus-gateway-group-reader")
        try:
            await self._conversation.listen(self._take, decode=False)
        finally:
            beginning.cancel()
            await asyncio.wait({beginning})
            self._connection.on_writable = None
            self._group.leave(self)
            left = self._in_flight.clear()
            if left and self._connection.is_lost_without_goodbye:
                self._group.blame(left[0])
            for delivery in left:
                _answer(delivery, Lost())

    def tick(self, now: float) -> None:
        """Take back what is overdue; break the silence with a heartbeat, or with what is wrong. `now` is the event
        loop's time in seconds.
        """
        if overdue := self._in_flight.overdue(now):
            self._group.on_late(self)
            for delivery in overdue:
                _answer(delivery, Overdue(self._ack_timeout))
        connection, outage = self._connection, self._hub.tail.outage
        if outage:
            self._greet()
        if not self._greeted or not connection.is_writable:
            return
        silent = now - connection.sent_at >= self._hub.heartbeat
        if outage and (silent or not self._told_outage):
            self._told_outage = True
            self._conversation.say_error("log_unavailable", f"{outage}; the group goes on by itself, with nothing lost")
        elif not outage and (silent or self._told_outage):
            self._told_outage = False
            self._conversation.say("heartbeat", cursor=None, time=_now())

    # What its group asks

    @property
    def has_room(self) -> bool:
        """Whether it can be sent one more record now."""
        return self._in_flight.has_room and self._connection.is_writable

    def send(self, delivery: Delivery) -> None:
        """Send a record, together with what else is sent in this moment."""
        delivery.number = self._in_flight.send(delivery, now=self._connection.loop.time())
        record = delivery.record
        cursor = self._cursors.encode(TopicPartition(record.topic, record.partition), record.offset, delivery.number)
        body = Reading(record.raw).body(self._subscription.rights.mask)
        frame = event_frame(cursor, b'"attempt":%d,%s' % (record.attempt, body))
        if not self._frames:
            self._connection.loop.call_soon(self._flush)
        self._frames.append(frame)
        self._bytes += len(frame)
        if self._bytes >= MAX_WRITE_BYTES:
            self._flush()

    def withdraw(self, delivery: Delivery) -> None:
        """The answer to a record is not waited for, or is there."""
        self._in_flight.withdraw(delivery.number)
        self._group.on_room(self)

    def fail(self) -> None:
        """The group has failed: reconnecting starts another."""
        self._conversation.say_error("internal", "the group failed to go on; reconnect, nothing is lost")
        self._connection.give_up("internal error")

    def _flush(self) -> None:
        frames, self._frames, self._bytes = self._frames, [], 0
        if frames and self._connection.is_open:
            self._conversation.send_events(frames)

    # Messages about the group

    async def _begin(self) -> None:
        """Say hello once the group is joined, or the log keeps us waiting; then take records."""
        try:
            async with asyncio.timeout(_GREET_SECONDS):
                await self._group.joined.wait()
        except TimeoutError:
            logger.debug("a group is not joined yet", group=self._group.name)
        self._greet()

    def _greet(self) -> None:
        if self._greeted:
            return
        self._greeted = True
        self._conversation.say_hello(self._subscription.as_json(), None)
        self._connection.on_writable = lambda: self._group.on_room(self)
        self._group.join(self)

    # What the client says

    async def _take(self, text: str | bytes) -> None:
        """Pass an answer on. Raises AnswerError, UnknownMessageError."""
        said = parse_answer(text, self._cursors)
        if isinstance(said, Ack) and not said.only:
            ended = self._in_flight.answer_up_to(said.number)
        else:
            one = self._in_flight.answer(said.number)
            ended = [] if one is None else [one]
        answer = Done() if isinstance(said, Ack) else Again(said.delay)
        for delivery in ended:
            _answer(delivery, answer)
        self._group.on_answer(self)


def _answer(delivery: Delivery, answer: Answer) -> None:
    if not delivery.answer.done():
        delivery.answer.set_result(answer)


def _now() -> str:
    return timestamp_from_ms(now_ms())
