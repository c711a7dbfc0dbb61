"""The official trackers, unmodified, post to ingest: every event arrives once, with the payload that was sent."""

import asyncio
from typing import Any

import pytest
from snowplow_tracker import (
    Emitter,
    PagePing,
    PageView,
    SelfDescribing,
    SelfDescribingJson,
    StructuredEvent,
    Subject,
    Tracker,
)
from support.aio import eventually, run
from support.ingest import Ingest, serving
from support.node import run_node

from snowbus.bus.log import open_log

ROUNDS = 5
Payloads = list[dict[str, str]]


class Recorder:
    """An emitter that keeps what the tracker gives to it, as strings."""

    def __init__(self) -> None:
        self.sent: Payloads = []

    def input(self, payload: dict[str, Any]) -> None:
        self.sent.append({code: str(value) for code, value in payload.items()})

    def flush(self) -> None:
        pass


def track_from_python(address: str, method: str) -> Payloads:
    recorder = Recorder()
    emitter = Emitter(address, protocol="http", method=method, batch_size=1 if method == "get" else 4)
    tracker = Tracker("ns", [emitter, recorder], app_id="shop", encode_base64=method == "post")
    for number in range(ROUNDS):
        subject = Subject().set_platform("web").set_user_id("u-ü").set_screen_resolution(1920, 1080)
        entity = SelfDescribingJson(
            "iglu:com.acme/product/jsonschema/1-0-0", {"note": 'ünïcode "+&=% 🧀', "big": 10**30}
        )
        added = SelfDescribingJson("iglu:com.acme/added/jsonschema/1-0-0", {"number": number, "price": 1.10})
        tracker.track(
            PageView(f"https://shop.example/?n={number}&q=a+b", "Käse", event_subject=subject, context=[entity])
        )
        tracker.track(PagePing("https://shop.example/", min_x=0, max_x=number))
        tracker.track(StructuredEvent("cart", "add", value=1.5, event_subject=subject))
        tracker.track(SelfDescribing(added, context=[entity, entity], true_timestamp=1_700_000_000_000 + number))
    tracker.flush()
    return recorder.sent


def track_from_node(address: str, method: str) -> Payloads:
    sent: Payloads = run_node("track.cjs", f"http://{address}", method, str(ROUNDS))
    return sent


def by_event_id(payloads: Payloads) -> dict[str, dict[str, str]]:
    """The payloads by `eid`, less `stm`, which a tracker writes when it sends."""
    named = {payload["eid"]: {code: text for code, text in payload.items() if code != "stm"} for payload in payloads}
    assert len(named) == len(payloads), "an event arrived twice"
    return named


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("track", [track_from_python, pytest.param(track_from_node, marks=pytest.mark.node)])
def test_every_event_of_a_tracker_arrives_once_and_unchanged(log_url: str, track: Any, method: str) -> None:
    async def arrived(ingest: Ingest) -> bool:
        return len(await ingest.events()) >= ROUNDS * 4

    async def main() -> None:
        async with await open_log(log_url) as log, serving(log) as ingest:
            host, port = ingest.address
            sent = await asyncio.to_thread(track, f"{host}:{port}", method)
            assert len(sent) == ROUNDS * 4
            await eventually(lambda: arrived(ingest))
            assert by_event_id(await ingest.payloads()) == by_event_id(sent)
            assert await ingest.bad() == []
            agents = {event.source["user_agent"] for event in await ingest.events()}
            assert len(agents) == 1

    run(main())
