"""Ingest checks events against the schemas of a registry, and takes them whether that answers or not."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from support.aio import eventually, run
from support.diagnostics import capture_logs
from support.ingest import payload_data, serving
from support.memory_log import MemoryLog

from snowbus.bus.errors import ConfigurationError
from snowbus.bus.payload import UNSTRUCT_EVENT_SCHEMA
from snowbus.bus.settings import Settings

CART = "iglu:com.acme/cart/jsonschema/1-0-0"
SCHEMA = {"type": "object", "properties": {"quantity": {"type": "integer"}}, "required": ["sku"]}
PAGE_VIEW = {"e": "pv", "p": "web", "tv": "js-3"}


def cart(data: Any, schema: str = CART) -> dict[str, str]:
    described = {"schema": UNSTRUCT_EVENT_SCHEMA, "data": {"schema": schema, "data": data}}
    return {"e": "ue", "p": "web", "tv": "js-3", "ue_pr": json.dumps(described)}


GOOD, WRONG = cart({"sku": "A"}), cart({"sku": "A", "quantity": "2"})


def resolver(folder: Path, connection: dict[str, Any]) -> str:
    """The file of a resolver with one registry."""
    data = {"cacheSize": 10, "repositories": [{"name": "Ours", "priority": 0, "connection": connection}]}
    file = folder / "resolver.json"
    schema = "iglu:com.snowplowanalytics.iglu/resolver-config/jsonschema/1-0-3"
    file.write_text(json.dumps({"schema": schema, "data": data}))
    return str(file)


@pytest.fixture
def embedded(tmp_path: Path) -> str:
    schema = tmp_path / "schemas" / "com.acme" / "cart" / "jsonschema" / "1-0-0"
    schema.parent.mkdir(parents=True)
    schema.write_text(json.dumps(SCHEMA))
    return resolver(tmp_path, {"embedded": {"path": "."}})


def test_each_event_of_a_request_is_marked_with_what_was_found(embedded: str) -> None:
    async def main() -> None:
        async with MemoryLog() as log, serving(log, iglu_resolver=embedded, iglu_wait=30) as ingest:
            sent = [GOOD, WRONG, PAGE_VIEW, cart({}, "iglu:com.acme/none/jsonschema/1-0-0")]
            assert await ingest.post(payload_data(*sent)) == (200, "ok")
            found = {event.payload.count("quantity"): event for event in await ingest.events()}
            statuses = [event.validation for event in await ingest.events()]
            assert sorted(statuses) == ["invalid", "invalid", "valid", "valid"]
            (error,) = found[1].errors
            assert (error.field, error.path, error.expected, error.got) == (
                "unstruct_event",
                "/quantity",
                "an integer",
                '"2"',
            )
            assert ingest.metric("snowbus_ingest_validated_events_total", validation="invalid") == 2
            assert await ingest.bad() == []

    run(main())


def test_invalid_events_are_diverted_when_asked_for_and_the_answer_is_200(embedded: str) -> None:
    async def main() -> None:
        settings = {"iglu_resolver": embedded, "iglu_wait": 30, "on_invalid": "divert"}
        async with MemoryLog() as log, serving(log, **settings) as ingest:
            assert await ingest.post(payload_data(GOOD, WRONG, {"e": "zz"})) != (200, "ok")  # the last is named
            assert [event.validation for event in await ingest.events()] == ["valid"]
            invalid, none = sorted(await ingest.bad(), key=lambda bad: "errors" not in bad[1])
            assert json.loads(invalid[0])["ue_pr"] == WRONG["ue_pr"]
            assert invalid[1]["reason"] == 'invalid: unstruct_event/quantity: expected an integer, got "2"'
            (error,) = json.loads(invalid[1]["errors"])
            assert (error["schema"], error["path"]) == (CART, "/quantity")
            assert "'zz' is unknown" in none[1]["reason"]

            assert await ingest.post(payload_data(WRONG, WRONG)) == (200, "ok")
            assert len(await ingest.events()) == 1
            assert len(await ingest.bad()) == 4
            assert ingest.metric("snowbus_ingest_events_total") == 1

    run(main())


def test_a_registry_that_does_not_answer_holds_nobody_up_and_its_events_are_unchecked(tmp_path: Path) -> None:
    async def main() -> None:
        may_answer = asyncio.Event()
        asked = 0

        async def answer(_: web.Request) -> web.Response:
            nonlocal asked
            asked += 1
            await may_answer.wait()
            return web.json_response(SCHEMA)

        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        connection = {"http": {"uri": f"http://127.0.0.1:{runner.addresses[0][1]}"}}
        settings = {"iglu_resolver": resolver(tmp_path, connection), "iglu_wait": 0.01}
        async with MemoryLog() as log, serving(log, **settings) as ingest:
            answers = await asyncio.gather(*(ingest.post(payload_data(GOOD, WRONG)) for _ in range(10)))
            assert answers == [(200, "ok")] * 10
            assert {event.validation for event in await ingest.events()} == {"unchecked"}
            assert all(event.errors == () for event in await ingest.events())
            may_answer.set()

            async def is_checked() -> bool:
                await ingest.post(payload_data(WRONG))
                return any(event.validation == "invalid" for event in await ingest.events())

            await eventually(is_checked)
            assert asked == 1
        await runner.cleanup()

    run(main())


def test_a_registry_that_answers_badly_leaves_events_unchecked_and_its_key_stays_unsaid(tmp_path: Path) -> None:
    over = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        how = request.path.split("/")[3]
        if how == "hangs":
            await over.wait()
        if how == "another":
            own = {"vendor": "com.acme", "name": "cart", "format": "jsonschema", "version": "1-0-0"}
            return web.json_response({"self": own, **SCHEMA})
        if how == "loops":
            return web.Response(status=302, headers={"Location": request.path})
        bodies = {"huge": b"{" + b" " * 600_000 + b"}", "page": b"<html>"}
        return web.Response(status=200 if how in bodies else 500, body=bodies.get(how, b"the secret-key is wrong"))

    async def main() -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        registry = {"uri": f"http://127.0.0.1:{runner.addresses[0][1]}", "apikey": "secret-key"}
        settings = {"iglu_resolver": resolver(tmp_path, {"http": registry}), "iglu_wait": 0.01}
        hows = ["hangs", "loops", "huge", "page", "fails", "another"]
        events = [cart({"sku": "A"}, f"iglu:com.acme/{how}/jsonschema/1-0-0") for how in hows]
        async with MemoryLog() as log, serving(log, **settings) as ingest:

            async def is_settled() -> bool:
                assert await ingest.post(payload_data(*events)) == (200, "ok")
                found = {event.validation for event in await ingest.events()}
                return found == {"unchecked", "valid"}

            await eventually(is_settled)
            valid = [event for event in await ingest.events() if event.validation == "valid"]
            assert all("/another/" in event.payload for event in valid)
        over.set()
        await runner.cleanup()

    with capture_logs() as logged:
        run(main())
    told = {line["event"] for line in logged}
    assert told == {"a schema cannot be looked up", "a registry has another schema in the place of one"}
    assert "secret-key" not in repr(logged)


def test_a_registry_that_is_away_leaves_events_unchecked(tmp_path: Path) -> None:
    async def main() -> None:
        file = resolver(tmp_path, {"http": {"uri": "http://127.0.0.1:1"}})
        async with MemoryLog() as log, serving(log, iglu_resolver=file, iglu_wait=30) as ingest:
            assert await ingest.post(payload_data(WRONG, PAGE_VIEW)) == (200, "ok")
            assert sorted(event.validation for event in await ingest.events()) == ["unchecked", "valid"]

    run(main())


def test_without_a_resolver_unknown_schemas_are_unchecked_and_those_that_come_with_snowbus_are_checked() -> None:
    async def main() -> None:
        hello = "iglu:dev.snowbus.demo/hello/jsonschema/1-0-0"
        async with MemoryLog() as log, serving(log, iglu_wait=30) as ingest:
            await ingest.post(payload_data(GOOD, PAGE_VIEW))
            assert {event.validation for event in await ingest.events()} == {"unchecked"}
            await ingest.post(payload_data(cart({"from": "me"}, hello), cart({}, hello)))
            statuses = sorted(event.validation for event in await ingest.events())
            assert statuses == ["invalid", "unchecked", "unchecked", "valid"]

    run(main())


def test_a_resolver_that_cannot_be_read_is_told_at_the_start() -> None:
    async def main() -> None:
        with pytest.raises(ConfigurationError, match="iglu_resolver: none"):
            async with MemoryLog() as log, serving(log, iglu_resolver="none.json"):
                pass

    run(main())
    assert Settings().on_invalid == "forward"
