"""Accepting an event: from a payload, and who sent it, to the record that goes on the log."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from .canonical import Decoded, decode
from .envelope import event_record
from .event import Event, FieldError, ProducerRecord, Validation
from .iglu.lookups import Lookups
from .iglu.uri import IgluUri
from .payload import Payload, complete, dump_payload
from .traceparent import traceparent_header
from .validation import validate
from .version import tracker_version


class Draft(NamedTuple):
    """An event that has been read and not been checked yet: its complete payload, and that decoded."""

    payload: Payload
    decoded: Decoded


class Accepted(NamedTuple):
    """The record of an event, what was found when it was checked, and why it is invalid, if it is."""

    record: ProducerRecord
    validation: Validation
    errors: Sequence[FieldError]

    @property
    def reasons(self) -> str:
        """Why it is invalid, in a sentence: the first reasons, and how many more there are."""
        return told_together([error.sentence for error in self.errors])


def told_together(reasons: Sequence[str]) -> str:
    """The first of several reasons, and how many more there are, in one sentence."""
    told = "; ".join(reasons[:3])
    return f"{told}; and {len(reasons) - 3} more" if len(reasons) > 3 else told


def draft(payload: Payload) -> Draft:
    """Read an event. Raises PayloadError when it is none."""
    completed = complete(payload, tracker_version=tracker_version())
    return Draft(completed, decode(completed))


def schemas_of(drafts: Iterable[Draft]) -> set[IgluUri]:
    """The schemas that the events name, which are to be looked up before they are checked."""
    return {entity.schema for each in drafts for entity in each.decoded.entities}


def check(
    drafted: Draft,
    lookups: Lookups | None,
    *,
    now: int,
    producer: str,
    source: Mapping[str, str] | None = None,
    traceparent: str = "",
) -> Accepted:
    """Check an event accepted `now` (ms since 1970), without `lookups` only its parameters, and make its record.

    An event that is invalid has a record, too, in which it is marked so.
    """
    verdict = validate(drafted.decoded, lookups)
    event = Event(
        event_id=drafted.payload["eid"],
        ingest_tstamp=now,
        payload=dump_payload(drafted.payload),
        source=source or {},
        producer=producer,
        validation=verdict.validation,
        errors=verdict.errors,
    )
    record = event_record(event, drafted.payload, drafted.decoded)
    if traceparent:
        record = record._replace(headers=record.headers + traceparent_header(traceparent))
    return Accepted(record, *verdict)


def accept(payload: Payload, *, now: int, producer: str, source: Mapping[str, str] | None = None) -> ProducerRecord:
    """The record of an event whose schemas nobody looks up. Raises PayloadError when it is not an event."""
    return check(draft(payload), None, now=now, producer=producer, source=source).record
