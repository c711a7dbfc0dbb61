"""Whatever is sent to the gateway's port is answered with what is wrong with it, and harms nobody.

Each example is sent over a socket to a gateway that runs, and each has a reader beside it, and a member of a group, who
get their events. `FUZZ=3000` tries so many examples of each kind, other ones each time.
"""

import asyncio
import json
import logging
import os
import zlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from itertools import count
from typing import Any

import jsonschema
import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from support.asyncapi import PARAMETERS, check_client_message, check_gateway_message
from support.diagnostics import capture_logs
from support.gateway import Running, client, gateway, publish
from support.group_clients import Worker, worker
from support.raw_websocket import CLOSE, PING, PONG, TEXT, RawWebsocket, frame, raw_websocket, upgrade
from support.signing import SECRET, hs256

EXAMPLES = int(os.environ.get("FUZZ", "0"))
TOKEN = "let-me-in"
Example = Callable[[Running], Awaitable[None]]


def few(examples: int) -> settings:
    """So many examples, always the same ones; as many as FUZZ says, if it does, and other ones each time."""
    return settings(max_examples=EXAMPLES or examples, deadline=None, derandomize=not EXAMPLES)


class Problems(logging.Handler):
    """Keeps what is logged that says that something is wrong with the gateway."""

    def __init__(self, entries: list[Any]) -> None:
        super().__init__(logging.WARNING)
        self._entries = entries
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))

    def take(self) -> list[str]:
        """What came since the last time."""
        entries = [repr(entry) for entry in self._entries if entry["log_level"] not in ("debug", "info")]
        lines, self._lines = self._lines + entries, []
        self._entries.clear()
        return lines


class Fuzzed:
    """A gateway that runs while an example does, with one who reads and one who is in a group."""

    def __init__(self, runner: asyncio.Runner, problems: Problems) -> None:
        self._runner = runner
        self._problems = problems
        self._numbers = count()
        self._stack = AsyncExitStack()

    async def start(self, log_url: str) -> None:
        running = gateway(log_url, gateway_tokens=TOKEN, gateway_jwt_secret=SECRET, gateway_ping=3_600)
        self._running = await self._stack.enter_async_context(running)
        await publish(self._running.log, [])
        authorization = {"additional_headers": {"Authorization": f"Bearer {TOKEN}"}}
        self._reader = await self._stack.enter_async_context(client(self._running, **authorization))
        self._worker: Worker = await self._stack.enter_async_context(worker(self._running, **authorization))

    async def stop(self) -> None:
        await self._stack.aclose()

    def run(self, example: Example) -> None:
        """Run an example; after it the gateway serves the others, and has logged nothing that is wrong."""
        self._runner.run(self._run(example))

    async def _run(self, example: Example) -> None:
        async with asyncio.timeout(30):
            await example(self._running)
            number = next(self._numbers)
            await publish(self._running.log, [number])
            assert await self._reader.numbers(1) == [number]
            while await self._worker.take(1) != [number]:  # an event before may have been with the example
                await self._worker.say()
            await self._worker.say()
        assert self._problems.take() == []


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    """On the event loop of the roles, which minds more than asyncio's own how connections end."""
    log_url = f"sqlite:///{tmp_path_factory.mktemp('fuzz') / 'log.db'}"
    with capture_logs() as entries, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        problems = Problems(entries)
        logging.getLogger().addHandler(problems)
        fuzzed = Fuzzed(runner, problems)
        runner.run(fuzzed.start(log_url))
        yield fuzzed
        runner.run(fuzzed.stop())
        logging.getLogger().removeHandler(problems)
        assert problems.take() == []


# How a client begins

TEXTS = (
    *("latest", "earliest", "-10", "15m", "2026-01-02T03:04:05Z", "9999-12-31T23:59:59.9999-23:59", "0001-01-01"),
    *("snowbus.events~0.0", "snowbus.events~0.9~7.999999999999999999", "snowbus.bad~0.1", "", "\x00", "ü", "\ud800"),
    *("shop", "page_view", "pv", "srv", "true", "pause", "sample", "g", "100", "1000", "0.5", "nan", "1e400", "1_0"),
    *("iglu:com.acme/a/jsonschema/1-*-*", TOKEN, hs256(), hs256("pii"), hs256(exp=[1]), hs256(secret="x" * 32)),
)
LATIN = st.text(st.characters(max_codepoint=255), max_size=12)
ODD = LATIN | st.sampled_from(["%", "%0", "%zz", "%00", "%ff", "%C3%28", "%F0%9F%A7%80", "+", ";", "#", "?"])


def quoted(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogatepass"))


names = st.sampled_from(sorted(PARAMETERS))
pairs = st.tuples(names, (st.sampled_from(TEXTS) | st.text(max_size=8)).map(quoted)).map("=".join)
odd_pairs = ODD | st.tuples(names | ODD, ODD).map("=".join)
queries = st.lists(st.one_of(pairs, pairs, pairs, pairs, odd_pairs), max_size=4).map("&".join)

PATHS = (
    "/",
    "*",
    "//",
    "/health?",
    "/metrics",
    "/v1/events/",
    "/v1/events#",
    "http://localhost/v1/events?",
    "/%2e",
    "",
)
odd_targets = st.one_of(
    ODD,
    st.sampled_from(PATHS),
    st.integers(8_100, 8_300).map(lambda size: "/" + "x" * size),
    st.integers(190, 210).map(lambda size: "/v1/events?" + "q=x&" * size),
)
odd_methods = ODD | st.sampled_from(["HEAD", "POST", "get", "OPTIONS", "CONNECT", "", "G\x00T"])
odd_versions = ODD | st.sampled_from(["HTTP/1.0", "HTTP/2.0", "HTTP/1.1 ", "HTTP/9", ""])
odd_colons = st.sampled_from([":", " : ", " ", ""])
odd_ends = st.sampled_from(["\n", "\r", "\r\n "])

DEFLATE = "permessage-deflate"
HEADERS = {
    "Host": "localhost",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
    "Authorization": f"Bearer {TOKEN}",
}
ODD_VALUES: dict[str, list[str]] = {
    "Host": ["localhost:8081", "evil.example", "[::1]:80", "[", "127.0.0.1:²", ""],
    "Upgrade": ["WebSocket", "h2c", "websocket, h2c", "websocket/13", '"', ""],
    "Connection": ["keep-alive, Upgrade", "close", "upgrade,,", '"', ""],
    "Sec-WebSocket-Key": ["", "a", "dGhlIHNhbXBsZSBub25jZQ", "ü" * 24, "=" * 24],
    "Sec-WebSocket-Version": ["8", "13, 8", "", "²"],
    "Sec-WebSocket-Extensions": [
        *(DEFLATE, f"{DEFLATE}; client_max_window_bits", f"{DEFLATE}, {DEFLATE}; client_max_window_bits=8"),
        *(f"{DEFLATE}; server_max_window_bits=8", f'{DEFLATE}; server_max_window_bits="9"', f"{DEFLATE}; x=1"),
        f"{DEFLATE}; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=8",
        *("x-webkit-deflate-frame", ";", ",", 'a="'),
    ],
    "Sec-WebSocket-Protocol": ["chat", "a, b", ",", "ü"],
    "Authorization": ["", "Bearer", "Bearer x", "Basic eDp5", "bearer  ", "Bearer ü", "Bearer a.b.c", "Bearer ...."],
    "Origin": ["null", "http://localhost", "https://evil.example", "http://[", "ü", ""],
    "Content-Length": ["0", "5", "-1", "99999999999999999999", "x"],
    "Transfer-Encoding": ["chunked", "identity", ""],
    "Expect": ["100-continue"],
    "If-None-Match": ["*", '"'],
    "X-Long": ["x" * 8_150, "x" * 9_000],
}
odd_headers = st.sampled_from(sorted(ODD_VALUES)).flatmap(
    lambda name: st.tuples(st.just(name), st.sampled_from(ODD_VALUES[name]) | st.none() | ODD)
)
TWISTS = ("method", "target", "version", "colon", "end", "headers", "headers", "headers", "more", "mangled")


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A handshake in which up to two things are odd."""
    twists = draw(st.lists(st.sampled_from(TWISTS), max_size=2))

    def part(what: str, usual: str, odd: st.SearchStrategy[str]) -> str:
        return draw(odd) if what in twists else usual

    target = part("target", "/v1/events?", odd_targets) + draw(queries)
    given_headers = list(HEADERS.items())
    for name, value in draw(st.lists(odd_headers, min_size=1, max_size=3)) if "headers" in twists else ():
        if value is None or draw(st.booleans()):  # else it is given twice
            given_headers = [pair for pair in given_headers if pair[0] != name]
        given_headers += [] if value is None else [(name, value)]
    lines = [" ".join((part("method", "GET", odd_methods), target, part("version", "HTTP/1.1", odd_versions)))]
    lines += [f"{name}{part('colon', ': ', odd_colons)}{value}" for name, value in given_headers]
    whole = part("end", "\r\n", odd_ends).join([*lines, "", ""]).encode("latin-1", "replace")
    if "mangled" in twists:
        place = draw(st.integers(0, len(whole)))
        whole = whole[:place] + draw(st.binary(max_size=4)) + whole[place + draw(st.integers(0, 3)) :]
    return whole + draw(st.binary(min_size=1, max_size=20)) if "more" in twists else whole


HELLO_OF_TLS = bytes.fromhex("16030100c8010000c40303") + bytes(range(189))
garbage = st.one_of(
    st.binary(max_size=100),
    st.binary(max_size=100).map(b"%b\r\n\r\n".__mod__),
    st.tuples(requests(), st.integers(0, 400)).map(lambda cut: cut[0][: cut[1]]),
    st.just(HELLO_OF_TLS),
    st.integers(8_000, 9_000).map(lambda size: b"x" * size),
)


async def begin(data: bytes, running: Running) -> None:
    """Begin with these bytes, and close our side only where they are no whole request."""
    async with raw_websocket(running.address) as socket:
        await socket.send(data)
        head, is_whole, more = data.partition(b"\r\n\r\n")
        if not is_whole:
            socket.send_no_more()
        answer = await socket.answer()
        if answer is None:
            assert not is_whole
        elif answer.status == 101:
            if not more:
                assert (await socket.message())["type"] in ("hello", "error")
            await leave(socket, in_a_frame=bool(more))
        else:
            assert 200 <= answer.status < 600
            assert answer.status != 500
            if answer.status >= 400 and not head.startswith(b"HEAD "):
                assert len(answer.body) == int(answer.headers["content-length"]) > 10


FEEDS = ("/api/requests/http", "/app_id=shop/_search", "/_search", "/feeds/{}/api/requests/http", "/feeds/{}/x/_search")
SCHEMAS = ("com.acme/a/jsonschema/1-0-0", "..%2f..%2fresolver.json", "../resolver.json", "a/b/c/1-0-0", "%00", "{}")
PLACES = (
    *(
        f"/v1/events.{kind}?limit={limit}&"
        for kind in ("ndjson", "csv", "har", "x")
        for limit in ("3", "", "-1", "1e9")
    ),
    *(f"{feed}?size=50&q=*&" for feed in FEEDS),
    *(f"/schemas/{schema}?" for schema in SCHEMAS),
    *("/schemas?", "/v1/ingest?", "/asyncapi.yaml?", "/main.js?", "/../index.html?", "/%2e%2e/tokens.py?"),
)
plain_headers = {name: value for name, value in HEADERS.items() if name in ("Host", "Authorization")}


async def ask(target: str, headers: list[tuple[str, str]], running: Running) -> None:
    """Ask for a place; what comes back is whole, and no browser takes it for anything else."""
    lines = [f"{name}: {value}" for name, value in headers]
    async with raw_websocket(running.address) as socket:
        await socket.send("\r\n".join([f"GET {target} HTTP/1.1", *lines, "", ""]).encode("latin-1", "replace"))
        answer = await socket.answer()
        assert answer is not None
        assert answer.status in (200, 304, 400, 401, 403, 404, 431, 503), answer
        assert len(answer.body) == int(answer.headers.get("content-length", "0"))
        if answer.headers.get("content-type") == "application/json":
            json.loads(answer.body)
        assert answer.status in (400, 431) or answer.headers["x-content-type-options"] == "nosniff"


@few(120)
@given(st.sampled_from(PLACES), queries, st.none() | odd_headers)
def test_whatever_is_asked_for_beside_events_is_answered(
    fuzzed: Fuzzed, place: str, query: str, header: tuple[str, str | None] | None
) -> None:
    headers = list((plain_headers | ({header[0]: header[1]} if header and header[1] is not None else {})).items())
    fuzzed.run(partial(ask, place.format(query) + query, headers))


async def leave(socket: RawWebsocket, *, in_a_frame: bool = False) -> None:
    """Greetings come, and a close when we send one; a client in the midst of a frame cannot but go."""
    if in_a_frame:
        socket.send_no_more()
    else:
        await socket.send(frame(CLOSE, b"\x03\xe8"))
    while (came := await socket.frame()) is not None and came.opcode != CLOSE:
        if came.opcode == TEXT and not came.rsv1:
            check_gateway_message(json.loads(came.payload))
    if came is None:
        assert in_a_frame
    else:
        assert came.close_code in (1000, 1002, 1007, 1009)


@few(250)
@given(requests())
def test_whatever_a_client_asks_for_is_answered_with_what_is_wrong(fuzzed: Fuzzed, request_bytes: bytes) -> None:
    fuzzed.run(partial(begin, request_bytes))


@few(80)
@given(garbage)
def test_what_is_no_request_is_answered_unless_it_was_not_whole(fuzzed: Fuzzed, request_bytes: bytes) -> None:
    fuzzed.run(partial(begin, request_bytes))


# What a client says

STREAMS = ("deliveries=false", "from=earliest&deliveries=7d", "policy=latest&user_id=user-1")
GROUP = "group=g&from=earliest&max_in_flight=3"

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, -1, 1.5, 10**9, 10**9 + 1, 2**63, 10**400, 1e308, float("nan"), float("inf")]),
    st.integers(),
    st.floats(),
    st.sampled_from(TEXTS),
    st.text(max_size=6),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
filters = st.dictionaries(
    names | st.text(max_size=4), st.sampled_from(TEXTS) | st.lists(st.sampled_from(TEXTS)) | values
)
kinds = st.sampled_from(["filter", "pause", "resume", "permit", "ack", "nack"])
members: dict[str, st.SearchStrategy[Any]] = {
    "filters": filters | values,
    "n": scalars | values,
    "cursor": st.sampled_from(TEXTS) | values,
    "only": st.booleans() | values,
    "delay": scalars | values,
}
messages = st.fixed_dictionaries({"type": kinds | values}, optional=members) | st.one_of(
    st.fixed_dictionaries({"type": st.just("filter"), "filters": filters}),
    st.fixed_dictionaries({"type": st.just("permit"), "n": scalars}),
    st.fixed_dictionaries({"type": st.just("nack"), "cursor": st.sampled_from(TEXTS), "delay": scalars}),
)
NEAR_MISSES = (
    *("", "null", "[]", "{", "{}{}", '{"type":"pause",}', '{"type":"pause","type":"permit"}', '"\\ud800"', "\ufeff{}"),
    *('{"type":"filter","filters":{"q":"\\udfff"}}', '{"type":"\\ud800"}', '{"type":"pause","\\ud800":1}', "NaN"),
    *('{"type":"permit","n":1e999}', '{"type":"permit","n":' + "9" * 5_000 + "}", '{"type":"permit","n":-0}'),
)
depths = st.integers(1, 50) | st.integers(900, 1_050) | st.just(3_000)
nested = st.sampled_from(["[", '{"a":']).flatmap(
    lambda opened: depths.map(lambda depth: opened * depth + "1" + {"[": "]"}.get(opened, "}") * depth)
)
texts = st.one_of(
    messages.map(json.dumps),
    messages.map(partial(json.dumps, ensure_ascii=False)).map(lambda text: text.encode("utf-8", "replace").decode()),
    st.sampled_from(NEAR_MISSES),
    st.text(max_size=20),
    nested,
    nested.map('{{"type":{}}}'.format),
    nested.map('{{"type":"filter","filters":{}}}'.format),
    nested.map('{{"type":"nack","cursor":"a","delay":{}}}'.format),
    st.integers(60_000, 65_500).map("x".__mul__),
)


async def connected(socket: RawWebsocket, query: str, *headers: str) -> None:
    await socket.send(upgrade(f"/v1/events?{query}", f"Authorization: Bearer {TOKEN}", *headers))
    answer = await socket.answer()
    assert answer is not None
    assert answer.status == 101
    assert (await socket.message())["type"] == "hello"


async def reply(socket: RawWebsocket) -> dict[str, Any]:
    """The next message that is about what was said."""
    while (message := await socket.message())["type"] not in ("error", "subscription"):
        pass
    check_gateway_message(message)
    return message


def keeps_the_contract(text: str) -> bool:
    """Whether a client may say this."""
    try:
        check_client_message(json.loads(text))
    except (jsonschema.ValidationError, ValueError, TypeError, KeyError, AssertionError, RecursionError):
        return False
    return True


async def say_to_a_stream(query: str, said: list[str], running: Running) -> None:
    """Each message is answered: with what is in force only if it keeps the contract."""
    async with raw_websocket(running.address) as socket:
        await connected(socket, query)
        for text in said:
            await socket.send(frame(TEXT, text.encode()))
            answer = await reply(socket)
            if answer["type"] == "subscription":
                assert keeps_the_contract(text)
            else:
                assert answer["code"] == "bad_message"
                assert answer["message"]
        await leave(socket)


async def say_to_a_group(said: list[str], running: Running) -> None:
    """Each message is answered, unless it keeps the contract."""
    async with raw_websocket(running.address) as socket:
        await connected(socket, GROUP)
        for number, text in enumerate(said):
            await socket.send(frame(TEXT, text.encode()))
            await socket.say({"type": f"end {number}"})
            answer = await reply(socket)
            assert answer["code"] == "bad_message"
            assert answer["message"]
            if f"end {number}" not in answer["message"]:
                answer = await reply(socket)
            else:
                assert keeps_the_contract(text)
            assert f"end {number}" in answer["message"]
        await leave(socket)


@few(150)
@given(st.sampled_from(STREAMS), st.lists(texts, min_size=1, max_size=8))
def test_whatever_a_reader_says_is_answered(fuzzed: Fuzzed, query: str, said: list[str]) -> None:
    fuzzed.run(partial(say_to_a_stream, query, said))


@few(100)
@given(st.lists(texts, min_size=1, max_size=8))
def test_whatever_a_member_of_a_group_says_is_answered(fuzzed: Fuzzed, said: list[str]) -> None:
    fuzzed.run(partial(say_to_a_group, said))


# Frames


class Sent:
    """A frame, and what it is made of."""

    def __init__(self, opcode: int, payload: bytes, **options: Any) -> None:
        self.is_close = opcode == CLOSE
        self.payload = payload
        self.data = frame(opcode, payload, **options)

    def __repr__(self) -> str:
        return f"Sent({self.data!r})"


opcodes = st.sampled_from([0, 1, 1, 1, 2, 8, 9, 10]) | st.integers(0, 15)
deflated = st.text(max_size=50).map(lambda text: zlib.compress(text.encode(), wbits=-12))
reasons = st.sampled_from([0, 999, 1000, 1005, 1006, 1011, 1012, 2999, 3000, 4999, 5000, 65_535]).flatmap(
    lambda code: st.binary(max_size=130).map(code.to_bytes(2).__add__)
)
payloads = st.one_of(
    st.binary(max_size=30),
    st.just(b'{"type":"pause"}'),
    deflated,
    reasons,
    st.integers(120, 130).map(bytes),
    st.sampled_from([65_535, 65_536, 65_537, 100_000]).map(bytes),
    st.sampled_from([b"\xff", "ü".encode()[:1], b"\xed\xa0\x80", zlib.compress(bytes(1_000_000), wbits=-12)]),
)
frames = st.builds(
    Sent,
    opcodes,
    payloads,
    fin=st.sampled_from([True, True, True, False]),
    rsv=st.sampled_from([0, 0, 4, 4, 2, 7]),
    masked=st.sampled_from([True] * 9 + [False]),
)
lies = st.builds(Sent, opcodes, payloads, length=st.sampled_from([0, 1, 125, 126, 65_536, 2**31, 2**63, 2**64 - 1]))


async def send_frames(query: str, offer: str, sent: list[Sent], is_lie: bool, running: Running) -> None:
    """The connection goes on, or is closed with a code and a reason; where it waits for the rest of a frame, we go."""
    async with raw_websocket(running.address) as socket:
        await connected(socket, query, *([f"Sec-WebSocket-Extensions: {offer}"] if offer else []))
        await socket.send(b"".join(each.data for each in sent))
        await socket.send(frame(PING, b"still there?"))
        if is_lie:
            socket.send_no_more()
        while (came := await socket.frame()) is not None and came.opcode != CLOSE:
            if came[:2] == (PONG, b"still there?"):
                return
        if came is None:
            assert is_lie
        elif came.payload not in [each.payload for each in sent if each.is_close]:  # which would be its echo
            assert came.close_code in (1002, 1007, 1009)
            assert len(came.payload) > 2


@few(150)
@given(
    st.sampled_from([*STREAMS, GROUP]),
    st.sampled_from(["", f"{DEFLATE}; client_max_window_bits", f"{DEFLATE}; client_no_context_takeover"]),
    st.lists(frames, min_size=1, max_size=5),
    st.lists(lies, max_size=1),
)
def test_whatever_frames_come_the_connection_goes_on_or_is_closed_with_a_reason(
    fuzzed: Fuzzed, query: str, offer: str, sent: list[Sent], lie: list[Sent]
) -> None:
    fuzzed.run(partial(send_frames, query, offer, sent + lie, bool(lie)))
