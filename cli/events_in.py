"""The events in what people write: a line of NDJSON, a file, or a value read from either."""

import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import UUID

from snowbus.bus.acceptance import Draft, draft
from snowbus.bus.errors import JsonError, PayloadError, SnowbusError
from snowbus.bus.json_text import loads
from snowbus.bus.payload import (
    Payload,
    checked_payload,
    is_payload_data,
    items_of_payload_data,
    payload_from_plain_json,
)


class Read(NamedTuple):
    """An event, or why there is none; and where it stands in what was read: `data[1]`, nowhere when it is the whole."""

    where: str
    event: Draft | SnowbusError

    def at(self, place: str) -> str:
        """Where it stands, in words, when what was read stands at a place."""
        return f"{place}, {self.where}" if self.where else place


def events_in(line: Any, *, seed: str = "") -> Iterator[Read]:
    """The events of a line (or of more that is one JSON, or of a value), with an error in the place of each that is
    none.

    Given a seed, an event without an id gets the same one whenever it is read.
    """
    try:
        value = loads(line.decode("utf-8-sig")) if isinstance(line, bytes) else line
        if not is_payload_data(value):
            yield Read("", _draft(payload_from_plain_json(value), seed))
            return
        items = items_of_payload_data(value)
    except UnicodeDecodeError as error:
        yield Read("", PayloadError(f"not UTF-8, at byte {error.start}"))
        return
    except (JsonError, PayloadError) as error:
        yield Read("", error)
        return
    for position, item in enumerate(items):
        try:
            yield Read(f"data[{position}]", _draft(checked_payload(item), seed and f"{seed} {position}"))
        except PayloadError as error:
            yield Read(f"data[{position}]", error)


def _draft(payload: Payload, seed: str) -> Draft:
    if seed and not payload.get("eid"):
        digest = hashlib.sha256(seed.encode()).digest()
        payload = {**payload, "eid": str(UUID(bytes=digest[:16], version=4))}
    return draft(payload)
