"""The messages of a gateway as frozen values, and how they are read from text. Source: schemas/asyncapi.yaml."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from snowbus.bus import json_text
from snowbus.bus.errors import JsonError, StreamError
from snowbus.bus.event import ERROR_MEMBERS, FieldError, TopicPartition, Validation

_SHOWN = 200

Settle = Callable[[str, float | None, bool], Awaitable[None]]
"""Takes what became of a group's event: its cursor, after how many seconds it is to come again (None: it is done), and
whether that holds for it alone.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventMessage:
    """One event of a stream.

    `topic, partition, offset` say where it stands on the log, `timestamp` (ms since 1970) when it was accepted, `key`
    who it belongs to. `event` has Snowplow's enriched names, typed; `payload` the tracker-protocol parameters as they
    were sent; `source` who sent them. `validation` is `valid`, `invalid` or `unchecked`, and `errors` says why.
    `cursor` names the place behind it. `attempt` counts how often a group was given it, this time included.
    `traceparent` says where its trace goes on (W3C Trace Context), if it has one.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: str | None
    event: Mapping[str, Any]
    payload: Mapping[str, str]
    source: Mapping[str, str]
    validation: Validation
    errors: tuple[FieldError, ...]
    producer: str
    cursor: str
    attempt: int = 1
    traceparent: str = ""
    settle: Settle | None = field(default=None, repr=False, compare=False)

    @property
    def topic_partition(self) -> TopicPartition:
        """Where it stands, less the offset."""
        return TopicPartition(self.topic, self.partition)

    @property
    def data(self) -> Any:
        """The data of the self-describing event; None when it is not one."""
        return next((value for name, value in self.event.items() if name.startswith("unstruct_event_")), None)

    async def ack(self, *, only: bool = False) -> None:
        """Say that it is done, with all that this connection gave before it, or with `only` that alone.

        Once is enough, more does no harm. When the connection has been lost meanwhile and the event comes again, it is
        acknowledged then, and not given again. Raises StreamError for the event of a stream without a group.
        """
        await self._settled()(self.cursor, None, only)

    async def nack(self, *, delay: float = 0.0) -> None:
        """Ask for it again after `delay` seconds, here or elsewhere in the group.

        Raises StreamError for the event of a stream without a group.
        """
        await self._settled()(self.cursor, delay, False)

    def _settled(self) -> Settle:
        if self.settle is None:
            raise StreamError("only a group acknowledges its events; ask for one with group=NAME")
        return self.settle


@dataclass(frozen=True, slots=True, kw_only=True)
class GapMessage:
    """Records of a partition that the stream leaves out: those from offset `start` on, before `end`.

    `count` is None when nobody knows how many; for a reader that was too slow it counts those that it asked for.
    `reason` is `expired` or `slow` for example.
    """

    topic: str
    partition: int
    start: int
    end: int
    count: int | None
    reason: str
    cursor: str

    @property
    def topic_partition(self) -> TopicPartition:
        """Where they stood, less the offsets."""
        return TopicPartition(self.topic, self.partition)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryMessage:
    """What became of events on their way to collectors, told by the consumers of a `group` at `time` (ISO 8601).

    `receipts` and `collectors` are as the gateway sends them; docs/websocket.md says how to read them.
    """

    group: str
    time: str
    receipts: tuple[Mapping[str, Any], ...]
    collectors: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HelloMessage:
    """What the gateway greets with: the subscription as it understood it, and where it starts, when that is known."""

    subscription: Mapping[str, Any]
    cursor: str | None
    time: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionMessage:
    """What is in force from here on."""

    subscription: Mapping[str, Any]
    cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatMessage:
    """Nothing matched for a while. In a group it has no cursor."""

    cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorMessage:
    """Something is wrong: `code` for programs, `message` for people."""

    code: str
    message: str
    cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownMessage:
    """A message of a newer gateway."""

    type: str


Message = (
    EventMessage
    | GapMessage
    | DeliveryMessage
    | HelloMessage
    | SubscriptionMessage
    | HeartbeatMessage
    | ErrorMessage
    | UnknownMessage
)


def parse_message(text: str, settle: Settle | None = None) -> Message:
    """The message that a text is; `settle` takes what becomes of an event. Raises StreamError for text that
    is none. Members that are not known are left out.
    """
    try:
        found = json_text.loads(text)
    except JsonError as error:
        raise StreamError(f"the gateway sent what is {error}: {text[:_SHOWN]!r}") from None
    if not isinstance(found, dict) or not isinstance(found.get("type"), str):
        raise StreamError(f"the gateway sent what is no message: {text[:_SHOWN]!r}")
    try:
        if found["type"] == "event":
            return _event(found, settle)
        parse = _PARSERS.get(found["type"])
        return parse(found) if parse else UnknownMessage(type=found["type"])
    except (KeyError, TypeError, ValueError) as error:
        raise StreamError(f"the gateway sent a message that lacks {error}: {text[:_SHOWN]!r}") from None


def _event(found: dict[str, Any], settle: Settle | None) -> EventMessage:
    validation = found["validation"]
    return EventMessage(
        topic=found["topic"],
        partition=found["partition"],
        offset=found["offset"],
        timestamp=found["timestamp"],
        key=found["key"],
        event=found["event"],
        payload=found["payload"],
        source=found["source"],
        validation=validation["status"],
        errors=tuple(FieldError(*(error[name] for name in ERROR_MEMBERS)) for error in validation["errors"]),
        producer=found["producer"],
        cursor=found["cursor"],
        attempt=found.get("attempt", 1),
        traceparent=found.get("traceparent", ""),
        settle=settle,
    )


def _gap(found: dict[str, Any]) -> GapMessage:
    start, end = found["from"], found["to"]
    return GapMessage(
        topic=start["topic"],
        partition=start["partition"],
        start=start["offset"],
        end=end["offset"],
        count=found["count"],
        reason=found["reason"],
        cursor=found["cursor"],
    )


def _delivery(found: dict[str, Any]) -> DeliveryMessage:
    return DeliveryMessage(
        group=found["group"],
        time=found["time"],
        receipts=tuple(found["receipts"]),
        collectors=tuple(found["collectors"]),
    )


_PARSERS: dict[str, Callable[[dict[str, Any]], Message]] = {
    "gap": _gap,
    "delivery": _delivery,
    "hello": lambda found: HelloMessage(subscription=found["subscription"], cursor=found["cursor"], time=found["time"]),
    "subscription": lambda found: SubscriptionMessage(subscription=found["subscription"], cursor=found.get("cursor")),
    "heartbeat": lambda found: HeartbeatMessage(cursor=found["cursor"]),
    "error": lambda found: ErrorMessage(code=found["code"], message=found["message"], cursor=found.get("cursor")),
}
