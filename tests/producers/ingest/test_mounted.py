"""Ingest as an app inside another: it needs neither a lifespan nor anybody to make its topics."""

from typing import Any

import pytest
from support.aio import run
from support.fakes import FakeLog
from support.ingest import payload_data

from snowbus.bus.errors import ConfigurationError
from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.metrics import Metrics
from snowbus.bus.settings import Settings
from snowbus.producers.ingest.app import IngestApp

EVENT = {"e": "pv", "eid": "e-1", "p": "web", "tv": "js-3"}
SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "POST",
    "path": "/shop/tracking",
    "root_path": "/shop",
    "query_string": b"",
    "headers": [(b"content-type", b"application/json")],
    "client": None,
}


async def call(app: IngestApp, scope: dict[str, Any], *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """What the app sends for a request of these messages."""
    coming = list(messages)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return coming.pop(0)

    async def send(message: Any) -> None:
        sent.append(dict(message))

    await app(scope, receive, send)
    return sent


def request(body: bytes) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": False}


def test_a_request_below_where_it_is_mounted_is_taken() -> None:
    async def main() -> None:
        log = FakeLog()
        app = IngestApp(log, Settings(), Metrics())
        sent = await call(app, SCOPE, request(payload_data(EVENT)))
        assert sent[0]["status"] == 200
        assert sent[1] == {"type": "http.response.body", "body": b"ok", "more_body": False}
        assert len(log.records[EVENTS_TOPIC]) == 1
        await app.close()

    run(main())


def test_a_websocket_is_declined() -> None:
    async def main() -> None:
        app = IngestApp(FakeLog(), Settings(), Metrics())
        assert await call(app, {"type": "websocket"}, {"type": "websocket.connect"}) == [{"type": "websocket.close"}]

    run(main())


def test_a_sender_that_is_gone_when_the_answer_is_sent_is_no_error() -> None:
    async def main() -> None:
        log = FakeLog()
        app = IngestApp(log, Settings(), Metrics())

        async def receive() -> dict[str, Any]:
            return request(payload_data(EVENT))

        async def send(message: Any) -> None:
            raise BrokenPipeError

        await app(SCOPE, receive, send)
        assert len(log.records[EVENTS_TOPIC]) == 1

    run(main())


def test_a_setting_that_cannot_work_is_told_when_the_app_is_made() -> None:
    with pytest.raises(ConfigurationError, match="ingest_trusted_proxies"):
        IngestApp(FakeLog(), Settings(ingest_trusted_proxies=("nonsense",)), Metrics())
