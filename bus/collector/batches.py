"""Events into `payload_data` bodies: what is written into each payload, and how they are put together.

Parameters go on as they were sent, but for two things that one POST for many clients would falsify:

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

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from .. import json_text
from ..envelope_parts import read_parts, read_source
from ..errors import EnvelopeError, PayloadError
from ..event import Record
from ..payload import PAYLOAD_DATA_SCHEMA, Payload, load_payload
from ..tracker_protocol import PAYLOAD_DATA_CODES

MAX_BODY_BYTES = 1_048_576
"""No body is larger. The Stream Collector answers 200 to what is, and makes a bad row of it."""

_CLIENT_FACTS = (("ip", "ip"), ("user_agent", "ua"), ("referer", "url"), ("network_userid", "tnuid"))
_CLIENTS_KEPT = 8_192
_LONGEST_KEPT_BYTES = 2_000
_new = tuple.__new__  # Outgoing's own takes a microsecond more
_STM_DIGITS = 15  # the last millisecond of the year 9999 has so many


class Outgoing(NamedTuple):
    """An event ready to be sent, but for `stm` in its payload.

    `sent` is what stm was when the event was accepted, at `accepted`, both in ms since 1970; None leaves stm as it is.
    `alone` says that it must share a request with no other.
    """

    payload: Payload
    sent: int | None
    accepted: int
    alone: bool


class Refused(NamedTuple):
    """Why a record must not be sent."""

    reason: str


def prepare(record: Record) -> Outgoing | Refused:
    """The event in a record, ready to be sent; or why it must not be: it is no event, or lacks what `payload_data`
    requires.
    """
    try:
        accepted, text, rest = read_parts(record.value)
        payload = load_payload(text)
        client = _client_facts(rest) if len(rest) <= _LONGEST_KEPT_BYTES else _client_facts.__wrapped__(rest)
    except (EnvelopeError, PayloadError) as error:
        return Refused(str(error))
    if not (payload.get("tv") and payload.get("p") and payload.get("e")):
        missing = [code for code in ("tv", "p", "e") if not payload.get(code)]
        return Refused(f"the payload lacks {', '.join(missing)}, which payload_data requires")
    for code, value in client:
        if code not in payload and not (code == "tnuid" and "nuid" in payload):
            payload[code] = value
    return outgoing(payload, accepted)


def outgoing(payload: Payload, accepted: int) -> Outgoing:
    """An event that was accepted at a time (ms since 1970), ready to be sent."""
    return _new(Outgoing, (payload, _sent(payload), accepted, not PAYLOAD_DATA_CODES.issuperset(payload)))


def body_of(events: Sequence[Outgoing], now: int) -> bytes:
    """The body of a request that is sent now, in ms since 1970."""
    payloads = []
    for payload, sent, accepted, _ in events:
        if sent is not None:
            payload["stm"] = str(sent + now - accepted if now > accepted else sent)
        payloads.append(payload)
    return json_text.dump_bytes({"schema": PAYLOAD_DATA_SCHEMA, "data": payloads})


@lru_cache(_CLIENTS_KEPT)
def _client_facts(rest: bytes) -> tuple[tuple[str, str], ...]:
    """What the client's request told, by parameter; most clients send many events. Raises EnvelopeError."""
    source = read_source(rest)
    return tuple((code, source[name]) for name, code in _CLIENT_FACTS if source.get(name))


def _sent(payload: Payload) -> int | None:
    """The later of stm and dtm, in ms since 1970; dtm where there is no stm, and None where that is no time."""
    sent, created = payload.get("stm"), payload.get("dtm", "")
    if sent is None:
        return _epoch_ms(created)
    both = sent + created
    if len(sent) == len(created) < _STM_DIGITS and both.isdigit() and both.isascii():
        return int(max(sent, created))  # as usual, and two microseconds faster than what follows
    sent_ms, created_ms = _epoch_ms(sent), _epoch_ms(created)
    return sent_ms if sent_ms is None or created_ms is None else max(sent_ms, created_ms)


def _epoch_ms(text: str) -> int | None:
    return int(text) if text.isdigit() and len(text) < _STM_DIGITS and text.isascii() else None
