"""Clients that nobody here wrote: each streams, changes its filter while events come, and resumes where it stood.

Each takes 300 events of a log that grows, then 40 of one user, and on another connection 300 from its last cursor on.
The bytes that it is sent are counted on their way.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser
from support.gateway import gateway, publish
from support.loop_thread import LoopThread
from support.node import run_node
from support.raw_websocket import TEXT, RawWebsocket, frame, raw_websocket, upgrade
from support.relay import relay
from support.requirements import require
from websockets.sync.client import connect

DEFLATE = "permessage-deflate"
FOLLOW = (Path(__file__).parents[2] / "node" / "follow.js").read_text("utf-8")
FILTER = json.dumps({"type": "filter", "filters": {"user_id": "user-1"}})


class Told:
    """What one client was told, and what it says next: tests/node/follow.js in Python."""

    def __init__(self) -> None:
        self.before: list[int] = []
        self.filtered: list[int] = []
        self.after: list[int] = []
        self.cursor = "earliest"
        self.characters = 0
        self._into = self.before

    def resume(self) -> str:
        """The query of its next connection."""
        if self.filtered:
            self._into = self.after
        return f"deliveries=false&from={self.cursor}"

    def take(self, text: str) -> str:
        """What it says to a message, mostly nothing."""
        message = json.loads(text)
        self.characters += len(text)
        if message["type"] == "subscription":
            self._into = self.filtered
        if message["type"] == "event":
            self._into.append(int(message["payload"]["eid"]))
        if self._into is not self.after:
            self.cursor = message["cursor"]
        is_time = message["type"] == "event" and self._into is self.before and len(self.before) == 300
        return FILTER if is_time else ""

    @property
    def leaves(self) -> bool:
        """Whether it has seen enough on this connection."""
        return len(self.after) == 300 if self._into is self.after else len(self.filtered) == 40


class Growing:
    """A gateway on a log of one partition that grows all the time, behind a relay; in a thread of its own."""

    def __init__(self, log_url: str) -> None:
        self.thread = LoopThread("growing")
        self._stack = AsyncExitStack()
        self.thread.run(self._start(log_url))
        self.address = f"http://{self._relay.address}"
        self.url = f"ws://{self._relay.address}/v1/events"

    async def _start(self, log_url: str) -> None:
        self._running = await self._stack.enter_async_context(gateway(log_url, partitions=1))
        self._relay = await self._stack.enter_async_context(relay())
        self._relay.target = self._running.address
        self._growing = asyncio.create_task(self._grow())

    async def _grow(self) -> None:
        for start in count(step=10):
            await publish(self._running.log, range(start, start + 10))
            await asyncio.sleep(0.005)

    async def _stop(self) -> None:
        self._growing.cancel()
        await asyncio.wait([self._growing])
        await self._stack.aclose()

    def close(self) -> None:
        self.thread.run(self._stop())
        self.thread.close()

    def cut(self) -> None:
        """End every connection, without a word."""
        self.thread.call_soon(self._relay.cut)

    def check(self, told: Any, *, compressed: bool) -> None:
        """It was told everything that it wanted, in order and once; in fewer bytes than that is, if compressed."""
        told = told if isinstance(told, dict) else vars(told)
        before, filtered, after = told["before"], told["filtered"], told["after"]
        assert (len(filtered), len(after)) == (40, 300)
        assert told["cursor"] == f"snowbus.events~0.{after[0]}"
        of_the_user = [number for number in range(len(before), after[0]) if number % 7 == 1]
        assert before + filtered + after == [*range(len(before)), *of_the_user, *range(after[0], after[0] + 300)]
        assert (self._relay.passed_back < told["characters"] / 2) is compressed


@pytest.fixture
def growing(sqlite_url: str) -> Iterator[Growing]:
    there = Growing(sqlite_url)
    yield there
    there.close()


@pytest.mark.browser
def test_chromium(growing: Growing, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(f"{growing.address}/health")  # pages of other origins may not connect
    script = f"(url) => {{ {FOLLOW}; return follow(url, WebSocket, (socket) => socket.close()); }}"
    told = page.evaluate(script, growing.url)
    page.close()
    assert told["extensions"].startswith(DEFLATE)
    growing.check(told, compressed=True)


@pytest.mark.node
def test_ws_of_node(growing: Growing) -> None:
    told = run_node("follow.cjs", growing.url, "ws")
    assert told["extensions"] == DEFLATE
    growing.check(told, compressed=True)


@pytest.mark.node
def test_ws_of_node_without_compression(growing: Growing) -> None:
    told = run_node("follow.cjs", growing.url, "plain")
    assert told["extensions"] == ""
    growing.check(told, compressed=False)


@pytest.mark.node
def test_nodes_own(growing: Growing) -> None:
    told = run_node("follow.cjs", growing.url, "own", flags=["--experimental-websocket"])
    require("node", "" if told else "it has no WebSocket of its own")
    growing.check(told, compressed=told["extensions"].startswith(DEFLATE))


@pytest.mark.parametrize("compression", ["deflate", None])
def test_websockets_of_python(growing: Growing, compression: str | None) -> None:
    told = Told()
    for _ in range(2):
        with connect(f"{growing.url}?{told.resume()}", compression=compression) as connection:
            while not told.leaves:
                if said := told.take(str(connection.recv(timeout=10))):
                    connection.send(said)
            growing.cut()
    growing.check(told, compressed=compression is not None)


@pytest.mark.parametrize("offer", ["", f"{DEFLATE}; client_max_window_bits"])
def test_a_bare_socket(growing: Growing, offer: str) -> None:
    told = Told()

    async def follow(socket: RawWebsocket) -> int:
        extensions = [f"Sec-WebSocket-Extensions: {offer}"] if offer else []
        await socket.send(upgrade(f"/v1/events?{told.resume()}", *extensions))
        answer = await socket.answer()
        assert answer is not None
        assert answer.headers.get("sec-websocket-extensions", "").partition(";")[0] == offer.partition(";")[0]
        while not told.leaves:
            if said := told.take(await socket.text()):
                await socket.send(frame(TEXT, said.encode()))
        return socket.compressed

    async def follow_twice() -> None:
        for _ in range(2):
            async with raw_websocket(growing.address) as socket:
                assert (await follow(socket) > 0) is bool(offer)

    growing.thread.run(follow_twice(), timeout=30)
    growing.check(told, compressed=bool(offer))
