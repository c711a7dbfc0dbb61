"""The records of `snowbus.bad`: what could not be understood, as it was received, with why and from whom."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import NamedTuple

from snowbus.bus.acceptance import Accepted, Draft
from snowbus.bus.event import FieldError, ProducerRecord
from snowbus.bus.json_text import dump_bytes
from snowbus.bus.payload import dump_payload, utf8

_FRAMING_BYTES = 1_024


class Bad(NamedTuple):
    """Bytes that could not be understood, or the first of them: then `size` is how many there were, None if unknown.

    Of an event that is invalid `errors` say why.
    """

    value: bytes
    reason: str
    truncated: bool = False
    size: int | None = None
    errors: Sequence[FieldError] = ()


def invalid(drafted: Draft, accepted: Accepted) -> Bad:
    """An event that is invalid, to be put on `snowbus.bad` and not with the others: its payload, and why."""
    return Bad(utf8(dump_payload(drafted.payload)), f"invalid: {accepted.reasons}", errors=accepted.errors)


def bad_record(bad: Bad, *, source: Mapping[str, str], query: bytes, received: int, max_bytes: int) -> ProducerRecord:
    """The record of what was refused.

    Its headers are `reason`, `received` (ms since 1970), `truncated` (true or false), `size` where that is true and the
    size is known, `errors` (JSON) of an event that is invalid, `query` where a body came with one, and everything in
    the event's `source`. The value is cut to what a record of `max_bytes` can hold.
    """
    headers = {"reason": utf8(bad.reason), "received": str(received).encode()}
    headers |= {name: utf8(value) for name, value in source.items()}
    if bad.errors:
        headers["errors"] = dump_bytes([asdict(error) for error in bad.errors])
    if query and query != bad.value:
        headers["query"] = query
    room = max_bytes - _FRAMING_BYTES - sum(len(name) + len(value) for name, value in headers.items())
    value = bad.value[: max(0, room)]
    truncated = bad.truncated or len(value) < len(bad.value)
    headers["truncated"] = b"true" if truncated else b"false"
    size = bad.size if bad.truncated else len(bad.value)
    if truncated and size is not None:
        headers["size"] = str(size).encode()
    return ProducerRecord(None, value, tuple(headers.items()), received)
