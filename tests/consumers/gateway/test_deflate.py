"""Compressed streams, as clients that nobody here wrote read them."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.aio import run
from support.gateway import client, gateway, publish
from websockets.asyncio.client import connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, PerMessageDeflate
from websockets.frames import Frame, Opcode

from snowbus.consumers.gateway.deflate import WINDOW_BITS, Context
from snowbus.consumers.gateway.frames import text_frame


@given(st.lists(st.text(max_size=300) | st.sampled_from(["ü" * 70_000, "x" * 70_000]), max_size=6))
def test_what_is_compressed_comes_out_as_it_was(texts: list[str]) -> None:
    data = Context().deflate(text_frame(text.encode()) for text in texts)
    extension = PerMessageDeflate(False, False, WINDOW_BITS, WINDOW_BITS)
    for text in texts:
        header, length = 2, data[1]
        if length == 126:
            header, length = 4, int.from_bytes(data[2:4])
        elif length == 127:
            header, length = 10, int.from_bytes(data[2:10])
        frame = Frame(Opcode.TEXT, data[header : header + length], rsv1=True)
        assert bytes(extension.decode(frame).data).decode() == text
        data = data[header + length :]
    assert not data


def test_every_reader_gets_every_event_whether_it_inflates_or_not(log_url: str) -> None:
    async def main() -> None:
        async with gateway(log_url, gateway_ring_events=300) as running:
            await publish(running.log, range(1_000))
            async with (
                client(running, "from=earliest", compression="deflate") as early,
                client(running, "user_id=user-1", compression="deflate") as filtered,
                client(running) as plain,
            ):
                assert sorted(await early.numbers(1_000)) == list(range(1_000))
                for start in range(1_000, 1_300, 10):
                    await publish(running.log, range(start, start + 10))
                    if start == 1_100:
                        early.connection.transport.pause_reading()
                    if start == 1_200:
                        early.connection.transport.resume_reading()
                async with client(running, "from=-50", compression="deflate") as late:
                    assert len(await late.numbers(50)) == 50
                    await publish(running.log, range(1_300, 1_400))
                    assert sorted(await late.numbers(100)) == list(range(1_300, 1_400))
                everything = list(range(1_000, 1_400))
                assert sorted(await early.numbers(400)) == everything
                assert sorted(await plain.numbers(400)) == everything
                ones = [number for number in everything if number % 7 == 1]
                assert sorted(await filtered.numbers(len(ones))) == ones

    run(main())


OFFERS: list[dict[str, Any]] = [
    {},
    {"client_max_window_bits": True},
    {"server_max_window_bits": 9},
    {"server_max_window_bits": 15, "client_max_window_bits": 15},
    {"server_no_context_takeover": True},
    {"client_no_context_takeover": True, "server_no_context_takeover": True},
]


@pytest.mark.parametrize("offer", OFFERS)
def test_whatever_a_client_offers_it_can_read_what_it_gets(sqlite_url: str, offer: dict[str, Any]) -> None:
    async def main() -> None:
        factory = ClientPerMessageDeflateFactory(**offer)
        async with (
            gateway(sqlite_url) as running,
            connect(running.url(), compression=None, extensions=[factory]) as connection,
        ):
            await connection.recv()
            for number in range(20):
                await publish(running.log, [number])
                assert json.loads(await connection.recv())["payload"]["eid"] == str(number)
            await connection.send(json.dumps({"type": "pause"}))
            assert json.loads(await connection.recv())["subscription"]["paused"] is True

    run(main())


def test_a_message_that_inflates_beyond_all_bounds_is_refused(sqlite_url: str) -> None:
    async def main() -> None:
        async with gateway(sqlite_url) as running, connect(running.url()) as connection:
            await connection.recv()
            await connection.send("x" * 5_000_000)
            async with asyncio.timeout(5):
                await connection.wait_closed()
            assert connection.close_code == 1009

    run(main())
