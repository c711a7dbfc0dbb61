"""The documents that the Snowplow Inspector reads, and what of one event stands in each.

Pure. The requests of an ngrok tunnel, the hits of an ElasticSearch, and a HAR file: every event as one POST to a
collector, or as its canonical view.
"""

from collections.abc import Iterable
from typing import Any

from snowbus.bus import json_text
from snowbus.bus.canonical import canonical_view
from snowbus.bus.event import Event
from snowbus.bus.payload import PAYLOAD_DATA_SCHEMA, Payload
from snowbus.bus.tracker_protocol import COLLECTOR_PATH, timestamp_from_ms
from snowbus.bus.version import version

from ..masking import Mask
from ..reading import Reading
from .inspector import no_event, safe_payload, safe_text, safe_view

HOST = "websocket"
"""The collector that the Inspector shows: none is asked."""

_LATEST_MS = 253_402_300_799_999  # the last with four digits for its year


def ngrok_request(reading: Reading, mask: Mask | None) -> bytes:
    """An event as a request that went through a tunnel: all but when."""
    payload, user_agent, _ = _shown(reading, mask)
    return request_of(payload, user_agent)


def request_of(payload: Payload, user_agent: str = "") -> bytes:
    """As `ngrok_request`, for parameters that are safe."""
    headers: dict[str, Any] = {"Host": [HOST]}
    if user_agent:
        headers["User-Agent"] = user_agent
    request = {
        "method": "POST",
        "proto": "HTTP/1.1",
        "uri": COLLECTOR_PATH.removeprefix("/"),
        "headers": headers,
        "raw": _payload_data(payload),
    }
    return json_text.dump_bytes({"request": request, "response": {"status_code": 200}})


def started(request: bytes, start: int) -> bytes:
    """A request that began at `start`, in ms since 1970."""
    return b'{"start":"%s",%s' % (timestamp_from_ms(start).encode(), request[1:])


def ngrok_document(requests: Iterable[bytes]) -> bytes:
    """What a tunnel tells of its requests."""
    return b'{"requests":[' + b",".join(requests) + b"]}"


def search_hit(reading: Reading, mask: Mask | None) -> bytes:
    """An event as a document that was found."""
    record = reading.record
    payload, _, view = _shown(reading, mask)
    hit_id = f"{record.partition}-{record.offset}-{record.timestamp}"
    if view is None:
        return hit_of(payload, hit_id, record.timestamp)
    return json_text.dump_bytes({"_id": hit_id, "_source": view})


def hit_of(payload: Payload, hit_id: str, timestamp: int) -> bytes:
    """An event of our own as a document, collected at `timestamp`, in ms since 1970."""
    view = safe_view(canonical_view(Event(hit_id, timestamp, json_text.dumps(payload))))
    return json_text.dump_bytes({"_id": hit_id, "_source": view})


def search_document(hits: Iterable[bytes]) -> bytes:
    """What a search answers."""
    return b'{"hits":{"hits":[' + b",".join(hits) + b"]}}"


def har_entry(reading: Reading, mask: Mask | None) -> bytes:
    """An event as a request that a browser made."""
    payload, user_agent, _ = _shown(reading, mask)
    text = _payload_data(payload)
    content_type = "application/json; charset=utf-8"
    entry = {
        "startedDateTime": timestamp_from_ms(min(max(0, reading.record.timestamp), _LATEST_MS)),
        "time": 0,
        "request": {
            "method": "POST",
            "url": f"https://{HOST}{COLLECTOR_PATH}",
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": [{"name": "User-Agent", "value": user_agent}] if user_agent else [],
            "queryString": [],
            "postData": {"mimeType": content_type, "params": [], "text": text},
            "headersSize": -1,
            "bodySize": len(text.encode()),
        },
        "response": {
            "status": 200,
            "statusText": "OK",
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": [],
            "content": {"size": 0, "mimeType": "text/plain"},
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": 0,
        },
        "cache": {},
        "timings": {"send": 0, "wait": 0, "receive": 0},
        "_snowbus": {"validation": reading.validation(mask).members()},
    }
    return json_text.dump_bytes(entry)


def har_document(entries: Iterable[bytes], comment: str = "") -> bytes:
    """A HAR file (1.2)."""
    creator = {"name": "snowbus", "version": version()}
    head = json_text.dump_bytes({"version": "1.2", "creator": creator, "comment": comment})
    return b'{"log":' + head[:-1] + b',"entries":[' + b",".join(entries) + b"]}}"


def _shown(reading: Reading, mask: Mask | None) -> tuple[Payload, str, dict[str, Any] | None]:
    """The parameters and the user agent of an event, and its view, which is None when the record holds no event."""
    shown = reading.shown(mask)
    if shown is None:
        return no_event(reading.record), "", None
    return safe_payload(shown.payload), safe_text(shown.source.get("user_agent", "")), safe_view(shown.view)


def _payload_data(payload: Payload) -> str:
    """The body of a POST to a collector, on one line."""
    return json_text.dumps({"schema": PAYLOAD_DATA_SCHEMA, "data": [payload]})
