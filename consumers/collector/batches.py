"""Events into `payload_data` bodies: what is written into each payload, and how they are put together.

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

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from snowbus.bus import json_text
from snowbus.bus.envelope_parts import Parts, read_parts
from snowbus.bus.errors import EnvelopeError, PayloadError
from snowbus.bus.event import Record
from snowbus.bus.payload import PAYLOAD_DATA_SCHEMA, Payload, dump_payload, load_payload
from snowbus.bus.tracker_protocol import PAYLOAD_DATA_CODES

MAX_BODY_BYTES = 1_048_576
"""No body is larger. The Stream Collector answers 200 to what is, and makes a bad row of it."""

_OPENING = f'{{"schema":"{PAYLOAD_DATA_SCHEMA}","data":['.encode()
_CLOSING = b"]}"
_ENVELOPE_BYTES = len(_OPENING) + len(_CLOSING)
_STM_DIGITS = 15  # the last millisecond of the year 9999 has so many
_CLIENT_FACTS = (
    ("ip", "ip", b',"ip":'),
    ("user_agent", "ua", b',"ua":'),
    ("referer", "url", b',"url":'),
    ("network_userid", "tnuid", b',"tnuid":'),
)
_WANTED = frozenset(name.encode() for name, _, _ in _CLIENT_FACTS)


class Outgoing(NamedTuple):
    """An event ready to be sent: its payload's text, less the digits of `stm` between `head` and `tail`.

    `sent` is what stm was when the event was accepted, at `accepted`, both in ms since 1970; None leaves stm as it is,
    and `tail` empty. `size` is in bytes, at most. `alone` says that it must share a request with no other.
    """

    head: bytes
    tail: bytes
    sent: int | None
    accepted: int
    size: int
    alone: bool


class Refused(NamedTuple):
    """Why a record must not be sent."""

    reason: str


def prepare(record: Record) -> Outgoing | Refused:
    """The event in a record, ready to be sent; or why it must not be: it is no event, lacks what `payload_data`
    requires, or is too large.
    """
    try:
        parts = read_parts(record.value, _WANTED)
        payload = load_payload(parts.payload)
    except (EnvelopeError, PayloadError) as error:
        return Refused(str(error))
    if not (payload.get("tv") and payload.get("p") and payload.get("e")):
        missing = [code for code in ("tv", "p", "e") if not payload.get(code)]
        return Refused(f"the payload lacks {', '.join(missing)}, which payload_data requires")
    outgoing = _splice(parts, payload)
    if outgoing.size + _ENVELOPE_BYTES > MAX_BODY_BYTES:
        return Refused(f"too large: {outgoing.size} bytes, and no collector takes a body over {MAX_BODY_BYTES}")
    return outgoing


def size_of(events: Sequence[Outgoing]) -> int:
    """The bytes of a body with these events, at most."""
    return _ENVELOPE_BYTES + len(events) + sum(event.size for event in events)


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


def _splice(parts: Parts, payload: Payload) -> Outgoing:
    text = parts.payload.strip()
    facts = _client_facts(parts.source, payload) if parts.source else b""
    sent, has_stm = _sent(payload)
    alone = not payload.keys() <= PAYLOAD_DATA_CODES
    if sent is None:
        head, tail = (text[:-1] + facts + b"}" if facts else text), b""
        return Outgoing(head, tail, sent, parts.ingest_tstamp, len(head), alone)
    if has_stm:
        head, tail = _around_stm(text, payload)
        if facts:
            tail = tail[:-1] + facts + b"}"
    else:
        head, tail = text[:-1] + facts + b',"stm":"', b'"}'
    return Outgoing(head, tail, sent, parts.ingest_tstamp, len(head) + len(tail) + _STM_DIGITS, alone)


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
        at = text.find(b'%b%b"' % (opening, stm))
        if at >= 0:
            return at + len(opening)
    return -1


def _client_facts(source: Mapping[str, str], payload: Payload) -> bytes:
    """What the payload lacks and the client's request told, as JSON to put before the closing brace."""
    facts = b""
    for name, code, opening in _CLIENT_FACTS:
        value = source.get(name)
        if value and code not in payload and not (code == "tnuid" and "nuid" in payload):
            facts += opening + json_text.dump_bytes(value)
    return facts


def _sent(payload: Payload) -> tuple[int | None, bool]:
    """What stm is to be counted on from, in ms since 1970 (None: it is left alone), and whether there is one."""
    stm, dtm = payload.get("stm"), payload.get("dtm")
    if stm is None:
        return (None if dtm is None else _epoch_ms(dtm)), False
    sent = _epoch_ms(stm)
    if sent is None or dtm is None or (created := _epoch_ms(dtm)) is None:
        return sent, True
    return max(created, sent), True


def _epoch_ms(text: str) -> int | None:
    return int(text) if text.isdigit() and len(text) < _STM_DIGITS and text.isascii() else None
