"""The feeds that the Snowplow Inspector polls: their shapes, each event once, and that nothing ends the polling."""

import asyncio
import base64
import json
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from support.aio import eventually, run
from support.asking import get
from support.diagnostics import capture_logs
from support.gateway import DEFAULTS, Running, client, gateway, numbered, publish
from support.inspector import Ngrok, Search, check_payload
from support.memory_log import MemoryLog
from support.signing import SECRET, hs256

from snowbus.bus.event import EVENTS_TOPIC, ProducerRecord
from snowbus.bus.iglu.config import own_config_file
from snowbus.bus.iglu.schema import compile_schema
from snowbus.bus.log import Log, open_log
from snowbus.bus.settings import Settings
from snowbus.consumers.gateway.feed import MOST_EVENTS

NGROK = "/api/requests/http"
SEARCH = "/snowbus.events/_search?size=50&q=*"


def on_gateway(test: Callable[[Running], Coroutine[Any, Any, None]], **settings: Any) -> None:
    async def main() -> None:
        async with gateway(MemoryLog(), **settings) as running:
            await test(running)

    run(main())


async def poll(running: Running, path: str = NGROK, *headers: str) -> bytes:
    answer = await get(running.address, path, *headers)
    assert answer.status == 200, answer.body
    return answer.body


async def published(running: Running, *numbers: int, **parameters: Any) -> None:
    """Publish, and wait until who reads live has got it."""
    async with client(running) as live:
        await publish(running.log, numbers, **parameters)
        await live.numbers(len(numbers))


def numbers(events: list[dict[str, str]]) -> list[int]:
    return [int(event["eid"]) for event in events]


def test_requests_have_the_shape_of_ngrok() -> None:
    async def test(running: Running) -> None:
        assert await poll(running) == b'{"requests":[]}'
        async with client(running) as live:
            await running.log.create_topics([EVENTS_TOPIC])
            await running.log.append(EVENTS_TOPIC, [numbered(7, timestamp=1_700_000_000_123)])
            await live.numbers(1)
        raw = (
            r"{\"schema\":\"iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4\",\"data\":["
            r"{\"tv\":\"test-1\",\"p\":\"srv\",\"e\":\"pv\",\"eid\":\"7\",\"uid\":\"user-0\"}]}"
        )
        assert (await poll(running)).decode() == (
            '{"requests":[{"start":"2023-11-14T22:13:20.123Z","request":{"method":"POST","proto":"HTTP/1.1",'
            '"uri":"com.snowplowanalytics.snowplow/tp2","headers":{"Host":["websocket"]},'
            f'"raw":"{raw}"}},"response":{{"status_code":200}}}}]}}'
        )

    on_gateway(test)


def test_hits_have_the_shape_of_elasticsearch() -> None:
    async def test(running: Running) -> None:
        assert await poll(running, SEARCH) == b'{"hits":{"hits":[]}}'
        cart = {"schema": "iglu:com.acme/cart/jsonschema/1-0-0", "data": {}}
        co = json.dumps({"schema": "iglu:com.acme/contexts/jsonschema/1-0-0", "data": [cart]})
        await published(running, 7, co=co, aid="shop")
        ((hit,),) = [(await get(running.address, SEARCH)).json()["hits"]["hits"]]
        assert set(hit) == {"_id", "_source"}
        assert hit["_source"]["app_id"] == "shop"
        assert hit["_source"]["contexts_com_acme_cart_1"] == [{}]
        assert hit["_source"]["collector_tstamp"].endswith("Z")

    on_gateway(test)


@pytest.mark.parametrize("path", [NGROK, SEARCH])
def test_an_event_is_there_as_soon_as_live_readers_have_it(path: str) -> None:
    async def test(running: Running) -> None:
        reader: Any = Ngrok() if path == NGROK else Search()
        for number in range(3):
            await published(running, number)
            (event,) = reader.poll(await poll(running, path))
            assert (event.get("eid") or event["event_id"]) == str(number)
            assert reader.poll(await poll(running, path)) == []

    on_gateway(test)


@pytest.mark.parametrize("path", [NGROK, SEARCH])
@pytest.mark.parametrize("ring_events", [20_000, 8])
def test_each_event_comes_once_while_others_are_published(path: str, ring_events: int) -> None:
    """With a ring that is too short for what comes between two polls, it comes from the log."""

    async def test(running: Running) -> None:
        await running.log.create_topics([EVENTS_TOPIC])
        slow: Any = Ngrok() if path == NGROK else Search()
        fast: Any = Ngrok() if path == NGROK else Search()
        seen: dict[Any, list[int]] = {slow: [], fast: []}

        async def polls(reader: Any, every: float) -> None:
            while len(seen[reader]) < 300:
                for event in reader.poll(await poll(running, path)):
                    seen[reader].append(int(event.get("eid") or event["event_id"]))
                await asyncio.sleep(every)

        await asyncio.gather(poll(running, path), poll(running, path))
        polling = asyncio.gather(polls(slow, 0.05), polls(fast, 0))
        for number in range(0, 300, 20):
            await publish(running.log, range(number, number + 20))
            await asyncio.sleep(0.01)
        await polling
        assert sorted(seen[slow]) == sorted(seen[fast]) == list(range(300))

    on_gateway(test, gateway_ring_events=ring_events)


def test_a_gateway_that_begins_anew_repeats_nothing_and_misses_nothing() -> None:
    async def main() -> None:
        log, reader = MemoryLog(), Ngrok()
        running = Running(log, Settings(**DEFAULTS))
        await running.start()
        await published(running, *range(40))
        assert sorted(numbers(reader.poll(await poll(running)))) == list(range(40))
        await running.stop()
        await publish(log, [40])
        await running.start()
        await eventually(lambda: has_read(running, 41))
        assert numbers(reader.poll(await poll(running))) == [40]
        await published(running, 41)
        assert numbers(reader.poll(await poll(running))) == [41]
        await running.stop()

    run(main())


def test_a_gateway_that_begins_anew_misses_nothing_of_any_partition(tmp_path: Path) -> None:
    async def main() -> None:
        url, reader = f"sqlite:///{tmp_path}/log.db", Ngrok()
        a_minute_ago = time.time_ns() // 1_000_000 - 60_000
        async with gateway(url) as running:
            for first in range(0, 1_000, 100):
                await published(running, *range(first, first + 100), timestamp=a_minute_ago + 10 * first)
                reader.poll(await poll(running))
        async with await open_log(url) as log:
            await publish(log, range(1_000, 1_040))
        async with gateway(url) as running:
            assert sorted(numbers(reader.poll(await poll(running)))) == list(range(1_000, 1_040))

    run(main())


def test_polls_that_come_while_a_gateway_begins_wait_for_its_events() -> None:
    async def main() -> None:
        log, reader = MemoryLog(), Ngrok()
        await publish(log, range(40))
        for _ in range(2):
            running = Running(log, Settings(**DEFAULTS))
            await running.start()
            polls = await asyncio.gather(*(poll(running) for _ in range(3)))
            assert len(set(polls)) == 1
            assert len(reader.poll(polls[0])) in (40, 0)
            await running.stop()
        assert len(reader.poll(polls[0])) == 0

    run(main())


def test_hits_come_once_also_through_two_gateways_behind_one_address() -> None:
    async def main() -> None:
        log, reader = MemoryLog(), Search()
        gateways = [Running(log, Settings(**DEFAULTS)) for _ in range(2)]
        for running in gateways:
            await running.start()
        found: list[int] = []
        for number in range(6):
            await published(gateways[number % 2], number)
            for running in gateways:
                found += [int(event["event_id"]) for event in reader.poll(await poll(running, SEARCH))]

        async def all_came() -> bool:
            for running in gateways:
                found.extend(int(event["event_id"]) for event in reader.poll(await poll(running, SEARCH)))
            return len(found) >= 6

        await eventually(all_came)
        assert sorted(found) == list(range(6))
        for running in gateways:
            await running.stop()

    run(main())


async def has_read(running: Running, count: int) -> bool:
    return len((await get(running.address, NGROK)).json()["requests"]) == count


def test_events_of_one_moment_and_of_wrong_clocks_keep_their_order() -> None:
    async def test(running: Running) -> None:
        reader = Ngrok()
        await running.log.create_topics([EVENTS_TOPIC])
        times = [5_000, 5_000, 1_000, 99_999_999_999_999, 6_000, 0]
        async with client(running) as live:
            for number, timestamp in enumerate(times):
                running.log.put(0, numbered(number, timestamp=timestamp))  # type: ignore[attr-defined]
                await live.numbers(1)
                if number != 1:
                    assert numbers(reader.poll(await poll(running)))[-1] == number
        assert max(json.loads(await poll(running))["requests"], key=lambda each: each["start"])["start"] < "2100"

    on_gateway(test)


def test_more_than_fits_is_told() -> None:
    async def test(running: Running) -> None:
        reader = Ngrok()
        reader.poll(await poll(running))
        await published(running, *range(MOST_EVENTS + 20))
        skipped, *rest = reader.poll(await poll(running))
        assert json.loads(skipped["ue_pr"])["data"]["data"]["count"] + len(rest) == MOST_EVENTS + 20
        assert len(rest) == MOST_EVENTS
        assert reader.poll(await poll(running)) == []

    on_gateway(test)


HOSTILE: list[dict[str, str]] = [
    {"url": "/relative"},
    {"e": "ue", "ue_pr": "no JSON"},
    {"e": "ue"},
    {"e": "ue", "ue_px": "!!"},
    {"cx": "e30"},
    {"page": "\x00\x07\u202e\ud800\n"},
    {"dtm": "yesterday", "stm": "-1"},
    {"co": json.dumps({"schema": "iglu:a/b/jsonschema/1-0-0", "data": {}})},
]


def no_events() -> list[ProducerRecord]:
    good = numbered(99)
    return [good._replace(value=b"\xff\x00"), good._replace(value=b""), good._replace(value=good.value[:-9])]


async def publish_hostile(log: Log) -> int:
    await log.create_topics([EVENTS_TOPIC])
    records = [numbered(number, **each) for number, each in enumerate(HOSTILE)] + no_events()
    await log.append(EVENTS_TOPIC, records)
    return len(records)


def test_hostile_events_come_safe_and_each_once() -> None:
    async def test(running: Running) -> None:
        ngrok, search = Ngrok(), Search()
        async with client(running) as live:
            count = await publish_hostile(running.log)
            await live.until(lambda messages: len(messages) == count)
        for _ in range(2):
            assert len(ngrok.poll(await poll(running))) == count
            assert len(search.poll(await poll(running, SEARCH))) == count
            count = 0

    on_gateway(test)


@pytest.mark.parametrize("path", [NGROK, SEARCH])
def test_an_event_that_fails_to_be_written_does_not_keep_the_others(path: str, monkeypatch: Any) -> None:
    def fail(_: Any) -> Any:
        raise RuntimeError("a fault")

    async def test(running: Running) -> None:
        await published(running, 1)
        with monkeypatch.context() as fault:
            fault.setattr("snowbus.consumers.gateway.inspector_shapes.safe_text", fail)
            assert b"no_event" in await poll(running, path)
        await published(running, 2)
        reader: Any = Ngrok() if path == NGROK else Search()
        assert len(reader.poll(await poll(running, path))) == 2

    on_gateway(test)


def test_while_the_log_is_away_polls_are_answered() -> None:
    async def test(running: Running) -> None:
        log = running.log
        assert isinstance(log, MemoryLog)
        await published(running, 1)
        reader = Ngrok()
        assert numbers(reader.poll(await poll(running))) == [1]
        await published(running, *range(2, 20))
        log.away = True
        reader.poll(await poll(running))
        log.away = False
        found: list[int] = []

        async def all_came() -> bool:
            found.extend(numbers(reader.poll(await poll(running))))
            return len(found) >= 18

        await eventually(all_came)
        assert sorted(found) == list(range(2, 20))

    on_gateway(test, gateway_ring_events=4)


def test_a_log_that_begins_anew_is_followed() -> None:
    async def test(running: Running) -> None:
        log = running.log
        assert isinstance(log, MemoryLog)
        await published(running, 1, 2, 3)
        reader, search = Ngrok(), Search()
        reader.poll(await poll(running))
        search.poll(await poll(running, SEARCH))
        log.begin_anew()
        await publish(log, [4])

        async def came() -> list[int]:
            return numbers(reader.poll(await poll(running)))

        assert await eventually(came) == [4]
        (hit,) = search.poll(await poll(running, SEARCH))
        assert hit["event_id"] == "4"

    on_gateway(test)


@pytest.mark.parametrize(
    "path",
    [
        "/feeds/app_id=shop/api/requests/http",
        "/feeds/app_id=shop&event=page_view/api/requests/http",
        "/feeds/app_id=sh%6fp/api/requests/http",
        "/api/requests/http?app_id=shop",
    ],
)
def test_a_path_may_hold_filters(path: str) -> None:
    async def test(running: Running) -> None:
        await published(running, 1, aid="shop")
        await published(running, 2, aid="blog")
        assert numbers(Ngrok().poll(await poll(running, path))) == [1]

    on_gateway(test)


@pytest.mark.parametrize(
    "path",
    [
        "/app_id=shop/_search?size=50&q=*",
        "/good/_search?size=50&q=needle",
        "/feeds/app_id=shop/good/_search?size=50&q=*",
        "/app_id%3Dshop/_search?size=50&q=needle",
    ],
)
def test_an_index_and_a_search_are_filters(path: str) -> None:
    async def test(running: Running) -> None:
        await published(running, 1, aid="shop", page="a needle")
        await published(running, 2, aid="blog")
        (view,) = Search().poll(await poll(running, path))
        assert view["event_id"] == "1"

    on_gateway(test)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/feeds/nonsense=1/api/requests/http", 400),
        ("/feeds/platform=moon/api/requests/http", 400),
        ("/feeds/%ff=1/api/requests/http", 400),
        ("/api/requests/http?limit=1", 400),
        ("/other/api/requests/http", 404),
        ("/api/requests/http/1", 404),
        ("/_search", 404),
        ("/a/b/_search", 404),
    ],
)
def test_what_is_not_understood_is_refused(path: str, status: int) -> None:
    async def test(running: Running) -> None:
        assert (await get(running.address, path)).status == status

    on_gateway(test)


def test_a_page_of_another_site_is_refused_and_an_extension_is_not() -> None:
    async def test(running: Running) -> None:
        refused = await get(running.address, NGROK, "Origin: https://evil.example")
        assert refused.status == 403
        assert (await get(running.address, NGROK, host="evil.example")).status == 403
        answer = await get(running.address, NGROK, "Origin: moz-extension://6f0c")
        assert answer.status == 200
        assert not [name for name in answer.headers if name.startswith("access-control")]

    on_gateway(test)


LOGIN = base64.b64encode(b"token:a long secret").decode()


def test_a_token_is_taken_wherever_one_can_be_given_and_never_logged() -> None:
    async def test(running: Running) -> None:
        assert (await get(running.address, NGROK)).status == 401
        assert (await get(running.address, "/feeds/token=wrong/api/requests/http")).status == 401
        for path in (NGROK + "?token=a+long+secret", "/feeds/token=a%20long%20secret&app_id=shop/api/requests/http"):
            assert (await get(running.address, path)).status == 200
        for header in ("Bearer a long secret", LOGIN, f"Basic {LOGIN}"):
            assert (await get(running.address, SEARCH, f"Authorization: {header}")).status == 200
        twice = await get(running.address, "/feeds/token=a+long+secret/api/requests/http", f"Authorization: {LOGIN}")
        assert twice.status == 400

    with capture_logs() as logged:
        on_gateway(test, gateway_tokens=("a long secret",))
    assert "secret" not in repr(logged)


def test_who_may_not_see_personal_data_gets_it_masked() -> None:
    async def test(running: Running) -> None:
        await published_signed(running, 1, user="jane", ua="jane's", url="https://shop.example/", aid="shop")
        for scope, user in (("events", "***"), ("events pii", "jane")):
            (event,) = Ngrok().poll(await poll(running, f"/feeds/token={hs256(scope)}/api/requests/http"))
            assert event["uid"] == user
            check_payload(event)
            (view,) = Search().poll(await poll(running, f"/feeds/token={hs256(scope)}/good/_search?size=50&q=*"))
            assert view["user_id"] == user
        assert "jane" not in (await poll(running, f"{NGROK}?token={hs256('events')}")).decode()
        assert (await get(running.address, f"{NGROK}?token={hs256('events app_id:a')}&app_id=b")).status == 403
        assert (await get(running.address, f"{NGROK}?token={hs256('events')}&user_id=jane")).status == 403
        assert await poll(running, f"{NGROK}?token={hs256('events app_id:a')}") == b'{"requests":[]}'

    on_gateway(test, gateway_jwt_secret=SECRET, gateway_masked_fields=("page_url",))


async def published_signed(running: Running, number: int, **parameters: str) -> None:
    async with client(running, f"token={hs256('events pii')}") as live:
        await publish(running.log, [number], **parameters)
        await live.numbers(1)


def test_feeds_that_nobody_polls_any_more_are_forgotten_and_the_others_go_on() -> None:
    async def test(running: Running) -> None:
        reader = Ngrok()
        await published(running, 1)
        assert numbers(reader.poll(await poll(running))) == [1]
        for number in range(40):
            await poll(running, f"/feeds/app_id={number}/api/requests/http")
        assert reader.poll(await poll(running)) == []
        await published(running, 2)
        assert numbers(reader.poll(await poll(running))) == [2]

    on_gateway(test)


POISON = {
    "e": "ue",
    "url": "/cart",
    "page": "a\x07\u202eb\ud800",
    "dtm": "soon",
    "ue_pr": "no JSON",
    "co": json.dumps({"schema": "iglu:a/b/jsonschema/1-0-0", "data": {}}),
}


def test_a_hostile_event_is_given_byte_by_byte_as_it_should_be() -> None:
    async def test(running: Running) -> None:
        async with client(running) as live:
            await running.log.create_topics([EVENTS_TOPIC])
            await running.log.append(EVENTS_TOPIC, [numbered(7, timestamp=1_700_000_000_123, **POISON)])
            await live.numbers(1)
        payload = {
            "tv": "test-1",
            "p": "srv",
            "e": "ue",
            "eid": "7",
            "uid": "user-0",
            "url": "https://host-unknown.invalid/cart",
            "page": r"a\u0007\u202eb\ud800",
            "ue_pr": compact(
                described(
                    "unstruct_event/jsonschema/1-0-0",
                    told("ue_pr", "not JSON: Expecting value, at character 1", "no JSON"),
                )
            ),
            "co": compact(
                described(
                    "contexts/jsonschema/1-0-1", [told("co", "what it holds is not self-describing JSON", POISON["co"])]
                )
            ),
        }
        reasons = {
            "url": "not an absolute URL",
            "page": "control characters are written out",
            "dtm": "not a time in ms: soon",
            "ue_pr": "not JSON: Expecting value, at character 1",
            "co": "what it holds is not self-describing JSON",
        }
        payload["snowbus_changed"] = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raw = compact(described("payload_data/jsonschema/1-0-4", [payload]))
        request = {"method": "POST", "proto": "HTTP/1.1", "uri": "com.snowplowanalytics.snowplow/tp2"}
        request |= {"headers": {"Host": ["websocket"]}, "raw": raw}
        start = "2023-11-14T22:13:20.123Z"
        one = {"start": start, "request": request, "response": {"status_code": 200}}
        assert (await poll(running)).decode() == compact({"requests": [one]})
        (entry,) = (await get(running.address, "/v1/events.har?from=earliest")).json()["log"]["entries"]
        assert (entry["startedDateTime"], entry["request"]["postData"]["text"]) == (start, raw)
        view = {
            "v_tracker": "test-1",
            "platform": "srv",
            "event": "unstruct",
            "event_id": "7",
            "user_id": "user-0",
            "page_url": payload["url"],
            "page_title": payload["page"],
            "collector_tstamp": start,
            "user_ipaddress": "203.0.113.7",
            "snowbus_changed": "page_url: not an absolute URL; page_title: control characters are written out; "
            "dvce_created_tstamp: not a time: soon",
        }
        ids = json.loads(await poll(running, SEARCH))["hits"]["hits"][0]["_id"]
        assert (await poll(running, SEARCH)).decode() == compact({"hits": {"hits": [{"_id": ids, "_source": view}]}})

    on_gateway(test)


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def described(schema: str, data: Any) -> dict[str, Any]:
    return {"schema": f"iglu:com.snowplowanalytics.snowplow/{schema}", "data": data}


def told(parameter: str, problem: str, sent: str) -> dict[str, Any]:
    schema = "iglu:dev.snowbus/not_self_describing/jsonschema/1-0-0"
    return {"schema": schema, "data": {"parameter": parameter, "problem": problem, "sent": f"text: {sent}"}}


def test_what_a_feed_says_of_itself_is_as_its_schemas_at_the_gateway_want_it() -> None:
    async def test(running: Running) -> None:
        async with client(running) as live:
            count = await publish_hostile(running.log)
            await live.until(lambda messages: len(messages) == count)
            events = Ngrok().poll(await poll(running))
            await publish(running.log, range(MOST_EVENTS + 1))
            await live.numbers(MOST_EVENTS + 1)
        events += Ngrok().poll(await poll(running))
        found: set[str] = set()
        for event in events:
            for code in ("ue_pr", "co"):
                held = json.loads(event.get(code) or "{}").get("data", [])
                for each in held if isinstance(held, list) else [held]:
                    name = each["schema"].removeprefix("iglu:")
                    if name.startswith("dev.snowbus/"):
                        schema = compile_schema((await get(running.address, f"/schemas/{name}")).body)
                        assert schema.problems(each["data"]) == []
                        found.add(name.split("/")[1])
        assert found == {"not_self_describing", "no_event", "skipped_events"}

    on_gateway(test, iglu_resolver=str(own_config_file()))
