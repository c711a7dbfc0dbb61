"""The demo's stand-in for a Snowplow collector: takes events, counts them, and is away for a while now and then."""

import asyncio
from collections.abc import Callable
from typing import Any

from snowbus.bus import json_text
from snowbus.bus.errors import JsonError, PayloadError
from snowbus.bus.http_server import Receive, Scope, Send, serve_http
from snowbus.bus.payload import checked_payload, is_payload_data, items_of_payload_data
from snowbus.bus.tracker_protocol import COLLECTOR_PATH

_MAX_BODY_BYTES = 1_048_576
_REMEMBERED = 200_000


class StandInCollector:
    """An ASGI app that takes tracker-protocol POSTs and keeps nothing but counts.

    From `outage_every` seconds after its start it answers 503 for `outage_seconds`, again and again in that rhythm;
    0 seconds is no outage. `delivered` counts distinct events, `duplicates` those that came again (among the latest
    200,000), `refused` the requests that were not understood, and `turned_away` those that met an outage.
    """

    def __init__(self, *, outage_every: float = 30.0, outage_seconds: float = 5.0) -> None:
        self.delivered = 0
        self.duplicates = 0
        self.refused = 0
        self.turned_away = 0
        self._outage_every = outage_every
        self._outage_seconds = outage_seconds
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._seen: dict[str, None] = {}

    async def serve(self, listen: str, *, ready: Callable[[str], None], stop: asyncio.Event) -> None:
        """Serve until `stop` is set; `ready` is called with the address."""
        await serve_http(self, listen, ready=ready, stop=stop, grace=1.0)

    @property
    def away(self) -> bool:
        """Whether it is having an outage now."""
        if not self._outage_seconds:
            return False
        running = self._loop.time() - self._started
        return running % (self._outage_every + self._outage_seconds) >= self._outage_every

    def stay(self) -> None:
        """Have no outages any more."""
        self._outage_seconds = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        status, text, headers = await self._answer(scope, receive)
        headers = [*headers, (b"content-type", b"text/plain"), (b"content-length", b"%d" % len(text))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": text})

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
        body = await _read(receive)
        if scope["path"] == "/health":
            return 200, b"ok", []
        if scope["path"] != COLLECTOR_PATH or scope["method"] != "POST":
            return 404, b"not found", []
        if self.away:
            self.turned_away += 1
            return 503, b"away for a moment", [(b"retry-after", b"1")]
        if body is None:
            self.refused += 1
            return 413, b"too large", []
        try:
            event_ids = _event_ids(body)
        except (PayloadError, JsonError, UnicodeDecodeError) as error:
            self.refused += 1
            return 400, str(error).encode(), []
        for event_id in event_ids:
            self._count(event_id)
        return 200, b"ok", []

    def _count(self, event_id: str) -> None:
        if event_id in self._seen:
            self.duplicates += 1
            return
        self.delivered += 1
        self._seen[event_id] = None
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]


async def _read(receive: Receive) -> bytes | None:
    """The body, or None when it is larger than a collector takes."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        part: bytes = message.get("body", b"")
        size += len(part)
        if size <= _MAX_BODY_BYTES:
            parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts) if size <= _MAX_BODY_BYTES else None


def _event_ids(body: bytes) -> list[str]:
    """The `eid` of each event in a payload_data. Raises PayloadError or JsonError when it is not one."""
    value: Any = json_text.loads(body.decode())
    if not is_payload_data(value):
        raise PayloadError("not a payload_data")
    event_ids = []
    for payload in map(checked_payload, items_of_payload_data(value)):
        missing = [code for code in ("tv", "p", "e", "eid") if not payload.get(code)]
        if missing:
            raise PayloadError(f"an event lacks {', '.join(missing)}")
        event_ids.append(payload["eid"])
    return event_ids
