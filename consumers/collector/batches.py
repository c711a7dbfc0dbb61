"""Events into `payload_data` bodies: what is written into each payload, and which events go together.

A payload goes on byte for byte as it was sent, but for two things that one POST for many clients would falsify:

- `stm`. Enrich computes `derived_tstamp = collector_tstamp - (stm - dtm)` when dtm is before stm, and
  `collector_tstamp` otherwise (EventEnrichments.getDerivedTimestamp). An event that reaches the collector late by a
  lag must have it in `stm` too. So at each send `stm = max(stm, dtm) + (now - ingest_tstamp)`, in the device's own
  clock, whatever its skew; where the sender gave no stm, dtm stands for it. Then derived_tstamp comes out as if the
  collector had stood where the event was accepted. Without a dtm enrich takes collector_tstamp, and no stm can help.
- What enrich takes from the request of the client (EnrichmentManager.setupEnrichedEvent, PageEnrichments): `ip`, `ua`,
  `tnuid` for the collector's cookie, and `url` for the Referer; each only where the payload has no own. Enrich takes
  neither `lang` nor `refr` from a header, so neither is written.

An event with a parameter that payload_data does not know goes alone: Enrich refuses the POST that it is in as a whole,
after the collector has answered 200.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from snowbus.bus import json_text
from snowbus.bus.envelope import decode_event
from snowbus.bus.errors import EnvelopeError, PayloadError
from snowbus.bus.event import Event, Record
from snowbus.bus.payload import PAYLOAD_DATA_SCHEMA, Payload, dump_payload, load_payload
from snowbus.bus.tracker_protocol import PAYLOAD_DATA_CODES

MAX_BODY_BYTES = 1_048_576
"""No body is larger. The Stream Collector answers 200 to what is, and makes a bad row of it."""

_OPENING = f'{{"schema":"{PAYLOAD_DATA_SCHEMA}","data":['.encode()
_CLOSING = b"]}"
_ENVELOPE_BYTES = len(_OPENING) + len(_CLOSING)
_STM_DIGITS = 15  # the last millisecond of the year 9999 has so many
_CLIENT_FACTS = (("ip", "ip"), ("user_agent", "ua"), ("referer", "url"), ("network_userid", "tnuid"))


class Outgoing(NamedTuple):
    """An event ready to be sent: its payload's text, less the digits of `stm` between `head` and `tail`.

    `sent` is what stm was when the event was accepted, at `accepted`, both in ms since 1970; None leaves stm as it is,
    and `tail` empty. `size` is in bytes, at most. `alone` says that it must share a request with no other.
    """

    record: Record
    head: bytes
    tail: bytes
    sent: int | None
    accepted: int
    size: int
    alone: bool


class Refused(NamedTuple):
    """A record that must not be sent, and why."""

    record: Record
    reason: str


class Batch(NamedTuple):
    """Records taken together: the events of one request, and what was refused among them."""

    records: list[Record]
    events: list[Outgoing]
    refused: list[Refused]


def take_batch(queue: deque[Record], *, max_events: int, max_bytes: int) -> Batch:
    """Take from the front of a queue what goes into one request.

    A body has no more than `max_events` and `max_bytes`, but for one event alone that is larger; none is beyond
    MAX_BODY_BYTES.
    """
    batch = Batch([], [], [])
    size = _ENVELOPE_BYTES
    while queue and len(batch.events) < max_events:
        prepared = prepare(queue[0])
        if isinstance(prepared, Refused):
            batch.refused.append(prepared)
        elif batch.events and (size + prepared.size + 1 > max_bytes or prepared.alone or batch.events[-1].alone):
            break
        else:
            batch.events.append(prepared)
            size += prepared.size + 1  # the comma
        batch.records.append(queue.popleft())
    return batch


def prepare(record: Record) -> Outgoing | Refused:
    """The event in a record, ready to be sent; or why it must not be: it is no event, lacks what `payload_data`
    requires, or is too large.
    """
    try:
        event = decode_event(record.value)
        payload = load_payload(event.payload)
    except (EnvelopeError, PayloadError) as error:
        return Refused(record, str(error))
    if not (payload.get("tv") and payload.get("p") and payload.get("e")):
        missing = [code for code in ("tv", "p", "e") if not payload.get(code)]
        return Refused(record, f"the payload lacks {', '.join(missing)}, which payload_data requires")
    outgoing = _splice(record, event, payload)
    if outgoing.size + _ENVELOPE_BYTES > MAX_BODY_BYTES:
        return Refused(record, f"too large: {outgoing.size} bytes, and no collector takes a body over {MAX_BODY_BYTES}")
    return outgoing


def body_of(events: Sequence[Outgoing], now: int) -> bytes:
    """The body of a request that is sent now, in ms since 1970."""
    payloads = []
    for event in events:
        if event.sent is None:
            payloads.append(event.head)
        else:
            stm = event.sent + max(0, now - event.accepted)
            payloads.append(b"%b%d%b" % (event.head, stm, event.tail))
    return _OPENING + b",".join(payloads) + _CLOSING


def _splice(record: Record, event: Event, payload: Payload) -> Outgoing:
    text = event.payload.encode().strip()
    facts = _client_facts(event.source, payload)
    sent = _sent(payload)
    if sent is None:
        head, tail = (text[:-1] + facts + b"}" if facts else text), b""
    elif "stm" not in payload:
        head, tail = text[:-1] + facts + b',"stm":"', b'"}'
    else:
        head, tail = _around_stm(text, payload)
        if facts:
            tail = tail[:-1] + facts + b"}"
    size = len(head) + len(tail) + (0 if sent is None else _STM_DIGITS)
    alone = not payload.keys() <= PAYLOAD_DATA_CODES
    return Outgoing(record, head, tail, sent, event.ingest_tstamp, size, alone)


def _around_stm(text: bytes, payload: Payload) -> tuple[bytes, bytes]:
    """The text before and after the digits of stm. Text that leaves a doubt which they are is written anew."""
    stm = payload["stm"].encode()
    at = _find_stm(text, stm) if text.count(b'stm"') == 1 else -1
    if at < 0:
        text = dump_payload(payload).encode()
        at = _find_stm(text, stm)
    return text[:at], text[at + len(stm) :]


def _find_stm(text: bytes, stm: bytes) -> int:
    """Where the digits of stm begin in compact JSON; a quote after a brace or a comma can only open a key there."""
    for opening in (b',"stm":"', b'{"stm":"'):
        at = text.find(opening + stm + b'"')
        if at >= 0:
            return at + len(opening)
    return -1


def _client_facts(source: Mapping[str, str], payload: Payload) -> bytes:
    """What the payload lacks and the client's request told, as JSON to put before the closing brace."""
    facts = b""
    for name, code in _CLIENT_FACTS:
        value = source.get(name)
        if value and code not in payload and not (code == "tnuid" and "nuid" in payload):
            facts += b',"%b":%b' % (code.encode(), json_text.dump_bytes(value))
    return facts


def _sent(payload: Payload) -> int | None:
    """What stm is to be counted on from, in ms since 1970; None when it is to be left alone."""
    created = _epoch_ms(payload.get("dtm", ""))
    if "stm" not in payload:
        return created
    sent = _epoch_ms(payload["stm"])
    if sent is None or created is None:
        return sent
    return max(created, sent)


def _epoch_ms(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < _STM_DIGITS else None
