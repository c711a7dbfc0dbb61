"""Accepting an event: from a payload, and who sent it, to the record that goes on the log."""

from collections.abc import Mapping

from .canonical import decode
from .envelope import event_record
from .event import Event, ProducerRecord
from .payload import Payload, complete, dump_payload
from .version import tracker_version


def accept(payload: Payload, *, now: int, producer: str, source: Mapping[str, str] | None = None) -> ProducerRecord:
    """The record of an event accepted `now` (ms since 1970). Raises PayloadError when it is not an event.

    An event with parameters that are not what the tracker protocol says they are is accepted, and marked invalid.
    """
    completed = complete(payload, tracker_version=tracker_version())
    decoded = decode(completed)
    event = Event(
        event_id=completed["eid"],
        ingest_tstamp=now,
        payload=dump_payload(completed),
        source=source or {},
        producer=producer,
        validation="invalid" if decoded.problems else "unchecked",
        errors=tuple(decoded.problems),
    )
    return event_record(event, completed, decoded)
