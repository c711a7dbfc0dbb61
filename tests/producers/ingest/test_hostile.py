"""Requests that no tracker sends: each has an answer that says why, in bounded time, and ingest goes on."""

import asyncio

import pytest
from support.aio import eventually, run
from support.fakes import FakeLog
from support.ingest import TP2, Ingest, payload_data, raw, serving

from snowbus.bus.envelope import decode_event
from snowbus.bus.event import BAD_TOPIC, EVENTS_TOPIC
from snowbus.bus.http_protocol import BoundedHttpProtocol
from snowbus.producers.ingest import reading

BODY = payload_data({"e": "pv", "eid": "e-1", "p": "web", "tv": "js-3"})


def post(body: bytes = BODY, *headers: str, length: int | None = None) -> bytes:
    lines = [f"POST {TP2} HTTP/1.1", "Host: x", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def events(ingest: Ingest) -> int:
    assert isinstance(ingest.log, FakeLog)
    return len(ingest.log.records[EVENTS_TOPIC])


async def still_works(ingest: Ingest) -> None:
    before = events(ingest)
    assert await ingest.post(BODY) == (200, "ok")
    assert events(ingest) == before + 1


@pytest.mark.parametrize("sent", [post(BODY[:50], length=len(BODY)), post(b"", length=len(BODY))])
def test_a_body_that_stalls_gets_408(sent: bytes) -> None:
    async def main() -> None:
        async with serving(FakeLog(), ingest_body_timeout=0.2) as ingest:
            await still_works(ingest)
            answer = await raw(ingest.address, sent)
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert b"did not arrive within 0.2 seconds" in answer
            assert events(ingest) == 1

    run(main())


def test_a_body_that_trickles_is_taken_when_it_is_there_in_time() -> None:
    async def main() -> None:
        async with serving(FakeLog()) as ingest:
            sent = post(BODY, "Connection: close")
            pieces = [sent[start : start + 20] for start in range(0, len(sent), 20)]
            assert (await raw(ingest.address, *pieces)).startswith(b"HTTP/1.1 200 ")
            assert events(ingest) == 1

    run(main())


def test_a_trailer_does_not_pass_for_a_header() -> None:
    """A proxy takes forged headers away, and writes its own; what stands behind the body it may leave as it is."""

    async def main() -> None:
        async with serving(FakeLog(), ingest_trusted_proxies=("127.0.0.1",)) as ingest:
            head = f"POST {TP2} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: 192.0.2.1\r\n"
            sent = head.encode() + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(BODY), BODY)
            answer = await raw(
                ingest.address, sent + b"0\r\nX-Forwarded-For: 198.51.100.7\r\nUser-Agent: forged\r\n\r\n"
            )
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert isinstance(ingest.log, FakeLog)
            (record,) = ingest.log.records[EVENTS_TOPIC]
            source = decode_event(record.value).source
            assert (source["ip"], source.get("user_agent")) == ("192.0.2.1", None)

    run(main())


def test_bodies_that_come_in_pieces_share_a_bound_and_whole_ones_pass_by() -> None:
    async def main() -> None:
        async with serving(FakeLog(), ingest_max_pending_bytes=1_000_000) as ingest:
            stalling = [await asyncio.open_connection(*ingest.address) for _ in range(10)]
            for _, writer in stalling:
                writer.write(post(b"x" * 150_000, length=150_001))
            answers = [asyncio.create_task(reader.read(12)) for reader, _ in stalling]
            await eventually(lambda: sum(task.done() for task in answers) >= 4)
            assert {task.result() for task in answers if task.done()} == {b"HTTP/1.1 503"}
            await still_works(ingest)
            for task in answers:
                task.cancel()
            for _, writer in stalling:
                writer.close()

    run(main())


def test_a_client_that_goes_away_in_mid_body_leaves_nothing_behind() -> None:
    async def main() -> None:
        async with serving(FakeLog()) as ingest:
            assert await raw(ingest.address, post(BODY[:50], length=len(BODY)), end=True) == b""
            await eventually(lambda: ingest.metric("snowbus_ingest_requests_total", method="POST", status="499"))
            await still_works(ingest)
            assert events(ingest) == 1

    run(main())


def test_a_large_upload_reads_its_answer_though_it_sends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with serving(FakeLog(), ingest_max_body_bytes=10_000) as ingest:
            reader, writer = await asyncio.open_connection(*ingest.address)
            writer.write(post(b"", length=50_000_000))
            for _ in range(100):
                writer.write(b"x" * 100_000)
                await writer.drain()
            assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
            assert b"connection: close" in await reader.read()  # it waits for us no longer than for a while
            writer.close()
            assert isinstance(ingest.log, FakeLog)
            [record] = ingest.log.records[BAD_TOPIC]
            assert (len(record.value), dict(record.headers)["size"]) == (65_536, b"50000000")

    monkeypatch.setattr(reading, "_LINGER_IDLE_SECONDS", 0.1)
    run(main())


@pytest.mark.parametrize(
    ("sent", "status", "reason"),
    [
        (b"nonsense\r\n\r\n", 400, b"not an HTTP request"),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400, b"not an HTTP request"),  # TLS
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, b"not an HTTP request"),
        (b"CONNECT example.org:443 HTTP/1.1\r\n\r\n", 400, b"not an HTTP request"),
        (b"GET /caf\xc3\xa9/x?e=pv HTTP/1.1\r\n\r\n", 400, b"not an HTTP request"),
        (b"POST /a/b HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400, b"not an HTTP request"),
        (b"POST /a/b HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400, b"not an HTTP request"),
        (b"POST /a/b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, b"not an HTTP request"),
        (b"GET /i?" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414, b"the URL is too long"),
        (b"GET /i?" + b"a" * 70_000, 414, b"the URL is too long"),
        (b"GET /i HTTP/1.1\r\nA: " + b"a" * 70_000 + b"\r\n\r\n", 431, b"the headers are too large"),
        (b"GET /i HTTP/1.1\r\nA: " + b"a" * 700_000, 431, b"the headers are too large"),
        (b"GET /i HTTP/1.1\r\n" + b"A: b\r\n" * 20_000 + b"\r\n", 431, b"the headers are too large"),
    ],
)
def test_what_is_not_http_or_has_too_large_a_head_gets_4xx(sent: bytes, status: int, reason: bytes) -> None:
    async def main() -> None:
        async with serving(FakeLog()) as ingest:
            answer = await raw(ingest.address, sent)
            assert answer.startswith(f"HTTP/1.1 {status} ".encode())
            assert reason in answer
            await still_works(ingest)
            assert events(ingest) == 1

    run(main())


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"OPTIONS * HTTP/1.1\r\n", 200),
        (b"TRACE /i HTTP/1.1\r\n", 405),
        (b"GET //i HTTP/1.1\r\n", 404),
        (b"GET http://host/i?e=pv HTTP/1.1\r\n", 200),
        (b"GET /i?e=pv HTTP/1.0\r\n", 200),
        (b"GET /%69?e=pv HTTP/1.1\r\n", 200),
        (b"GET /i?e=pv&page=%FF%00 HTTP/1.1\r\n", 200),
        (b"GET /%ff%00/%0d%0aSet-Cookie:x?e=pv HTTP/1.1\r\n", 200),
        (b"GET /%0d%0aSet-Cookie:x HTTP/1.1\r\n", 404),
        (b"GET /i?e=pv HTTP/1.1\r\nOrigin: \xff\xfe\r\n", 200),
        (b"GET /i?e=pv HTTP/1.1\r\nOrigin: a\tb\r\nCookie: sp=a\tb;\xff\r\nReferer: \xc3\r\n", 200),
        (b"GET /i?e=pv HTTP/1.1\r\nX-Forwarded-For: ,,,\r\nUser-Agent: " + b"u" * 60_000 + b"\r\n", 200),
        (b"GET /i?e=pv&eid=" + b"%F0" * 10_000 + b" HTTP/1.1\r\n", 200),
    ],
)
def test_odd_requests_are_answered_for_what_they_are(sent: bytes, status: int) -> None:
    async def main() -> None:
        async with serving(FakeLog(), ingest_trusted_proxies="127.0.0.0/8") as ingest:
            answer = await raw(ingest.address, sent + b"Connection: close\r\n\r\n")
            assert answer.startswith(f"HTTP/1.1 {status} ".encode())
            assert b"set-cookie:x" not in answer.partition(b"\r\n\r\n")[0].lower()
            assert events(ingest) == (b"e=pv" in sent)

    run(main())


def test_a_head_that_stalls_gets_408(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with serving(FakeLog()) as ingest:
            answer = await raw(ingest.address, b"POST /a/b HTTP/1.1\r\nHo", b"st: x\r\n")
            assert answer.startswith(b"HTTP/1.1 408 ")

    monkeypatch.setattr(BoundedHttpProtocol, "head_seconds", 0.2)
    run(main())


def test_a_connection_over_which_nothing_comes_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with serving(FakeLog()) as ingest:
            assert await raw(ingest.address, b"") == b""
            assert (await raw(ingest.address, post(), b"\r\n")).startswith(b"HTTP/1.1 200 ")

    made = BoundedHttpProtocol.connection_made

    def impatient(self: BoundedHttpProtocol, transport: asyncio.BaseTransport) -> None:
        self.timeout_keep_alive = 0.1  # type: ignore[assignment]
        made(self, transport)

    monkeypatch.setattr(BoundedHttpProtocol, "connection_made", impatient)
    run(main())


@pytest.mark.parametrize("name", ["Upgrade", "upgrade", "UPGRADE"])
def test_an_offer_to_upgrade_costs_no_event(name: str) -> None:
    async def main() -> None:
        async with serving(FakeLog()) as ingest:
            offer = post(BODY, "Connection: Upgrade, HTTP2-Settings", f"{name}: h2c", "HTTP2-Settings: AAMAAABk")
            before, after = offer[: offer.index(name.encode())], offer[offer.index(name.encode()) :]
            pieces = (offer, offer + offer, before, after, before + after[:3], after[3:-9], after[-9:])
            answers = await raw(ingest.address, *pieces, post(BODY, "Connection: close, Upgrade", f"{name}: h2c"))
            assert answers.count(b"HTTP/1.1 200 OK") == 6
            assert events(ingest) == 6

    run(main())


def test_more_events_than_may_hold_up_the_others_get_413() -> None:
    async def main() -> None:
        async with serving(FakeLog(), ingest_max_events=3) as ingest:
            assert (await ingest.post(b'[{"e":"pv"},1,{"e":"pv"}]', "/tracking"))[0] == 200
            status, told = await ingest.post(b"[1,1,1,1]", "/tracking")
            assert status == 413
            assert told == {"error": "the body holds 4 events, and this request may hold 3; send them in parts"}
            assert events(ingest) == 2

    run(main())


@pytest.mark.parametrize("path", [TP2, f"{TP2}?aid={'a' * 30_000}", f"{TP2}?{'a&' * 15_000}"])
def test_a_small_body_whose_head_would_make_it_huge_gets_413(path: str) -> None:
    """What is in the head goes on the record of each event."""

    async def main() -> None:
        async with serving(FakeLog()) as ingest:
            body = payload_data(*[{"e": "pv"}] * 7_000)
            status, told = await ingest.post(body, path, Referer="r" * 20_000)
            assert status == 413
            assert "the body holds 7,000 events, and this request may hold " in told["error"]
            assert isinstance(ingest.log, FakeLog)
            [record] = ingest.log.records[BAD_TOPIC]
            assert record.value == body
            assert events(ingest) == 0

    run(main())


def test_what_follows_a_broken_request_is_not_read_and_the_one_before_is_answered() -> None:
    async def main() -> None:
        async with serving(FakeLog()) as ingest:
            answers = await raw(ingest.address, post() + b"nonsense\r\n\r\n" + post())
            assert answers.count(b"HTTP/1.1 ") == 1
            assert answers.startswith(b"HTTP/1.1 200 ")
            assert b"connection: close" in answers
            assert events(ingest) == 1

    run(main())
