"""What clients of a group say: acknowledgements, and which message each is about."""

import re
from dataclasses import dataclass
from typing import Any

from snowbus.bus import json_text
from snowbus.bus.errors import JsonError, SnowbusError
from snowbus.bus.event import TopicPartition, is_topic_name

_LONGEST_DELAY = 7 * 86_400
_MEMBERS = {"ack": ("cursor", "only"), "nack": ("cursor", "delay")}
_POSITION = re.compile(r"[0-9]{1,9}\.[0-9]{1,18}")
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")


class AnswerError(SnowbusError):
    """A client of a group said something that means nothing here."""


@dataclass(frozen=True, slots=True)
class Ack:
    """A message is done with; and all that were sent before it on this connection, unless it is about that `only`."""

    number: int
    only: bool = False


@dataclass(frozen=True, slots=True)
class Nack:
    """A message is to come again, after `delay` seconds."""

    number: int
    delay: float = 0.0


class MessageCursors:
    """The cursors of the messages of one connection: each names a record, the connection and the message's number.

    `snowbus.events~3.41~9f8a.17` is the record at offset 41 of partition 3, sent as message 17 of connection `9f8a`.
    A record that is sent twice has two, so that a late answer to the first is none to the second.
    """

    def __init__(self, connection: str) -> None:
        self._end = f"~{connection}."

    def encode(self, partition: TopicPartition, offset: int, number: int) -> bytes:
        """The cursor of a message, in ASCII."""
        return f"{partition.topic}~{partition.partition}.{offset}{self._end}{number}".encode()

    def decode(self, cursor: object) -> int:
        """The number of the message. Raises AnswerError for what is no cursor of this connection."""
        if not isinstance(cursor, str):
            raise AnswerError("cursor: it is missing" if cursor is None else "cursor: it is a string")
        place, _, number = cursor.rpartition(self._end)
        topic, _, position = place.partition("~")
        if not (is_topic_name(topic) and _POSITION.fullmatch(position) and _NUMBER.fullmatch(number)):
            raise AnswerError(f"cursor: {cursor[:100]!r} is of no message of this connection")
        return int(number)


def parse_answer(text: str | bytes, cursors: MessageCursors) -> Ack | Nack:
    """What a client's message means: `{"type":"ack","cursor":C}`, with `"only":true` for that message alone, or
    `{"type":"nack","cursor":C,"delay":SECONDS}`. Raises AnswerError, which says what is wrong and where.
    """
    try:
        message: Any = json_text.loads_strings(text)
    except JsonError as error:
        raise AnswerError(str(error)) from None
    if not isinstance(message, dict):
        raise AnswerError('it is not a JSON object, such as {"type":"ack","cursor":"…"}')
    kind = message.get("type")
    if not isinstance(kind, str) or kind not in _MEMBERS:
        what = repr(kind[:40]) if isinstance(kind, str) else "it"
        raise AnswerError(f"type: {what} is neither ack nor nack, which is what clients of a group send")
    for name in message:
        if name not in ("type", *_MEMBERS[kind]):
            raise AnswerError(f"{name[:40]}: unknown; members of {kind} are {', '.join(_MEMBERS[kind])}")
    number = cursors.decode(message.get("cursor"))
    if kind == "ack":
        only = message.get("only", False)
        if not isinstance(only, bool):
            raise AnswerError("only: it is true or false")
        return Ack(number, only)
    delay = message.get("delay", 0)
    if isinstance(delay, bool) or not isinstance(delay, int | float) or not 0 <= delay <= _LONGEST_DELAY:
        raise AnswerError(f"delay: it is a number of seconds, from 0 to {_LONGEST_DELAY}")
    return Nack(number, float(delay))
