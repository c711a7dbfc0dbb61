"""HAR files, as browsers save them: the events in the requests to a collector."""

from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from snowbus.bus.errors import SnowbusError
from snowbus.bus.version import tracker_version
from snowbus.producers.ingest.requests import Understood, understand_body, understand_query


class HarError(SnowbusError):
    """What should be a HAR file and is none; says where."""


class HarRequest(NamedTuple):
    """A request, counted from 1, and the events in it: none when it was no collector's."""

    number: int
    understood: Understood


def is_har(value: Any) -> bool:
    """Whether a JSON value is a HAR file."""
    return isinstance(value, dict) and isinstance(value.get("log"), dict) and "entries" in value["log"]


def har_requests(value: dict[str, Any]) -> Iterator[HarRequest]:
    """The requests in a HAR file. Raises HarError."""
    entries = value["log"]["entries"]
    for place, entry in enumerate(entries if isinstance(entries, list) else []):
        try:
            request = entry["request"]
            url, method = urlsplit(request["url"]), request["method"]
            body = (request.get("postData") or {}).get("text") or ""
            if not isinstance(request["url"], str) or not isinstance(body, str):
                raise TypeError
        except (KeyError, TypeError, AttributeError, ValueError):
            raise HarError(f"log.entries[{place}] is no request of a HAR file") from None
        # A file made by hand may have half a surrogate pair, which no request can.
        query, sent = url.query.encode("utf-8", "replace"), body.encode("utf-8", "replace")
        yield HarRequest(place + 1, _understood(method, query, sent))


def _understood(method: str, query: bytes, body: bytes) -> Understood:
    if method == "POST" and b"payload_data" in body:
        return understand_body(body, content_type="", query=query, tracker_version=tracker_version())
    if method == "GET" and b"e=" in query and b"tv=" in query:
        return understand_query(query, tracker_version=tracker_version())
    return Understood([], [])
