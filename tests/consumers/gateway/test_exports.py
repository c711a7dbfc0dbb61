"""Exports: files of what the log holds, in bounds, for those who may see it."""

import csv
import io
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.aio import run
from support.asking import Answer, get
from support.asyncapi import check_gateway_message
from support.gateway import Running, client, gateway, numbered, publish
from support.inspector import events_of_post
from support.memory_log import MemoryLog
from support.signing import SECRET, hs256

from snowbus.bus.event import EVENTS_TOPIC, FieldError
from snowbus.consumers.gateway.tables import csv_row, csv_table


def on_gateway(test: Callable[[Running], Coroutine[Any, Any, None]], **settings: Any) -> None:
    async def main() -> None:
        async with gateway(MemoryLog(), **settings) as running:
            await test(running)

    run(main())


async def ndjson(running: Running, query: str = "") -> tuple[list[int], str]:
    """The numbers in an export, and the cursor to go on from."""
    answer = await get(running.address, f"/v1/events.ndjson?{query}")
    assert answer.status == 200, answer.body
    return numbers(answer), answer.headers.get("snowbus-next", "")


def numbers(answer: Answer) -> list[int]:
    messages = [json.loads(line) for line in answer.body.splitlines()]
    for message in messages:
        check_gateway_message(message)
    return [int(message["payload"]["eid"]) for message in messages]


def test_a_har_file_holds_each_event_as_a_post_to_a_collector() -> None:
    async def test(running: Running) -> None:
        await running.log.create_topics([EVENTS_TOPIC])
        records = [
            numbered(1, timestamp=1_700_000_000_000, url="/relative"),
            numbered(2, timestamp=1_700_000_000_001)._replace(value=b"no event"),
        ]
        await running.log.append(EVENTS_TOPIC, records)
        answer = await get(running.address, "/v1/events.har?from=earliest")
        assert answer.headers["content-disposition"] == 'attachment; filename="snowbus-events.har"'
        har = answer.json()["log"]
        assert (har["version"], har["comment"]) == ("1.2", "")
        first, second = har["entries"]
        assert first["startedDateTime"] == "2023-11-14T22:13:20.000Z"
        assert (first["request"]["method"], first["request"]["headers"]) == ("POST", [])
        assert first["request"]["url"] == "https://websocket/com.snowplowanalytics.snowplow/tp2"
        assert (first["response"]["status"], first["response"]["cookies"]) == (200, [])
        (event,) = events_of_post(first["request"]["postData"]["text"])
        assert event["url"] == "https://host-unknown.invalid/relative"
        lines = (await get(running.address, "/v1/events.ndjson?from=earliest")).body.splitlines()
        checked = [json.loads(line)["validation"] for line in lines]
        assert [entry["_snowbus"] for entry in (first, second)] == [{"validation": each} for each in checked]
        events_of_post(second["request"]["postData"]["text"])

    on_gateway(test)


def test_lines_are_messages_of_the_websocket_and_their_cursors_resume() -> None:
    async def test(running: Running) -> None:
        await publish(running.log, range(30))
        answer = await get(running.address, "/v1/events.ndjson?from=earliest")
        assert sorted(numbers(answer)) == list(range(30))
        messages = [json.loads(line) for line in answer.body.splitlines()]
        async with client(running, f"from={messages[9]['cursor']}") as reader:
            assert set(await reader.numbers(20)) == {int(each["payload"]["eid"]) for each in messages[10:]}

    on_gateway(test)


def test_an_export_that_ends_before_now_says_where_to_go_on() -> None:
    async def test(running: Running) -> None:
        await publish(running.log, range(50))
        found, cursor = await ndjson(running, "from=earliest&limit=20")
        assert len(found) == 20
        while cursor:
            more, cursor = await ndjson(running, f"from={cursor}&limit=20")
            found += more
        assert sorted(found) == list(range(50))
        har = (await get(running.address, "/v1/events.har?from=earliest&limit=1")).json()
        assert har["log"]["comment"].startswith("go on with from=snowbus.events~")

    on_gateway(test)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [1, 2]),
        ("from=latest", []),
        ("from=-1", [2]),
        ("app_id=shop", [1]),
        ("from=earliest&app_id=blog&deliveries=false&policy=sample", [2]),
        ("q=nothing", []),
    ],
)
def test_it_takes_the_parameters_of_a_subscription(query: str, expected: list[int]) -> None:
    async def test(running: Running) -> None:
        await running.log.create_topics([EVENTS_TOPIC])
        for number, app_id in ((1, "shop"), (2, "blog")):
            await running.log.append(EVENTS_TOPIC, [numbered(number, timestamp=number, aid=app_id)])
        assert await ndjson(running, query) == (expected, "")

    on_gateway(test)


@pytest.mark.parametrize("query", ["limit=0", "limit=5001", "limit=a", "limit=1&limit=2", "group=a", "x=1", "from=x"])
def test_what_is_not_understood_is_refused(query: str) -> None:
    async def test(running: Running) -> None:
        answer = await get(running.address, f"/v1/events.har?{query}")
        assert answer.status == 400
        assert answer.body.startswith(query.partition("=")[0].encode())

    on_gateway(test)


def test_who_may_read_and_what_is_masked_is_as_for_a_subscription() -> None:
    async def test(running: Running) -> None:
        await publish(running.log, [1], user="jane", page="a page")
        assert (await get(running.address, "/v1/events.csv")).status == 401
        assert (await get(running.address, "/v1/events.csv", "Origin: https://evil.example")).status == 403
        for kind in ("har", "ndjson", "csv"):
            masked = await get(running.address, f"/v1/events.{kind}?token={hs256('events')}")
            assert b"a page" in masked.body
            assert b"jane" not in masked.body
            shown = await get(running.address, f"/v1/events.{kind}", f"Authorization: Bearer {hs256('events pii')}")
            assert b"jane" in shown.body

    on_gateway(test, gateway_jwt_secret=SECRET)


def test_while_the_log_is_away_there_is_none() -> None:
    async def test(running: Running) -> None:
        assert isinstance(running.log, MemoryLog)
        running.log.away = True
        answer = await get(running.address, "/v1/events.har")
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")

    on_gateway(test)


def test_a_large_export_comes_whole() -> None:
    async def test(running: Running) -> None:
        for number in range(0, 60, 10):
            await publish(running.log, range(number, number + 10), page="ü" * 50_000)
        found, cursor = await ndjson(running, "from=earliest")
        assert 30 < len(found) < 60
        more, _ = await ndjson(running, f"from={cursor}")
        assert sorted(found + more) == list(range(60))

    on_gateway(test)


def test_a_table_has_the_canonical_fields_as_columns() -> None:
    cart = {"sku": "a", "id": 12345678901234567890}
    views = [
        {"app_id": "=1+1", "user_id": "-1", "event_id": "1", "se_value": -1.5, "contexts_com_acme_cart_1": [cart]},
        {"app_id": "a,\r\n\x00b", "event_id": "2", "br_cookies": True, "page_title": None},
    ]
    errors = [FieldError("contexts[0]", "", "/sku", "an integer", '"a"'), FieldError("platform", "", "", "srv", "")]
    table = csv_table([csv_row(views[0], "invalid", errors), csv_row(views[1], "valid", [])])
    first = "collector_tstamp,app_id,platform,event,event_name,validation,errors,user_id,domain_userid,event_id,"
    assert table.decode().startswith(first + "br_cookies,contexts_com_acme_cart_1,page_title,se_value\r\n")
    one, other = csv.DictReader(io.StringIO(table.decode(), newline=""))
    assert (one["app_id"], one["user_id"], one["se_value"]) == ("'=1+1", "-1", "-1.5")
    assert one["contexts_com_acme_cart_1"] == '[{"sku":"a","id":12345678901234567890}]'
    assert one["errors"] == 'contexts[0]/sku: expected an integer, got "a"; platform: expected srv, got '
    assert (other["app_id"], other["br_cookies"], other["page_title"]) == (r"a,\r\n\u0000b", "true", "")
    assert (one["validation"], other["validation"], other["errors"]) == ("invalid", "valid", "")


@given(st.lists(st.dictionaries(st.sampled_from(["app_id", "a", "b"]), st.text() | st.integers() | st.none())))
def test_whatever_stands_in_a_table_has_as_many_cells_as_the_header(views: list[dict[str, Any]]) -> None:
    rows = list(csv.reader(io.StringIO(csv_table(views).decode(), newline="")))
    assert {len(row) for row in rows if row} <= {len(rows[0])}
