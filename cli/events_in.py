"""The events in what people write: a line of NDJSON, a file, or a value read from either."""

from collections.abc import Iterator
from typing import Any

from snowbus.bus.errors import JsonError, PayloadError, SnowbusError
from snowbus.bus.json_text import loads
from snowbus.bus.payload import (
    Payload,
    checked_payload,
    is_payload_data,
    items_of_payload_data,
    payload_from_plain_json,
)


def events_in(line: Any) -> Iterator[Payload | SnowbusError]:
    """The payloads of a line (or of more that is one JSON), with an error in the place of each that is none."""
    try:
        value = loads(line.decode("utf-8-sig")) if isinstance(line, bytes) else line
        if not is_payload_data(value):
            yield payload_from_plain_json(value)
            return
        items = items_of_payload_data(value)
    except UnicodeDecodeError as error:
        yield PayloadError(f"not UTF-8, at byte {error.start}")
        return
    except (JsonError, PayloadError) as error:
        yield error
        return
    for position, item in enumerate(items):
        try:
            yield checked_payload(item)
        except PayloadError as error:
            yield PayloadError(f"data[{position}]: {error.reason}")
