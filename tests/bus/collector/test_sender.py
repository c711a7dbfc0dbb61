"""Every way in which a request may go wrong, over a real socket: each ends in an answer or none, in bounded time."""

import asyncio
import gzip
import socket
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvloop
from support.aio import eventually, run
from support.collector_double import CollectorDouble, close_before_answer, close_mid_response, hang, slow_bytes, status
from support.collector_faults import (
    Behaviour,
    answer_and_close,
    close_quietly,
    huge_body,
    interim,
    redirect,
    reset_mid_response,
    too_large_early,
)
from support.diagnostics import capture_logs
from support.sending import BODY, LARGE, TAKEN, error_of, post, sender

from snowbus.bus.collector.verdicts import Answer, NoAnswer

# What is sent


def test_a_body_arrives_as_it_was_given_with_nothing_that_is_not_asked_for() -> None:
    with CollectorDouble() as collector:
        assert post(collector.url) == [TAKEN]
        (request,) = collector.requests
    assert request.body == BODY
    assert request.headers == {
        "host": f"127.0.0.1:{collector.port}",
        "content-type": "application/json; charset=utf-8",
        "content-length": str(len(BODY)),
        "accept": "*/*",
        "accept-encoding": "identity",
        "sp-anonymous": "*",
    }
    assert collector.violations == []


def test_one_connection_serves_request_after_request() -> None:
    with CollectorDouble() as collector:
        post(collector.url, *[BODY] * 20)
        assert len(collector.requests) == 20
        assert collector.connections == 1


def test_no_more_connections_are_open_than_requests_under_way() -> None:
    async def main() -> None:
        async with sender(collector.url, collect_in_flight=4) as opened:
            for _ in range(3):
                await asyncio.gather(*[opened.post(BODY) for _ in range(4)])

    with CollectorDouble(seconds=0.02) as collector:
        run(main(), loop_factory=uvloop.new_event_loop)
        assert len(collector.requests) == 12
        assert collector.connections == 4


def test_cookies_are_not_kept() -> None:
    with CollectorDouble() as collector:
        post(collector.url, BODY, BODY)
        assert "cookie" not in collector.requests[1].headers


def test_the_path_and_query_are_sent_as_they_are() -> None:
    with CollectorDouble(path="/com.acme/a%20%2Ftrack?key=a%20b&c") as collector:
        assert post(f"{collector.url}{collector.path}") == [TAKEN]


def test_an_ipv6_address_works() -> None:
    with CollectorDouble(host="::1") as collector:
        assert post(collector.url) == [TAKEN]
        assert collector.requests[0].headers["host"] == f"[::1]:{collector.port}"


def test_credentials_of_the_url_are_shown_to_the_collector() -> None:
    with CollectorDouble(authorization="Basic " + b64encode("mé:s3:cret".encode()).decode()) as collector:
        assert post(collector.url) == [Answer(401, "", "who are you?")]
        assert post(collector.url.replace("//", "//m%C3%A9:s3%3Acret@")) == [TAKEN]
        assert post(collector.url, collect_username="mé", collect_password="s3:cret") == [TAKEN]


def test_headers_of_the_operator_go_along() -> None:
    with CollectorDouble() as collector:
        post(collector.url, collect_headers="X-Key: a, b\nHost: other.example\nUser-Agent: us")
        headers = collector.requests[0].headers
    assert (headers["x-key"], headers["host"], headers["user-agent"]) == ("a, b", "other.example", "us")


# What comes back


def test_no_redirect_is_followed() -> None:
    with CollectorDouble() as collector, CollectorDouble() as elsewhere:
        for code in (301, 302, 303, 307, 308):
            collector.respond(redirect(f"{elsewhere.url}{elsewhere.path}", code))
            assert post(collector.url) == [Answer(code)]
        assert elsewhere.requests == []


def test_an_answer_has_its_retry_after_and_how_its_body_begins() -> None:
    with CollectorDouble() as collector:
        collector.respond(status(429, "ü" * 10_000, retry_after="7"))
        assert post(collector.url) == [Answer(429, "7", "ü" * 500)]


@pytest.mark.parametrize("code", [204, 304, 999, 299, 600])
def test_any_status_is_an_answer(code: int) -> None:
    with CollectorDouble() as collector:
        collector.respond(status(code))
        assert post(collector.url, BODY, BODY) == [Answer(code), TAKEN]


def test_answers_that_are_not_the_last_are_passed_over() -> None:
    with CollectorDouble() as collector:
        collector.respond(interim(3))
        assert post(collector.url, BODY, BODY) == [TAKEN] * 2


def test_a_huge_answer_is_not_read_to_its_end() -> None:
    with CollectorDouble() as collector:
        collector.respond(huge_body(400))
        first, second = post(collector.url, BODY, BODY)
        assert first == Answer(400, "", "x" * 500)
        assert second == TAKEN
        assert collector.connections == 2


def test_a_packed_answer_is_not_unpacked() -> None:
    bomb = gzip.compress(b"x" * 50_000_000)
    head = b"HTTP/1.1 400 Bad\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    with CollectorDouble() as collector:
        collector.respond(close_mid_response(head + bomb))
        (outcome,) = post(collector.url)
    assert isinstance(outcome, Answer)
    assert outcome.status == 400
    assert len(outcome.excerpt) <= 500


@pytest.mark.parametrize("reads", [True, False])
def test_an_answer_before_the_request_is_sent_is_an_answer_where_it_can_be_read(*, reads: bool) -> None:
    with CollectorDouble() as collector:
        collector.respond(too_large_early(reads=reads))
        first, second = post(collector.url, LARGE, BODY)
        assert second == TAKEN
    if reads:
        assert first == Answer(413, "", "too large")
    else:  # the reset may overtake the answer
        assert isinstance(first, NoAnswer) or first.status == 413


BROKEN: dict[str, tuple[Behaviour, str]] = {
    "reset before an answer": (close_before_answer(), "connection"),
    "closed before an answer": (close_quietly(), "the connection was closed before an answer"),
    "broken off in the head": (close_mid_response(), "the connection was closed before an answer"),
    "broken off in the body": (close_mid_response(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\no"), "broke off"),
    "broken off in a chunk": (
        close_mid_response(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"),
        "broke off",
    ),
    "reset in the body": (reset_mid_response(), "broke"),
    "another protocol": (close_mid_response(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "not HTTP"),
    "a bad status line": (close_mid_response(b"HTTP/1.1 banana\r\n\r\n"), "not HTTP"),
    "a status of two digits": (close_mid_response(b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"), "not HTTP"),
    "a bad length": (close_mid_response(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"), "not HTTP"),
    "two lengths": (
        close_mid_response(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"),
        "not HTTP",
    ),
    "a bad chunk": (
        close_mid_response(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        "broke off|not HTTP",
    ),
    "a head without an end": (close_mid_response(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000), "not HTTP"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_whole_answer_is_none_and_the_next_request_is_well(name: str) -> None:
    behaviour, reason = BROKEN[name]
    with CollectorDouble() as collector:
        collector.respond(behaviour)
        first, second = post(collector.url, BODY, BODY)
        assert isinstance(first, NoAnswer), first
        assert not first.configuration
        assert any(part in first.error for part in reason.split("|")), first.error
        assert second == TAKEN
        assert len(collector.requests) == 2  # nothing was sent twice by itself


# Time


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (hang(30), "no answer within 0.3 s"),
        (slow_bytes(0.02), "no answer within 0.3 s"),
        (slow_bytes(0.02, begins=b"HTTP/1.1 200 OK\r\nX: "), "no answer within 0.3 s"),
        (slow_bytes(0.02, begins=b"HTTP/1.1 200 "), "no answer within 0.3 s"),
        (slow_bytes(0.02, begins=b"", each=b"HTTP/1.1 102 Processing\r\n\r\n"), "no answer within 0.3 s"),
    ],
    ids=["silence", "a body that trickles", "a head that trickles", "a status that trickles", "only 1xx answers"],
)
def test_no_request_takes_longer_than_its_time(behaviour: Behaviour, reason: str) -> None:
    with CollectorDouble() as collector:
        collector.respond(behaviour)
        began = time.monotonic()
        outcome = error_of(collector.url, collect_timeout=0.3)
        assert outcome == NoAnswer(reason)
        assert time.monotonic() - began < 5


def test_a_request_that_nobody_reads_takes_no_longer_than_its_time() -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        server.bind(("127.0.0.1", 0))
        server.listen()
        outcome = post(f"http://127.0.0.1:{server.getsockname()[1]}", LARGE, collect_timeout=0.3)
    assert outcome == [NoAnswer("no answer within 0.3 s")]


def test_silence_is_cut_short_where_so_set() -> None:
    with CollectorDouble() as collector:
        collector.respond(hang(30), slow_bytes(30.0))
        outcomes = post(collector.url, BODY, BODY, collect_read_timeout=0.2)
        assert outcomes == [NoAnswer("not a byte for 0.2 s")] * 2


@contextmanager
def full() -> Iterator[str]:
    """The URL of a server that lets nobody in: its queue is full, and it does not look at it."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as server,
        socket.socket() as first,
        socket.socket() as next_,
    ):
        for filler in (first, next_):
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_to_connect_has_a_time_of_its_own() -> None:
    with full() as url:
        assert error_of(url, collect_connect_timeout=0.2) == NoAnswer("no connection within 0.2 s")


def test_a_request_that_is_given_up_leaves_no_connection_behind() -> None:
    async def main() -> None:
        async with sender(collector.url) as opened:
            task = asyncio.create_task(opened.post(BODY))
            await eventually(lambda: collector.requests)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await opened.post(BODY) == TAKEN

    with CollectorDouble() as collector:
        collector.respond(hang(30))
        run(main(), loop_factory=uvloop.new_event_loop)
        assert collector.connections == 2


# Connections that cannot be made, or are gone


def test_a_refused_connection_is_no_answer() -> None:
    with CollectorDouble() as collector:
        url = collector.url
    outcome = error_of(url)
    assert "cannot connect" in outcome.error
    assert "refused" in outcome.error
    assert not outcome.configuration


def test_a_name_that_is_unknown_is_said() -> None:
    outcome = error_of("http://collector.invalid")
    assert "the name collector.invalid is not found" in outcome.error
    assert not outcome.configuration


@pytest.mark.parametrize("told", [True, False])
def test_a_connection_that_was_closed_after_an_answer_is_not_used_again(*, told: bool) -> None:
    async def main() -> None:
        async with sender(collector.url) as opened:
            for number in range(3):
                assert await opened.post(BODY) == TAKEN
                await eventually(lambda number=number: collector.closed > number)
                await asyncio.sleep(0.01)  # for the end of the connection to be read

    with CollectorDouble() as collector:
        collector.respond(*[answer_and_close(told=told)] * 3)
        run(main(), loop_factory=uvloop.new_event_loop)
        assert collector.connections == 3


def test_a_connection_that_closes_just_when_it_is_used_again_is_told_and_not_tried_twice() -> None:
    class Crossing:
        """Answers one request on each connection, and resets it when the next one comes."""

        def __init__(self) -> None:
            self.heads: list[bytes] = []

        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for answer in (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b""):
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                await reader.readexactly(len(BODY))
                writer.write(answer)
            writer.close()

    async def main() -> None:
        crossing = Crossing()
        async with await asyncio.start_server(crossing.serve, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with sender(url) as opened:
                outcomes = [await opened.post(BODY) for _ in range(3)]
        assert outcomes[0] == outcomes[2] == TAKEN
        assert outcomes[1] == NoAnswer("the connection was closed before an answer")
        assert len(crossing.heads) == 3

    run(main())


# Compression


def test_what_is_packed_comes_out_the_same() -> None:
    with CollectorDouble(takes_gzip=True) as collector:
        assert post(collector.url, LARGE, collect_gzip=True) == [TAKEN]
        (request,) = collector.requests
    assert request.body == LARGE
    assert int(request.headers["content-length"]) < len(LARGE) / 10


def test_a_collector_that_takes_no_gzip_gets_none_from_then_on() -> None:
    with CollectorDouble() as collector, capture_logs() as logs:
        assert post(collector.url, BODY, BODY, collect_gzip=True) == [TAKEN] * 2
        encodings = [request.headers.get("content-encoding") for request in collector.requests]
    assert encodings == ["gzip", None, None]
    assert [entry["collector"] for entry in logs if "gzip" in entry["event"]] == [collector.url + collector.path]


def test_a_415_to_what_is_not_packed_is_an_answer() -> None:
    with CollectorDouble() as collector:
        collector.respond(status(415))
        assert post(collector.url) == [Answer(415)]


# Secrets


def test_nothing_that_is_secret_is_said() -> None:
    with CollectorDouble() as collector, capture_logs() as logs:
        url = collector.url.replace("//", "//me:s3cret@") + f"{collector.path}?key=s3cret"
        collector.path += "?key=s3cret"
        post(url, collect_gzip=True, collect_headers="X-Key: s3cret")
        assert collector.requests[-1].headers["x-key"] == "s3cret"
        outcomes = []
        for behaviour, _ in BROKEN.values():
            collector.respond(behaviour)
            outcomes += post(url)
    outcomes += post(url)
    assert len(logs) == 1
    assert "s3cret" not in f"{logs} {outcomes}"
