"""Ingest as its settings have it, over a real socket: own paths, redirects, packed bodies, API keys, origins, IPv6."""

import gzip
import json
from pathlib import Path

import pytest
from support.aio import run
from support.fakes import FakeLog
from support.ingest import TP2, Ingest, payload_data, serving
from support.snowbus import snowbus

from snowbus.bus.envelope import decode_event
from snowbus.bus.event import BAD_TOPIC, EVENTS_TOPIC, Event

EVENT = {"e": "pv", "eid": "e-1", "p": "web", "tv": "js-3"}
JSON = {"Content-Type": "application/json"}


def events(ingest: Ingest) -> list[Event]:
    assert isinstance(ingest.log, FakeLog)
    return [decode_event(record.value) for record in ingest.log.records[EVENTS_TOPIC]]


def bad(ingest: Ingest) -> list[tuple[bytes, str]]:
    """The value of each record on `snowbus.bad`, and why it is there."""
    assert isinstance(ingest.log, FakeLog)
    return [(record.value, dict(record.headers)["reason"].decode()) for record in ingest.log.records[BAD_TOPIC]]


def test_a_path_of_ones_own_is_the_collectors_in_every_way() -> None:
    async def main() -> None:
        paths = f"/com.acme/track={TP2},/com.acme/go=/r/tp2"
        async with serving(FakeLog(), ingest_paths=paths, ingest_redirect_domains="shop.example") as ingest:
            assert await ingest.post(payload_data(EVENT), "/com.acme/track") == (200, "ok")
            async with ingest.http.get(ingest.url + "/com.acme/track?e=pv") as answer:
                assert answer.content_type == "image/gif"
            go = ingest.url + "/com.acme/go?u=https%3A%2F%2Fshop.example%2F"
            async with ingest.http.get(go, allow_redirects=False) as answer:
                assert answer.status == 302
            assert [event.source["path"] for event in events(ingest)] == [TP2, TP2, "/r/tp2"]

    run(main())


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_click_is_kept_and_led_on(method: str) -> None:
    async def main() -> None:
        async with serving(FakeLog(), ingest_redirect_domains="shop.example") as ingest:
            url = ingest.url + "/r/tp2?aid=mail&nuid=me&u=https%3A%2F%2Fshop.example%2Fa"
            async with ingest.http.request(method, url, allow_redirects=False) as answer:
                assert answer.status == 302
                assert answer.headers["Location"] == "https://shop.example/a"
                assert "no-store" in answer.headers["Cache-Control"]
                assert answer.cookies["sp"].value == "me"
            [event] = events(ingest)
            assert json.loads(event.payload)["aid"] == "mail"
            url = ingest.url + "/r/tp2?e=pv&u=https%3A%2F%2Fevil.example%2Fa"
            async with ingest.http.request(method, url, allow_redirects=False) as answer:
                assert answer.status == 400
                assert "Location" not in answer.headers
            [(_, reason)] = bad(ingest)
            assert reason == "u: leads to a host that is not one of the redirect domains"
            assert len(events(ingest)) == 1

    run(main())


def test_a_packed_body_is_taken_and_one_that_is_not_is_kept_as_it_came() -> None:
    async def main() -> None:
        async with serving(FakeLog(), ingest_max_body_bytes=100_000) as ingest:
            packed = gzip.compress(payload_data(*([EVENT] * 500)))
            assert await ingest.post(packed, Content_Encoding="gzip") == (200, "ok")
            assert len(events(ingest)) == 500
            status, told = await ingest.post(packed[:-1], Content_Encoding="gzip")
            assert status == 400
            assert told["reasons"] == ["the body is not gzip: it ends too early"]
            status, told = await ingest.post(gzip.compress(b"0" * 50_000_000), Content_Encoding="gzip")
            assert status == 413
            assert bad(ingest) == [
                (packed[:-1], "the body is not gzip: it ends too early"),
                (b"0" * 65_536, "the body is larger than 100000 bytes"),
            ]
            assert ingest.metric("snowbus_ingest_refused_total", reason="content_encoding") == 1

    run(main())


def test_with_keys_only_who_has_one_may_send_and_no_key_gets_on_the_log(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("shop s3cret\napp 0ther 2\n")

    async def main() -> None:
        async with serving(FakeLog(), ingest_api_keys_file=str(file), ingest_redirect_domains="a.example") as ingest:
            for path in (TP2, "/tracking", "/i?e=pv", "/r/tp2?u=https://a.example"):
                status, _ = await ingest.post(payload_data(EVENT), path)
                assert status == (405 if path.startswith("/i") else 401), path
            async with ingest.http.get(ingest.url + "/i?e=pv", headers={"X-API-Key": "guess"}) as answer:
                assert answer.status == 401
                assert answer.headers["WWW-Authenticate"] == 'Bearer realm="snowbus"'
            assert (await ingest.post(payload_data(EVENT), TP2, Authorization="Bearer s3cret"))[0] == 200
            assert (await ingest.post(payload_data(EVENT), TP2 + "?api_key=s3cret"))[0] == 200
            assert (await ingest.post(payload_data(EVENT, *range(200)), TP2, X_API_Key="0ther"))[0] == 200
            async with ingest.http.post(ingest.url + TP2, data=b"{}", headers={**JSON, "X-API-Key": "0ther"}) as answer:
                assert answer.status == 429
                assert 50 < int(answer.headers["Retry-After"]) <= 100
                assert (await answer.json())["error"] == "the key 'app' may send 2 events a second"
            assert [event.source["api_key"] for event in events(ingest)] == ["shop", "shop", "app"]
            assert isinstance(ingest.log, FakeLog)
            assert b"s3cret" not in repr(ingest.log.records).encode()
            async with ingest.http.options(ingest.url + TP2) as answer:
                assert answer.headers["Access-Control-Allow-Headers"].endswith("SP-Anonymous, Authorization, X-API-Key")
            async with ingest.http.get(ingest.url + "/health") as answer:
                assert answer.status == 200

    run(main())


def test_only_pages_of_the_origins_that_are_named_may_read_answers() -> None:
    async def main() -> None:
        async with serving(FakeLog(), ingest_allowed_origins="https://shop.example,https://m.example:8443/") as ingest:
            for origin, allowed in (
                ("https://shop.example", True),
                ("https://M.example:8443", True),
                ("https://evil.example", False),
                ("https://shop.example.evil", False),
                ("http://shop.example", False),
                ("null", False),
            ):
                async with ingest.http.options(ingest.url + TP2, headers={"Origin": origin}) as answer:
                    assert answer.headers.get("Access-Control-Allow-Origin") == (origin if allowed else None)
                    assert answer.headers["Vary"] == "Origin"

    run(main())


def test_it_listens_on_ipv6_and_senders_have_addresses_of_it() -> None:
    async def main() -> None:
        async with serving(FakeLog(), ingest_listen="[::1]:0") as ingest:
            assert ingest.url.startswith("http://[::1]:")
            assert await ingest.post(payload_data(EVENT)) == (200, "ok")
            assert events(ingest)[0].source["ip"] == "::1"

    run(main())


def test_the_collectors_question_for_its_sinks_is_answered() -> None:
    async def main() -> None:
        async with serving(FakeLog()) as ingest, ingest.http.get(ingest.url + "/sink-health") as answer:
            assert answer.status == 200

    run(main())


def test_a_file_of_keys_that_is_not_there_is_told_at_the_start(tmp_path: Path) -> None:
    told = snowbus("ingest", "--api-keys-file", "nowhere", cwd=tmp_path)
    assert told.returncode == 3
    assert "nowhere cannot be read: No such file or directory" in told.stderr
