"""What a reader may say once it is connected: JSON text messages, each with a `type`."""

from dataclasses import dataclass
from typing import Any

from snowbus.bus import json_text
from snowbus.bus.errors import FilterError, JsonError, SnowbusError
from snowbus.bus.filters import Filter, parse_filter

MOST_PERMITS = 1_000_000_000


class RequestError(SnowbusError):
    """A message of a reader that is not understood, and why."""


@dataclass(frozen=True)
class SetFilter:
    """`{"type":"filter","filters":{"app_id":["shop"]}}`: from here on, this filter in the place of the one in force."""

    filter: Filter


@dataclass(frozen=True)
class Pause:
    """`{"type":"pause"}` and `{"type":"resume"}`: send nothing more until told; or go on."""

    paused: bool


@dataclass(frozen=True)
class Permit:
    """`{"type":"permit","n":100}`: send so many events more, at most; null: any number."""

    count: int | None


Request = SetFilter | Pause | Permit

TYPES = ("filter", "pause", "resume", "permit")


def parse_request(text: str | bytes) -> Request:
    """The request in a message. Raises RequestError."""
    if isinstance(text, bytes):
        raise RequestError("it is binary; send JSON as text")
    try:
        message = json_text.loads(text)
    except JsonError as error:
        raise RequestError(str(error)) from None
    if not isinstance(message, dict):
        raise RequestError('not a JSON object such as {"type":"pause"}')
    match message.get("type"):
        case "filter":
            _check_members(message, "filters")
            return SetFilter(_filter(message.get("filters")))
        case "pause" | "resume" as kind:
            _check_members(message)
            return Pause(kind == "pause")
        case "permit":
            _check_members(message, "n")
            return Permit(_count(message))
    raise RequestError(f"type: must be one of {', '.join(TYPES)}")


def _check_members(message: dict[str, Any], *known: str) -> None:
    if unknown := sorted(message.keys() - {"type", *known}):
        raise RequestError(f"{unknown[0][:100]}: unknown in a message of type {message['type']}")


def _filter(value: Any) -> Filter:
    if not isinstance(value, dict):
        raise RequestError('filters: must be an object such as {"app_id":["shop"]}')
    pairs = []
    for name, wanted in value.items():
        values = [wanted] if isinstance(wanted, str) else wanted
        if not isinstance(values, list) or not values or not all(isinstance(each, str) for each in values):
            raise RequestError(f"filters: {name[:100]}: must be a string or an array of strings, at least one")
        pairs += [(name, each) for each in values]
    try:
        return parse_filter(pairs)
    except FilterError as error:
        raise RequestError(f"filters: {error}") from None


def _count(message: dict[str, Any]) -> int | None:
    count = message.get("n", 0)
    if count is not None and (type(count) is not int or not 1 <= count <= MOST_PERMITS):
        raise RequestError(f"n: must be a whole number from 1 to {MOST_PERMITS}, or null for no limit")
    return count
