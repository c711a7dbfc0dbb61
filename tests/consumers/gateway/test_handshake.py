"""What the gateway's port answers: handshakes, the page, those who run it, and everybody else."""

import asyncio
import contextlib
import json
import logging
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop
from support.aio import eventually, run
from support.gateway import Client, Running, client, gateway, publish
from support.memory_log import MemoryLog
from support.raw_websocket import CLOSE, PING, PONG, TEXT, Answer, Frame, frame, raw_websocket, upgrade
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from snowbus.bus.errors import ConfigurationError
from snowbus.bus.event import EVENTS_TOPIC
from snowbus.consumers.gateway import wire

PAGE_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "


async def ask(running: Running, text: str | bytes) -> tuple[int, dict[str, str], bytes]:
    """Send raw bytes; returns the status, headers and body of the answer."""
    host, _, port = running.address.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    writer.write(text.encode() if isinstance(text, str) else text)
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split()[1]) if first else 0, headers, body


def get(path: str, *headers: str, method: str = "GET") -> str:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", ""])


def on_gateway(test: Callable[[Running], Coroutine[Any, Any, None]], **settings: Any) -> None:
    async def main() -> None:
        async with gateway(MemoryLog(), **settings) as running:
            await test(running)

    run(main())


def test_the_page_and_its_files_are_served_with_a_strict_policy() -> None:
    async def test(running: Running) -> None:
        status, headers, body = await ask(running, get("/"))
        assert status == 200
        assert headers["content-type"] == "text/html; charset=utf-8"
        assert headers["content-length"] == str(len(body))
        assert headers["content-security-policy"].startswith(PAGE_POLICY)
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-cache"
        again = await ask(running, get("/", f"If-None-Match: {headers['etag']}"))
        assert (again[0], again[2]) == (304, b"")
        assert (await ask(running, get("/index.html")))[2] == body
        for path, content_type in (("/main.js", "text/javascript"), ("/style.css", "text/css")):
            status, headers, _ = await ask(running, get(path))
            assert status == 200
            assert headers["content-type"] == f"{content_type}; charset=utf-8"
        status, headers, body = await ask(running, get("/", method="HEAD"))
        assert (status, body) == (200, b"")
        assert int(headers["content-length"]) > 0

    on_gateway(test)


@pytest.mark.parametrize(
    "path", ["/nothing", "/../server.py", "/%2e%2e/server.py", "//", "/page/", "/v1", "/v1/events/"]
)
def test_nothing_else_is_there(path: str) -> None:
    async def test(running: Running) -> None:
        status, headers, body = await ask(running, get(path))
        assert status == 404
        assert headers["x-content-type-options"] == "nosniff"
        assert b"/v1/events" in body

    on_gateway(test)


def test_those_who_run_it_are_answered() -> None:
    async def test(running: Running) -> None:
        assert (await ask(running, get("/health")))[0] == 200
        assert (await ask(running, get("/ready")))[0] == 200
        async with client(running):
            status, headers, body = await ask(running, get("/metrics"))
        assert status == 200
        assert headers["content-type"].startswith("text/plain")
        assert b"snowbus_gateway_connections 1.0" in body

    on_gateway(test)


def test_events_without_a_websocket_say_what_is_needed_or_what_is_wrong() -> None:
    async def test(running: Running) -> None:
        status, headers, body = await ask(running, get("/v1/events"))
        assert (status, headers["upgrade"]) == (426, "websocket")
        assert b"ws://" in body
        assert (await ask(running, get("/v1/events?color=red")))[0] == 400

    on_gateway(test)


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello", 400),
        ("POST / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        ("DELETE /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        ("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\n\r\n", 400),
        ("hello\r\n", 400),
        ("GET / HTTP/1.1\nHost: localhost\n\n", 400),
        ("\x16\x03\x01\x02\x00\x01\x00\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nbroken header\r\n\r\n", 400),
        (f"GET /{'x' * 10_000} HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (f"GET / HTTP/1.1\r\nHost: localhost\r\nX: {'x' * 10_000}\r\n\r\n", 431),
        ("GET http://localhost/health HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        ("GET /v1/events?[ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (get("/v1/events", "Upgrade: websocket", "Connection: Upgrade"), 400),
        (get("/v1/events", "Upgrade: websocket", "Upgrade: websocket", "Connection: Upgrade"), 426),
        (get("/", "Host: localhost"), 400),
    ],
)
def test_whatever_else_is_asked_is_refused_with_a_reason_and_no_traceback(
    request_text: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(running: Running) -> None:
        found, _, body = await ask(running, request_text.encode("latin-1"))
        assert found == status
        assert body
        assert (await ask(running, get("/health")))[0] == 200

    with caplog.at_level(logging.INFO):
        on_gateway(test)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def early(running: Running, path: str, more: bytes) -> tuple[Answer | None, Frame | None]:
    """What a client gets that sends more without waiting for the answer: that, and the first frame besides messages."""
    async with raw_websocket(running.address) as socket:
        await socket.send(upgrade(path) + more)
        answer = await socket.answer()
        came = await socket.frame()
        while came is not None and came.opcode == TEXT:
            came = await socket.frame()
        return answer, came


def test_what_follows_a_request_at_once_comes_after_its_answer(caplog: pytest.LogCaptureFixture) -> None:
    async def test(running: Running) -> None:
        for more in (b"hello", b"\x00", upgrade("/"), frame(PING) + frame(CLOSE)):
            answer, came = await early(running, "/nothing", more)
            assert answer is not None
            assert (answer.status, came) == (404, None)
        answer, came = await early(running, "/v1/events", frame(PING, b"hi"))
        assert answer is not None
        assert (answer.status, came) == (101, Frame(PONG, b"hi", rsv1=False))
        answer, came = await early(running, "/v1/events", b"hello")
        assert answer is not None
        assert came is not None
        assert (answer.status, came.close_code) == (101, 1002)

    on_gateway(test)
    assert caplog.records == []


def test_who_tries_tls_does_not_wait_for_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    async def test(running: Running) -> None:
        with pytest.raises(ssl.SSLError):
            async with asyncio.timeout(2):
                await connect(running.url().replace("ws://", "wss://"), ssl=ssl.create_default_context())

    on_gateway(test)
    assert caplog.records == []


@pytest.mark.parametrize("said", ["", "GET / HT", "GET / HTTP/1.1\r\nHost: localhost\r\n"])
def test_a_request_that_does_not_end_is_answered_with_that(
    said: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(running: Running) -> None:
        status, _, body = await ask(running, said)
        assert (status, body) == (408, b"the request did not end in time\n")

    monkeypatch.setattr(wire, "REQUEST_SECONDS", 0.2)
    on_gateway(test)
    assert caplog.records == []


def test_a_connection_that_says_nothing_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def test(running: Running) -> None:
        host, _, port = running.address.removeprefix("http://").rpartition(":")
        for said in (b"", b"GET / HT"):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(said)
            writer.close()
        async with client(running) as reader:
            assert (await reader.next())["type"] == "heartbeat"

    on_gateway(test)
    assert caplog.records == []


async def refused(running: Running, query: str = "", **options: Any) -> tuple[int, str]:
    """The status and body with which a handshake is refused."""
    with pytest.raises(InvalidStatus) as caught:
        async with connect(running.url(query), **options):
            pass
    return caught.value.response.status_code, (caught.value.response.body or b"").decode()


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("from=yesterday", "from: 'yesterday' is none of latest, earliest"),
        ("from=-0", "from: -0 is not between"),
        ("color=red", "color: unknown; parameters are from, deliveries, "),
        ("event=pv", "event: 'pv' is the tracker protocol's code; the event is called page_view"),
        ("topic=snowbus.bad", "topic: unknown"),
        ("q=%ff", "query: is not UTF-8"),
    ],
)
def test_bad_parameters_are_refused_at_the_handshake(query: str, said: str) -> None:
    async def test(running: Running) -> None:
        status, body = await refused(running, query)
        assert status == 400
        assert body.startswith(said)
        assert running.sample("snowbus_gateway_refused_total", status="400") == 1

    on_gateway(test)


def test_tokens_are_asked_for_when_there_are_any_but_not_for_the_page() -> None:
    async def test(running: Running) -> None:
        status, body = await refused(running)
        assert (status, body.partition(";")[0]) == (401, "token: is missing")
        status, body = await refused(running, "token=wrong")
        assert (status, body.partition(";")[0]) == (401, "token: not one of ours")
        async with client(running, "token=two&app_id=shop") as reader:
            assert reader.hello["subscription"]["filters"] == {"app_id": ["shop"]}
        async with client(running, additional_headers={"Authorization": "Bearer one"}):
            pass
        for path in ("/", "/style.css", "/health"):
            assert (await ask(running, get(path)))[0] == 200

    on_gateway(test, gateway_tokens="one, two")


def test_tokens_and_query_strings_are_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def test(running: Running) -> None:
        await refused(running, "token=wrong-secret&app_id=private")
        async with client(running, "token=true-secret&app_id=private"):
            pass
        await ask(running, b"GET /v1/events?token=true-secret HTTP/1.1\r\nbroken\r\n\r\n")

    with caplog.at_level(logging.DEBUG):
        on_gateway(test, gateway_tokens="true-secret")
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("websockets.client")]
    assert not [line for line in ours if "secret" in line or "private" in line]


def test_pages_of_other_sites_and_foreign_names_are_refused() -> None:
    async def test(running: Running) -> None:
        own = running.address
        async with client(running, origin=own):
            pass
        async with client(running, origin="https://tools.example"):
            pass
        assert (await refused(running, origin="https://evil.example"))[0] == 403
        assert (await refused(running, origin="null"))[0] == 403
        rebound = get("/").replace("localhost", "evil.example")
        assert (await ask(running, rebound))[0] == 403

    on_gateway(test, gateway_allowed_origins="https://tools.example")


def test_there_are_only_as_many_readers_as_may_be() -> None:
    async def test(running: Running) -> None:
        async with client(running), client(running):
            status, body = await refused(running)
            assert status == 503
            assert "readers" in body
        await eventually(lambda: running.sample("snowbus_gateway_connections") == 0)
        async with client(running):
            pass

    on_gateway(test, gateway_max_connections=2)


@pytest.mark.parametrize("listen", ["0.0.0.0:0", ":0"])
def test_beyond_loopback_it_starts_only_with_tokens_or_on_ones_word(listen: str) -> None:
    async def main() -> None:
        with pytest.raises(ConfigurationError, match="SNOWBUS_GATEWAY_TOKENS"):
            async with gateway(MemoryLog(), gateway_listen=listen):
                pass
        async with gateway(MemoryLog(), gateway_listen=listen, gateway_tokens="t") as running:
            assert running.address.startswith("http://")
        async with gateway(MemoryLog(), gateway_listen=listen, gateway_insecure=True) as running:
            port = running.address.rpartition(":")[2]
            async with connect(f"ws://127.0.0.1:{port}/v1/events") as connection:
                assert json.loads(await connection.recv())["type"] == "hello"

    run(main())


def test_an_address_in_use_is_said_to_be() -> None:
    async def test(running: Running) -> None:
        taken = running.address.removeprefix("http://")
        with pytest.raises(ConfigurationError, match=taken):
            async with gateway(MemoryLog(), gateway_listen=taken):
                pass

    on_gateway(test)


def test_what_readers_send_is_answered_and_ends_nothing() -> None:
    async def test(running: Running) -> None:
        async with client(running) as reader:
            for said in ("hello", "{}", b"\x00\xff", "x" * 60_000):
                await reader.connection.send(said)
                error = await reader.next("error")
                assert error["code"] == "bad_message"
            await publish(running.log, [1])
            assert await reader.numbers(1) == [1]

    on_gateway(test)


async def count_errors(reader: Client) -> int:
    """How many errors come until the connection is closed."""
    errors = 0
    with contextlib.suppress(ConnectionClosed):
        while await reader.next("error"):
            errors += 1
    return errors


def test_a_flood_of_messages_is_not_answered_one_by_one_and_ends_the_connection() -> None:
    async def test(running: Running) -> None:
        async with client(running) as flooder, client(running) as other:
            errors = asyncio.create_task(count_errors(flooder))
            with contextlib.suppress(ConnectionClosed):
                for _ in range(100_000):
                    await flooder.connection.send("spam")
                    await asyncio.sleep(0)
            assert await errors < 30
            assert (flooder.connection.close_code, flooder.connection.close_reason) == (1008, "too many messages")
            await publish(running.log, [1])
            assert await other.numbers(1) == [1]

    on_gateway(test)


def test_a_message_that_is_too_large_ends_the_connection_with_the_code_for_that() -> None:
    async def test(running: Running) -> None:
        async with client(running) as reader:
            await reader.connection.send("x" * 70_000)
            with pytest.raises(ConnectionClosed):
                await reader.next("nothing")
            assert reader.connection.close_code == 1009

    on_gateway(test)


def test_a_peer_that_is_gone_without_a_word_is_noticed_and_one_that_answers_pings_is_kept() -> None:
    async def test(running: Running) -> None:
        host, _, port = running.address.removeprefix("http://").rpartition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        upgrade = ("Upgrade: websocket", "Connection: Upgrade", key, "Sec-WebSocket-Version: 13")
        async with client(running) as alive:
            writer.write(get("/v1/events", *upgrade).encode())
            await eventually(lambda: running.sample("snowbus_gateway_connections") == 2)
            await eventually(lambda: running.sample("snowbus_gateway_connections") == 1)
            assert (await alive.next())["type"] == "heartbeat"
        writer.close()

    on_gateway(test, gateway_ping=0.2)


def test_a_reader_who_only_reads_slowly_is_not_taken_for_gone() -> None:
    async def test(running: Running) -> None:
        async with client(running) as slow:
            slow.connection.transport.pause_reading()
            for start in range(0, 3000, 100):
                await publish(running.log, range(start, start + 100), page="x" * 2000)
            await asyncio.sleep(2.0)  # four times the silence after which an idle one is given up
            slow.connection.transport.resume_reading()
            assert sorted(await slow.numbers(3000)) == list(range(3000))

    on_gateway(test, gateway_ping=0.5)


def test_stopping_says_goodbye_and_cuts_who_does_not_listen() -> None:
    async def test(running: Running) -> None:
        async with client(running) as reader, client(running) as deaf:
            deaf.connection.transport.pause_reading()
            await publish(running.log, range(3000), page="x" * 2000)
            numbers = await reader.numbers(3000)
            assert len(numbers) == 3000
            await publish(running.log, [3000])
            async with asyncio.timeout(8):
                await running.stop()
            assert await reader.numbers(1) == [3000]
            with pytest.raises(ConnectionClosed) as caught:
                await reader.next("nothing")
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1001
            assert "reconnect with your cursor" in caught.value.rcvd.reason

    on_gateway(test)


def test_a_connection_that_asks_for_nothing_does_not_delay_the_stop() -> None:
    async def test(running: Running) -> None:
        reader, writer = await asyncio.open_connection(*running.address.removeprefix("http://").split(":"))
        async with client(running) as follower:
            await publish(running.log, [0])
            assert await follower.numbers(1) == [0]
            async with asyncio.timeout(2):
                await running.stop()
                with contextlib.suppress(ConnectionResetError):
                    assert await reader.read() == b""
        writer.close()

    on_gateway(test)


def test_it_runs_on_uvloop_as_well() -> None:
    async def main() -> None:
        log = MemoryLog()
        async with gateway(log, gateway_ring_events=200, gateway_ring_bytes=500_000) as running:
            assert (await ask(running, get("/")))[0] == 200
            assert (await ask(running, "POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx"))[0] == 400
            async with client(running) as quick, client(running) as slow:
                slow.connection.transport.pause_reading()
                for start in range(0, 2500, 50):
                    await publish(log, range(start, start + 50), page="x" * 2000)
                    await quick.numbers(50)
                slow.connection.transport.resume_reading()
                assert sorted(await slow.numbers(2500)) == list(range(2500))
                assert running.sample("snowbus_gateway_ring_misses_total") >= 1
                assert (await quick.next())["type"] == "heartbeat"
                await log.create_topics([EVENTS_TOPIC])
                await running.stop()
                await quick.connection.wait_closed()
                assert quick.connection.close_code == 1001

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(main(), 60))
