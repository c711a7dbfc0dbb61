"""The `traceparent` of W3C Trace Context: which trace an event belongs to, and where in it what comes next goes on.

Source: W3C Trace Context, "Traceparent Header": version, trace id, parent id and flags, in lower-case hexadecimal. What
a later version has beyond these is left out, as the source asks of those that do not know it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from .event import Headers

TRACEPARENT = "traceparent"
"""The name of the header of a record, and of a request."""

TRACEPARENTS = "Snowbus-Traceparents"
"""The header of a request to ingest whose events belong to several traces: these, separated by commas, and behind a
semicolon for each event the place of its trace among them, from 0, or nothing.
"""

MOST_AT_ONCE = 64
"""So many traces in one request, at most: headers must stay below 8 KiB."""

_SHAPE = re.compile(r"(?!ff)([0-9a-f]{2})-((?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2})(-.*)?", re.ASCII)
_LONGEST = 512
_SAMPLED = 1


def parse_traceparent(text: str) -> str:
    """A traceparent as this version writes it; an empty string where the text is none."""
    found = _SHAPE.fullmatch(text) if 0 < len(text) <= _LONGEST else None
    if found is None or (found[1] == "00" and found[3]):
        return ""
    return f"00-{found[2]}"


def is_sampled(traceparent: str) -> bool:
    """Whether the trace is recorded by whoever began it."""
    return traceparent != "" and int(traceparent[-2:], 16) & _SAMPLED == _SAMPLED


def shared(traceparents: Iterable[str]) -> str:
    """What all events have in common; an empty string when that is nothing."""
    first = None
    for traceparent in traceparents:
        if first is None:
            first = traceparent
        if not traceparent or traceparent != first:
            return ""
    return first or ""


def traceparent_header(traceparent: str) -> Headers:
    """The header of a record."""
    return ((TRACEPARENT, traceparent.encode()),) if traceparent else ()


def request_headers(traceparent: str) -> Mapping[str, str]:
    """The header of a request."""
    return {TRACEPARENT: traceparent} if traceparent else {}


def traceparent_of(value: bytes | None) -> str:
    """What a header says, of a record or a request."""
    return parse_traceparent(value.decode("latin-1")) if value else ""


def join_traceparents(traceparents: Sequence[str]) -> str:
    """What the header for several traces says; an empty string when there is nothing to say."""
    places = {each: str(place) for place, each in enumerate(dict.fromkeys(filter(None, traceparents)))}
    if not places:
        return ""
    return f"{','.join(places)};{','.join(places.get(each, '') for each in traceparents)}"


def split_traceparents(text: str) -> list[str]:
    """The traceparent of each event, from that header; none at all where it is not well formed."""
    traces, _, places = text.partition(";")
    found = [parse_traceparent(each) for each in traces.split(",")]
    try:
        return [found[int(place)] if place else "" for place in places.split(",")]
    except (ValueError, IndexError):
        return []
