"""A collector, or an ingest, as an emitter's destination: events are POSTed as `payload_data`."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Self

from snowbus.bus import tracing
from snowbus.bus.clock import now_ms
from snowbus.bus.collector.batches import MAX_BODY_BYTES, Outgoing, body_of, outgoing
from snowbus.bus.collector.sender import Sender
from snowbus.bus.collector.target import Target
from snowbus.bus.collector.verdicts import Verdict, judge
from snowbus.bus.errors import PayloadError
from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.json_text import dump_bytes
from snowbus.bus.payload import complete
from snowbus.bus.settings import Settings
from snowbus.bus.traceparent import MOST_AT_ONCE, TRACEPARENTS, join_traceparents, request_headers, shared
from snowbus.bus.version import tracker_version

from .tracked import Tracked

_ENVELOPE_BYTES = 200
_STM_BYTES = 24


@dataclass(frozen=True, slots=True)
class Requests:
    """How requests are made: how large, how long until one counts as failed (seconds), and what goes along.

    One `to_ingest` is told the trace of each event, where they are several.
    """

    max_bytes: int
    timeout: float
    headers: tuple[str, ...]
    gzip: bool
    ssl_cafile: str
    to_ingest: bool


class Item(NamedTuple):
    """An event ready to be sent, about how many bytes it takes in a body, at most, and where in its trace it is."""

    event: Outgoing
    size: int
    traceparent: str


class CollectorDestination:
    """Sends events as the collector consumer does, one request after the other; `stm` says when each was sent."""

    def __init__(self, target: Target, requests: Requests) -> None:
        self._max_bytes = requests.max_bytes
        self._to_ingest = requests.to_ingest
        self.system = tracing.SYSTEM if requests.to_ingest else "snowplow"
        self.name = EVENTS_TOPIC if requests.to_ingest else target.name
        self._tracker_version = tracker_version()
        seconds = requests.timeout
        settings = Settings(
            collect_timeout=seconds,
            collect_connect_timeout=seconds,
            collect_read_timeout=seconds,
            collect_headers=requests.headers,
            collect_gzip=requests.gzip,
            collect_ssl_cafile=requests.ssl_cafile,
        )
        self._sender = Sender(target, settings=settings)

    async def __aenter__(self) -> Self:
        await self._sender.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._sender.__aexit__(kind, error, trace)

    def prepare(self, event: Tracked) -> Item:
        """See Destination."""
        payload = dict(complete(event.payload, tracker_version=self._tracker_version))
        size = len(dump_bytes(payload)) + _STM_BYTES
        if size + _ENVELOPE_BYTES > MAX_BODY_BYTES:
            raise PayloadError(f"too large: no collector takes a body over {MAX_BODY_BYTES} bytes")
        return Item(outgoing(payload, event.at), size, event.traceparent)

    def requests(self, items: Sequence[Item]) -> list[int]:
        """See Destination: within the bounds, and an event that would make a bad row of the others goes alone."""
        counts: list[int] = []
        room = 0
        traces: set[str] = set()
        for item in items:
            traces.add(item.traceparent)
            if item.event.alone:
                counts.append(1)
                room = 0
                continue
            if item.size > room or len(traces) > MOST_AT_ONCE:
                counts.append(0)
                room = self._max_bytes - _ENVELOPE_BYTES
                traces = {item.traceparent}
            counts[-1] += 1
            room -= item.size
        return counts

    async def send(self, items: Sequence[Item]) -> Verdict:
        """See Destination."""
        now = now_ms()
        traces = [item.traceparent for item in items]
        headers = dict(request_headers(tracing.onward(traces)))
        if self._to_ingest and not shared(traces) and (each := join_traceparents(traces)):
            headers[TRACEPARENTS] = each
        outcome = await self._sender.post(body_of([item.event for item in items], now), headers)
        return judge(outcome, events=len(items), now=now / 1000)

    async def keep(self, event: Tracked, reason: str) -> bool:  # noqa: ARG002 - a collector keeps nothing
        """See Destination."""
        return False
