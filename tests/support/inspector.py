"""Reads feeds as the Snowplow Inspector (0.4.5) does, and fails where its panel would hang."""

import base64
import binascii
import json
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

_START = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
_BASE64 = re.compile(r"([A-Za-z0-9/_+-]{4})+([A-Za-z0-9/_+=-]{1,4})?")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_LATEST_DATE = 8_640_000_000_000_000


class Ngrok:
    """What the Inspector keeps of a tunnel between polls: a watermark, in ms."""

    def __init__(self) -> None:
        self.watermark = 0

    def poll(self, body: str | bytes) -> list[dict[str, str]]:
        """The events of one poll that are new to it."""
        document = json.loads(body)
        assert set(document) == {"requests"}
        starts = [request["start"] for request in document["requests"]]
        assert starts == sorted(set(starts)), "not strictly rising as text"
        events = []
        for request in document["requests"]:
            assert _START.fullmatch(request["start"])
            if _ms(request["start"]) > self.watermark:
                events += _events_of(request)
        # Some versions never let it fall; others let it fall to the newest that is there, if any.
        self.watermark = max(map(_ms, starts), default=0)
        return events


class Search:
    """What the Inspector keeps of an ElasticSearch between polls: the ids that it has seen."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def poll(self, body: str | bytes) -> list[dict[str, Any]]:
        """The events of one poll that are new to it."""
        hits = [hit for hit in json.loads(body)["hits"]["hits"] if hit["_id"] not in self.seen]
        self.seen |= {hit["_id"] for hit in hits}
        for hit in hits:
            check_view(hit["_source"])
        return [hit["_source"] for hit in hits]


def _events_of(request: dict[str, Any]) -> list[dict[str, str]]:
    assert list(request) == ["start", "request", "response"]
    inner = request["request"]
    assert [inner["method"], inner["proto"], inner["uri"]] == [
        "POST",
        "HTTP/1.1",
        "com.snowplowanalytics.snowplow/tp2",
    ]
    assert inner["headers"].pop("Host") == ["websocket"]
    assert all(isinstance(value, str) for value in inner["headers"].values())
    assert inner["raw"].split("\n") == [inner["raw"]]
    assert not _BASE64.fullmatch(inner["raw"])
    assert request["response"] == {"status_code": 200}
    return events_of_post(inner["raw"])


def events_of_post(body: str) -> list[dict[str, str]]:
    """The events in the body of a POST, each of which can be drawn."""
    post = json.loads(body)
    assert re.match(r"iglu:[^/]+/payload_data/", post["schema"])
    for event in post["data"]:
        check_payload(event)
    found: list[dict[str, str]] = post["data"]
    return found


def check_payload(payload: dict[str, str]) -> None:
    """Do with the parameters of an event what the Inspector does."""
    for name, value in payload.items():
        assert isinstance(value, str)
        assert not _CONTROL.search(name + value), (name, value)
    if page := payload.get("url") or payload.get("dl"):
        check_url(page)
    time = payload.get("stm") or payload.get("dtm") or payload.get("_gid", "").split(".")[-1]
    for text in (time, payload.get("dtm"), payload.get("stm"), payload.get("ttm")):
        if text:
            assert abs(_parse_int(text)) * 1000 <= _LATEST_DATE * 1000
    if payload.get("e") == "ue":
        described = payload.get("ue_pr") or payload.get("ue_px") or ""
        assert isinstance(json.loads(_try_base64(described))["data"]["schema"], str)
    for name in ("ue_pr", "ue_px", "co", "cx"):
        if text := payload.get(name):
            outer = json.loads(text if name in ("ue_pr", "co") else _decode(text))
            assert isinstance(outer["schema"], str)
            items = outer["data"] if name in ("co", "cx") else [outer["data"]]
            assert all(isinstance(item["schema"], str) and "data" in item for item in items)
            _draw(outer)
    for text in payload.values():
        _draw(text)


def check_view(view: dict[str, Any]) -> None:
    """Do with a canonical view what the Inspector does, whose parameters come of it."""
    assert isinstance(view["collector_tstamp"], str)
    if view.get("page_url"):
        check_url(view["page_url"])
    for name, value in view.items():
        if "tstamp" in name and name != "collector_tstamp":
            assert _START.fullmatch(value)
        if name.startswith("contexts_"):
            assert isinstance(value, list)
        _draw(value)


def check_url(url: str) -> None:
    """What `new URL` takes has at least a scheme; the rest is shown with Node."""
    assert urlsplit(url).scheme, url


def _draw(value: Any, depth: int = 0) -> None:
    """Draw a value, and JSON in strings as what it is."""
    assert depth < 60, "too deep to be drawn"
    if isinstance(value, str):
        assert not _CONTROL.search(value)
        try:
            inner = json.loads(value)
        except (ValueError, RecursionError):
            return
        if isinstance(inner, dict | list):
            _draw(inner, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _draw(item, depth + 1)
    elif isinstance(value, dict):
        if "schema" in value and "data" in value:
            assert isinstance(value["schema"], str)
        for name, item in value.items():
            assert not _CONTROL.search(name)
            _draw(item, depth + 1)


def _ms(text: str) -> int:
    moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def _parse_int(text: str) -> int:
    match = re.match(r"\s*[+-]?[0-9]+", text)
    assert match, f"Invalid Date: {text}"
    return int(match[0])


def _try_base64(text: str) -> str:
    return _decode(text) if _BASE64.fullmatch(text) else text


def _decode(text: str) -> str:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("latin-1")
    except binascii.Error:
        return ""
