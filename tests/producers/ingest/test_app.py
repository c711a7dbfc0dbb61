"""Ingest over a real socket, on both logs: what it answers and what is on the log then."""

import asyncio
import re
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support.aio import eventually, run
from support.ingest import TP2, Ingest, all_records, payload_data, raw, serving

from snowbus.bus.envelope import event_headers
from snowbus.bus.errors import ConfigurationError
from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.log import open_log
from snowbus.bus.payload import event_key

EVENT = {"e": "pv", "eid": "e-1", "p": "web", "tv": "js-3", "aid": "shop", "uid": "u-1"}

JSON = {"Content-Type": "application/json"}
Serve = Callable[..., Any]


@pytest.fixture
def serve(log_url: str) -> Serve:
    """Ingest on a log of its own: `async with serve(setting=value) as ingest`."""

    @asynccontextmanager
    async def start(**settings: Any) -> AsyncIterator[Ingest]:
        async with await open_log(log_url) as log, serving(log, **settings) as ingest:
            yield ingest

    return start


@pytest.fixture
def serve_embedded(sqlite_url: str) -> Serve:
    """The same where the kind of log makes no difference."""

    @asynccontextmanager
    async def start(**settings: Any) -> AsyncIterator[Ingest]:
        async with await open_log(sqlite_url) as log, serving(log, **settings) as ingest:
            yield ingest

    return start


# Events


def test_a_posted_event_is_on_the_log_when_the_answer_comes(serve: Serve) -> None:
    async def main() -> None:
        async with serve() as ingest:
            before = time.time_ns() // 1_000_000
            status, text = await ingest.post(payload_data(EVENT), User_Agent="test/1", Referer="https://shop/")
            assert (status, text) == (200, "ok")
            [event] = await ingest.events()
            assert event.event_id == "e-1"
            assert before <= event.ingest_tstamp <= time.time_ns() // 1_000_000
            assert await ingest.payloads() == [EVENT]
            assert re.fullmatch(r"snowbus-ingest/.+@.+", event.producer)
            host, port = ingest.address
            assert {**event.source, "network_userid": ""} == {
                "ip": "127.0.0.1",
                "user_agent": "test/1",
                "referer": "https://shop/",
                "network_userid": "",
                "method": "POST",
                "path": TP2,
                "content_type": "application/json",
                "host": f"{host}:{port}",
            }
            [record] = await all_records(ingest.log, EVENTS_TOPIC)
            assert record.key == event_key(EVENT)
            assert record.headers == event_headers(event, EVENT)
            assert await ingest.bad() == []

    run(main())


def test_every_way_in_leads_to_the_log(serve: Serve) -> None:
    async def main() -> None:
        async with serve() as ingest:
            query = "e=pv&p=web&tv=t&page=a+b%20%C3%A9&eid="
            for number, path in enumerate(["/i", "/ice.png", "/com.acme/v1", "/tracking", TP2]):
                async with ingest.http.get(f"{ingest.url}{path}?{query}get{number}") as answer:
                    assert answer.status == 200
                    assert answer.content_type == "image/gif"
                    assert (await answer.read())[:6] == b"GIF89a"
                    assert answer.headers["Cache-Control"] == "no-cache, no-store, must-revalidate"
            async with ingest.http.head(f"{ingest.url}/i?{query}head") as answer:
                assert answer.status == 200
                assert await answer.read() == b""
            for number, path in enumerate([TP2, "/com.acme/v1", "/tracking"]):
                assert await ingest.post(payload_data({**EVENT, "eid": f"post{number}"}), path) == (200, "ok")
            plain = b'{"event":"page_view","event_id":"plain"}'
            assert await ingest.post(plain, "/tracking") == (200, "ok")
            assert await ingest.post(b'[{"e":"pp","eid":"array1"},{"e":"pp","eid":"array2"}]', "/tracking") == (
                200,
                "ok",
            )
            payloads = {payload["eid"]: payload for payload in await ingest.payloads()}
            assert sorted(payloads) == sorted(
                [*(f"get{n}" for n in range(5)), "head", *(f"post{n}" for n in range(3)), "plain", "array1", "array2"]
            )
            assert payloads["get0"] == {"e": "pv", "p": "web", "tv": "t", "page": "a b é", "eid": "get0"}

    run(main())


def test_a_batch_keeps_its_order_and_the_query_string_wins(serve: Serve) -> None:
    async def main() -> None:
        async with serve() as ingest:
            batch = [{**EVENT, "eid": str(number)} for number in range(500)]
            assert await ingest.post(payload_data(*batch), TP2 + "?aid=kiosk&cs=x") == (200, "ok")
            assert await ingest.payloads() == [{**event, "aid": "kiosk", "cs": "x"} for event in batch]
            assert ingest.metric("snowbus_ingest_events_total") == 500

    run(main())


def test_what_a_tracker_leaves_out_is_filled_in_and_the_rest_is_untouched(serve_embedded: Serve) -> None:
    async def main() -> None:
        async with serve_embedded() as ingest:
            surrogates = b'{"e":"pv","page":"\\ud83d","nuid":"n","tnuid":"t"}'
            body = payload_data(1).replace(b"[1]", b"[" + surrogates + b"]")
            assert await ingest.post(body) == (200, "ok")
            [event] = await ingest.events()
            [payload] = await ingest.payloads()
            assert str(uuid.UUID(payload["eid"])) == event.event_id
            assert payload["tv"].startswith("snowbus-")
            assert {code: payload[code] for code in ("e", "page", "p", "nuid", "tnuid")} == {
                "e": "pv",
                "page": "\ud83d",
                "p": "srv",
                "nuid": "n",
                "tnuid": "t",
            }

    run(main())


# What is not understood


def test_of_a_partly_understood_batch_the_good_events_are_taken_and_the_others_explained(serve: Serve) -> None:
    async def main() -> None:
        async with serve() as ingest:
            status, told = await ingest.post(payload_data({"e": "xx"}, EVENT, 7), TP2 + "?cs=x", User_Agent="test/1")
            assert status == 200
            assert told["accepted"] == 1
            assert told["refused"] == 2
            assert told["reasons"][0].startswith("data[0]: e: 'xx' is unknown")
            assert told["reasons"][1] == "data[2]: an event must be a JSON object, not a number"
            assert [event.event_id for event in await ingest.events()] == ["e-1"]
            bad = sorted(await ingest.bad(), key=lambda record: record[1]["reason"])
            assert [value for value, _ in bad] == [b'{"e":"xx"}', b"7"]
            assert bad[1][1]["reason"] == told["reasons"][1]
            assert bad[1][1]["user_agent"] == "test/1"
            assert bad[1][1]["query"] == "cs=x"
            assert bad[1][1]["ip"] == "127.0.0.1"
            assert abs(int(bad[1][1]["received"]) - time.time() * 1000) < 60_000
            assert ingest.metric("snowbus_ingest_refused_total", reason="not_an_event") == 2

    run(main())


@pytest.mark.parametrize(
    ("body", "path", "content_type", "reason"),
    [
        (b'{"not', TP2, "application/json", "not JSON"),
        (payload_data({"e": "xx"}, {}), TP2, "application/json", "data[0]: e: 'xx' is unknown"),
        (b"e=pv", "/com.acme/v1", "application/x-www-form-urlencoded", "content type"),
        (b'{"what":1}', "/tracking", "application/json", ""),
        (b"", TP2, "application/json", "the body is empty"),
    ],
)
def test_a_body_of_which_nothing_is_understood_is_kept_whole(
    serve_embedded: Serve, body: bytes, path: str, content_type: str, reason: str
) -> None:
    async def main() -> None:
        async with serve_embedded() as ingest:
            status, told = await ingest.post(body, path, Content_Type=content_type)
            assert status == 400
            assert told["accepted"] == 0
            assert reason in told["reasons"][0]
            [(value, headers)] = await ingest.bad()
            assert value == body
            assert reason in headers["reason"]
            assert (headers["method"], headers["path"], headers["content_type"]) == ("POST", path, content_type)
            assert headers["truncated"] == "false"
            assert await ingest.events() == []

    run(main())


def test_a_query_string_that_is_not_understood_is_kept(serve_embedded: Serve) -> None:
    async def main() -> None:
        async with serve_embedded() as ingest:
            async with ingest.http.get(ingest.url + "/i?e=xx&page=a%20b") as answer:
                assert answer.status == 400
                assert "e: 'xx' is unknown" in (await answer.json())["reasons"][0]
            [(value, headers)] = await ingest.bad()
            assert value in (b"e=xx&page=a%20b", b"e=xx&page=a+b")
            assert headers["method"] == "GET"
            assert headers["path"] == "/i"

    run(main())


def test_more_refused_events_than_can_be_told_apart_share_one_record(serve_embedded: Serve) -> None:
    async def main() -> None:
        async with serve_embedded() as ingest:
            body = payload_data(EVENT, *range(5_000))
            status, told = await ingest.post(body)
            assert (status, told["refused"], len(told["reasons"])) == (200, 5_000, 10)
            [(value, headers)] = await ingest.bad()
            assert value == body
            assert headers["reason"].endswith("and 4997 more")

    run(main())


# Sizes


def test_a_body_over_the_limit_is_refused_and_its_beginning_kept(serve: Serve) -> None:
    async def main() -> None:
        async with serve(ingest_max_body_bytes=100_000) as ingest:
            status, told = await ingest.post(b"x" * 100_001)
            assert status == 413
            assert "100000 bytes" in told["error"]
            [(value, headers)] = await ingest.bad()
            assert value == b"x" * 65_536
            assert headers["truncated"] == "true"
            assert headers["size"] == "100001"
            assert headers["reason"] == "the body is larger than 100000 bytes"
            assert await ingest.post(payload_data({**EVENT, "page": "x" * 99_000})) == (200, "ok")
            assert ingest.metric("snowbus_ingest_refused_total", reason="too_large") == 1

    run(main())


def test_a_chunked_body_over_the_limit_is_refused_while_it_comes(serve_embedded: Serve) -> None:
    async def main() -> None:
        async def endless() -> AsyncIterator[bytes]:
            for _ in range(100):
                yield b"y" * 10_000

        async with serve_embedded(ingest_max_body_bytes=100_000) as ingest:
            assert (await ingest.post(endless()))[0] == 413
            [(value, headers)] = await ingest.bad()
            assert value == b"y" * 65_536
            assert headers["truncated"] == "true"

    run(main())


def test_a_body_that_is_announced_too_large_is_not_asked_for(serve_embedded: Serve) -> None:
    async def main() -> None:
        async with serve_embedded(ingest_max_body_bytes=1_000) as ingest:
            head = (f"POST {TP2} HTTP/1.1", "Connection: close", "Expect: 100-continue", "Content-Length: 1001", "", "")
            answer = await raw(ingest.address, "\r\n".join(head).encode())
            assert answer.startswith(b"HTTP/1.1 413 ")
            [(value, headers)] = await ingest.bad()
            assert value == b""
            assert headers["size"] == "1001"

    run(main())


def test_an_event_too_large_for_the_log_is_refused_alone(serve_embedded: Serve) -> None:
    async def main() -> None:
        async with serve_embedded(max_record_bytes=50_000) as ingest:
            large = {**EVENT, "page": "x" * 60_000}
            status, told = await ingest.post(payload_data(large, EVENT))
            assert (status, told["accepted"], told["refused"]) == (200, 1, 1)
            status, told = await ingest.post(payload_data(large))
            assert status == 413
            assert "larger than the 50000 that topic snowbus.events takes" in told["error"]
            assert len(await ingest.events()) == 1
            for value, headers in await ingest.bad():
                assert 40_000 < len(value) < 50_000
                assert headers["truncated"] == "true"

    run(main())


# Who sent it


def test_the_cookie_is_minted_then_kept(serve_embedded: Serve) -> None:
    async def main() -> None:
        async with serve_embedded() as ingest:
            async with ingest.http.post(ingest.url + TP2, data=payload_data(EVENT), headers=JSON) as answer:
                minted = answer.cookies["sp"]
                assert str(uuid.UUID(minted.value)) == minted.value
                assert (minted["max-age"], minted["path"], minted["samesite"]) == ("31536000", "/", "None")
                assert minted["secure"]
                assert minted["httponly"]
            async with ingest.http.get(ingest.url + "/i?e=pv", headers={"Cookie": f"x=1; sp={minted.value}"}) as answer:
                assert answer.cookies["sp"].value == minted.value
            async with ingest.http.get(ingest.url + "/i?e=pv&nuid=mine") as answer:
                assert answer.cookies["sp"].value == "mine"
            async with ingest.http.get(ingest.url + "/i?e=xx") as answer:
                assert "Set-Cookie" not in answer.headers
            ids = [event.source["network_userid"] for event in await ingest.events()]
            assert sorted(ids) == sorted([minted.value, minted.value, "mine"])

    run(main())


def test_the_cookie_has_the_name_domain_and_age_of_the_settings_or_is_not_set(serve_embedded: Serve) -> None:
    async def main() -> None:
        async with (
            serve_embedded(
                ingest_cookie_name="me", ingest_cookie_fallback_domain="shop.example", ingest_cookie_days=2
            ) as ingest,
            ingest.http.get(ingest.url + "/i?e=pv") as answer,
        ):
            assert answer.headers["Set-Cookie"].startswith("me=")
            assert "; Domain=shop.example; Max-Age=172800; Path=/; " in answer.headers["Set-Cookie"]
        async with serve_embedded(ingest_cookie_name="") as ingest:
            async with ingest.http.get(ingest.url + "/i?e=pv") as answer:
                assert "Set-Cookie" not in answer.headers
            assert sorted("network_userid" in event.source for event in await ingest.events()) == [False, True]

    run(main())


def test_sp_anonymous_leaves_no_cookie_no_address_and_no_network_user_id(serve: Serve) -> None:
    async def main() -> None:
        async with serve() as ingest:
            headers = {**JSON, "SP-Anonymous": "*", "Cookie": "sp=known", "Referer": "https://shop/"}
            async with ingest.http.post(ingest.url + TP2, data=payload_data(EVENT), headers=headers) as answer:
                assert answer.status == 200
                assert "Set-Cookie" not in answer.headers
            assert (await ingest.post(b"{", SP_Anonymous="*"))[0] == 400
            [event] = await ingest.events()
            assert not {"ip", "network_userid"} & set(event.source)
            assert event.source["referer"] == "https://shop/"
            [(_, bad)] = await ingest.bad()
            assert not {"ip", "network_userid"} & set(bad)

    run(main())


def test_x_forwarded_for_counts_behind_a_trusted_proxy_only(serve_embedded: Serve) -> None:
    async def main() -> None:
        for proxies in ("127.0.0.0/8", ""):
            async with serve_embedded(ingest_trusted_proxies=proxies) as ingest:
                await ingest.post(payload_data(EVENT), X_Forwarded_For="9.9.9.9, 198.51.100.1")
                ips = sorted(event.source["ip"] for event in await ingest.events())
        assert ips == ["127.0.0.1", "198.51.100.1"]

    run(main())


# Pages on other origins


def test_every_answer_lets_the_asking_page_read_it(serve_embedded: Serve) -> None:
    async def main() -> None:
        async with serve_embedded(ingest_max_body_bytes=1_000) as ingest:
            origin = {**JSON, "Origin": "https://shop.example"}
            answers = [
                ("POST", TP2, payload_data(EVENT), 200),
                ("POST", TP2, b"{", 400),
                ("POST", TP2, b"x" * 1_001, 413),
                ("GET", "/i?e=pv", None, 200),
                ("GET", "/nothing", None, 404),
                ("DELETE", "/i", None, 405),
                ("OPTIONS", "/any/path/at/all", None, 200),
                ("GET", "/health", None, 200),
            ]
            for method, path, body, status in answers:
                async with ingest.http.request(method, ingest.url + path, data=body, headers=origin) as answer:
                    assert answer.status == status, path
                    assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
                    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
                    assert answer.headers["Vary"] == "Origin"
            async with ingest.http.get(ingest.url + "/health") as answer:
                assert "Access-Control-Allow-Origin" not in answer.headers

    run(main())


def test_a_preflight_allows_what_trackers_send(serve_embedded: Serve) -> None:
    async def main() -> None:
        async with serve_embedded() as ingest:
            headers = {
                "Origin": "https://shop.example",
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "content-type,sp-anonymous",
            }
            async with ingest.http.options(ingest.url + TP2, headers=headers) as answer:
                assert answer.status == 200
                assert answer.headers["Access-Control-Allow-Methods"] == "GET, HEAD, POST, OPTIONS"
                assert answer.headers["Access-Control-Allow-Headers"] == "Content-Type, SP-Anonymous"
                assert answer.headers["Access-Control-Max-Age"] == "3600"

    run(main())


# The rest


def test_other_paths_and_methods_are_told_so(serve_embedded: Serve) -> None:
    async def main() -> None:
        async with serve_embedded() as ingest:
            async with ingest.http.get(ingest.url + "/nothing") as answer:
                assert answer.status == 404
                assert TP2 in (await answer.json())["error"]
            async with ingest.http.put(ingest.url + "/tracking") as answer:
                assert answer.status == 405
                assert answer.headers["Allow"] == "GET, HEAD, POST, OPTIONS"
            async with ingest.http.get(ingest.url + "/r/tp2?u=https%3A%2F%2Fevil.example") as answer:
                assert answer.status == 404
                assert (await answer.json())["error"] == "redirects disabled"
            async with ingest.http.get(ingest.url + "/robots.txt") as answer:
                assert await answer.text() == "User-agent: *\nDisallow: /\n"
            await eventually(ingest.is_ready)
            assert await ingest.bad() == []

    run(main())


def test_it_says_that_it_is_alive_and_ready_and_what_it_counted(serve: Serve) -> None:
    async def main() -> None:
        async with serve() as ingest:
            await ingest.post(payload_data(EVENT))
            for path, text in (("/health", "alive\n"), ("/ready", "ready\n")):
                async with ingest.http.get(ingest.url + path) as answer:
                    assert (answer.status, await answer.text()) == (200, text)
            async with ingest.http.get(ingest.url + "/metrics") as answer:
                metrics = await answer.text()
            assert 'snowbus_ingest_requests_total{method="POST",status="200"} 1.0' in metrics
            assert "snowbus_ingest_events_total 1.0" in metrics
            assert "snowbus_ingest_seconds_count 3.0" in metrics
            assert "snowbus_ingest_pending 0.0" in metrics

    run(main())


def test_many_requests_at_once_are_each_answered_for_their_own_event(serve: Serve) -> None:
    async def main() -> None:
        async with serve() as ingest:
            posts = [ingest.post(payload_data({**EVENT, "eid": str(n), "uid": str(n % 7)})) for n in range(300)]
            assert set(await asyncio.gather(*posts)) == {(200, "ok")}
            assert sorted(int(event.event_id) for event in await ingest.events()) == list(range(300))

    run(main())


def test_one_connection_serves_many_requests_also_when_they_come_at_once_or_in_pieces(serve_embedded: Serve) -> None:
    async def main() -> None:
        async with serve_embedded() as ingest:
            body = payload_data(EVENT)
            request = f"POST {TP2} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
            chunked = f"POST {TP2} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{len(body):x}\r\n".encode()
            chunked += body + b"\r\n0\r\n\r\n"
            last = request.replace(b"Host: x", b"Connection: close")
            answers = await raw(ingest.address, request * 3, request[:50], request[50:-9], request[-9:], chunked, last)
            assert answers.count(b"HTTP/1.1 200 OK") == 6
            assert len(await ingest.events()) == 6

    run(main())


def test_the_address_is_refused_when_it_cannot_be_listened_on(serve_embedded: Serve) -> None:
    async def main() -> None:
        async with serve_embedded() as ingest:
            host, port = ingest.address
            with pytest.raises(ConfigurationError, match="cannot listen on"):
                async with serve_embedded(ingest_listen=f"{host}:{port}"):
                    pass

    run(main())
