"""Masked and unmasked readers of one gateway: each gets its own, live, from the ring and from the log."""

import json
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import pytest
from support.aio import run
from support.diagnostics import capture_logs
from support.gateway import Client, Running, client, gateway, publish
from support.memory_log import MemoryLog
from support.signing import SECRET, hs256

from snowbus.bus.metrics import Metrics
from snowbus.bus.settings import Settings
from snowbus.consumers.gateway.tokens import Tokens
from snowbus.consumers.masking import MASKED, PERSONAL_ENTITIES, PERSONAL_FIELDS
from snowbus.consumers.reading import Reading


def on_gateway(test: Callable[[Running], Coroutine[Any, Any, None]], **settings: Any) -> None:
    async def main() -> None:
        async with gateway(MemoryLog(), **settings) as running:
            await test(running)

    run(main())


async def users(reader: Client, count: int) -> set[tuple[str, str, str]]:
    """Who the next events are of: by the key, the view and the source."""
    found = await reader.until(lambda messages: len(messages) >= count)
    return {(message["key"], message["event"]["user_id"], message["source"]["ip"]) for message in found}


OPEN = ("jane", "jane", "203.0.113.7")
HIDDEN = (MASKED, MASKED, MASKED)


def test_a_reader_sees_personal_data_only_with_the_scope_for_it() -> None:
    async def test(running: Running) -> None:
        await publish(running.log, range(5), user="jane")
        async with (
            client(running, f"from=earliest&token={hs256('events')}") as masked,
            client(running, f"from=earliest&token={hs256('events pii')}") as unmasked,
        ):
            assert await users(masked, 5) == {HIDDEN}
            assert await users(unmasked, 5) == {OPEN}
            await publish(running.log, range(5, 10), user="jane")
            assert await users(masked, 5) == {HIDDEN}
            assert await users(unmasked, 5) == {OPEN}

    on_gateway(test, gateway_jwt_secret=SECRET)


def test_history_from_the_log_is_masked_too() -> None:
    async def test(running: Running) -> None:
        await publish(running.log, range(40), user="jane")
        async with client(running, f"from=earliest&token={hs256('events')}") as masked:
            assert await users(masked, 40) == {HIDDEN}
        assert running.log.reads > 1  # type: ignore[attr-defined]

    on_gateway(test, gateway_jwt_secret=SECRET, gateway_ring_events=4)


@pytest.mark.parametrize("filters", [{"user_id": "jane"}, {"q": "jane"}, {"app_id": "other"}])
def test_a_filter_may_not_be_changed_to_what_the_token_does_not_allow(filters: dict[str, str]) -> None:
    async def test(running: Running) -> None:
        async with client(running, f"token={hs256('events app_id:shop')}") as reader:
            await reader.connection.send(json.dumps({"type": "filter", "filters": filters}))
            assert (await reader.next("error", "subscription"))["code"] == "bad_message"
            await reader.connection.send('{"type":"filter","filters":{}}')
            answer = await reader.next("error", "subscription")
            assert answer["subscription"]["filters"] == {"app_id": ["shop"]}

    on_gateway(test, gateway_jwt_secret=SECRET)


def test_hello_names_what_is_masked() -> None:
    async def test(running: Running) -> None:
        async with client(running, f"token={hs256('events')}") as reader:
            masked = reader.hello["subscription"]["masked"]
        assert {*PERSONAL_FIELDS, *PERSONAL_ENTITIES, "page_url"} <= set(masked)
        assert "iglu:com.acme/user/jsonschema/1-*-*" in masked
        async with client(running, f"token={hs256('events pii')}") as reader:
            assert reader.hello["subscription"]["masked"] == []

    on_gateway(
        test,
        gateway_jwt_secret=SECRET,
        gateway_masked_fields="page_url",
        gateway_masked_entities="iglu:com.acme/user/jsonschema/1-*-*",
    )


def test_without_tokens_personal_data_is_masked_when_the_setting_says_so() -> None:
    async def test(running: Running) -> None:
        async with client(running) as reader:
            await publish(running.log, [1], user="jane")
            assert await users(reader, 1) == {HIDDEN if running.settings.gateway_mask else OPEN}

    on_gateway(test)
    on_gateway(test, gateway_mask=True)


@pytest.mark.parametrize(
    ("others", "told"), [({}, True), ({"gateway_mask": True}, False), ({"gateway_jwt_secret": SECRET}, False)]
)
def test_that_what_is_named_is_shown_all_the_same_is_told(others: dict[str, Any], told: bool) -> None:
    with capture_logs() as lines:
        Tokens(Settings(gateway_masked_fields=("page_url",), **others), Metrics())
    sentence = "nothing is masked: no tokens are asked for, and gateway_mask is not set"
    assert (sentence in [line["event"] for line in lines]) == told


def test_an_event_is_written_once_for_all_who_are_masked_and_once_for_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = []
    body = Reading.body

    def counted(reading: Reading, mask: Any = None) -> bytes:
        written.append((reading.record.offset, reading.record.partition, mask is not None))
        return body(reading, mask)

    async def test(running: Running) -> None:
        async with AsyncExitStack() as connections:
            readers = [
                await connections.enter_async_context(client(running, f"token={hs256(scope)}&{filters}"))
                for scope in ("events", "events pii")
                for filters in ("", "", "app_id=shop", "platform=srv")
            ]
            await publish(running.log, range(20), aid="shop")
            for reader in readers:
                assert len(await reader.numbers(20)) == 20

    monkeypatch.setattr(Reading, "body", counted)
    on_gateway(test, gateway_jwt_secret=SECRET)
    assert len(written) == len(set(written)) == 40
