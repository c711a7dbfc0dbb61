"""An event as it waits in an emitter: when it was tracked, its payload, of which nothing is the caller's, its trace."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import uuid4

from snowbus.bus import tracing
from snowbus.bus.clock import now_ms
from snowbus.bus.payload import Payload, as_payload


class Tracked(NamedTuple):
    """An event, when it was tracked, in ms since 1970, and where in its trace, if it has one."""

    at: int
    payload: Payload
    traceparent: str = ""


def tracked(parameters: Mapping[str, Any]) -> Tracked:
    """A copy of what a tracker handed over, which it changes when it tracks an event again.

    An event without `eid` gets one here, so that it is the same event however often it is sent. Raises whatever a value
    raises that has no text.
    """
    payload = as_payload(parameters)
    "".join(payload)  # a name that is no text raises here, and not where others would suffer
    if not payload.get("eid"):
        payload["eid"] = str(uuid4())
    return Tracked(now_ms(), payload, tracing.active())
