"""A websocket on a bare socket: it sends whatever bytes a test likes, and reads HTTP answers and frames as they are."""

import asyncio
import base64
import json
import os
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
_SECONDS = 10.0
_END = b"\x00\x00\xff\xff"


class Answer(NamedTuple):
    """An HTTP answer; header names are in lower case. A switch of protocols has no body."""

    status: int
    headers: dict[str, str]
    body: bytes


class Frame(NamedTuple):
    """A frame that came; `rsv1` says that it is compressed."""

    opcode: int
    payload: bytes
    rsv1: bool

    @property
    def close_code(self) -> int | None:
        """The code in a close frame, None where it has none."""
        return int.from_bytes(self.payload[:2]) if self.payload else None


def upgrade(target: str, *headers: str) -> bytes:
    """A handshake, with these headers besides those that it needs."""
    needed = (
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        "Sec-WebSocket-Version: 13",
    )
    return "\r\n".join([f"GET {target} HTTP/1.1", *needed, *headers, "", ""]).encode()


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True, length: int | None = None
) -> bytes:
    """A client's frame; `length` is what it claims to hold, where that is another than what it does."""
    claimed = len(payload) if length is None else length
    first, mask_bit = fin << 7 | rsv << 4 | opcode, masked << 7
    if claimed < 126:
        head = struct.pack("!BB", first, mask_bit | claimed)
    elif claimed < 65_536:
        head = struct.pack("!BBH", first, mask_bit | 126, claimed)
    else:
        head = struct.pack("!BBQ", first, mask_bit | 127, claimed)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))


class RawWebsocket:
    """The client's side of one connection. Whatever does not come within ten seconds raises TimeoutError."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._inflater = zlib.decompressobj(wbits=-15)
        self.compressed = 0
        """How many messages came compressed."""

    async def send(self, data: bytes) -> None:
        """Send bytes as they are; a server that takes no more of them has its reasons, which are to be read."""
        self._writer.write(data)
        try:
            await self._writer.drain()
        except ConnectionError:
            return

    def send_no_more(self) -> None:
        """Close our side."""
        if not self._writer.is_closing():
            self._writer.write_eof()

    async def say(self, message: Any) -> None:
        """Send a message as JSON."""
        await self.send(frame(TEXT, json.dumps(message).encode()))

    async def answer(self) -> Answer | None:
        """The HTTP answer, None when the connection ends without one."""
        async with asyncio.timeout(_SECONDS):
            try:
                head = await self._reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError as error:
                assert not error.partial
                return None
            first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            status = int(first.removeprefix("HTTP/1.1 ")[:4])
            return Answer(status, headers, b"" if status == 101 else await self._reader.read())

    async def frame(self) -> Frame | None:
        """The next frame, None at the end of the connection."""
        async with asyncio.timeout(_SECONDS):
            try:
                first, length = await self._reader.readexactly(2)
            except asyncio.IncompleteReadError as error:
                assert not error.partial
                return None
            if length >= 126:
                length = int.from_bytes(await self._reader.readexactly(2 if length == 126 else 8))
            return Frame(first & 0x0F, await self._reader.readexactly(length), bool(first & 0x40))

    async def text(self) -> str:
        """The next text message. Raises EOFError at the end of the connection."""
        while (came := await self.frame()) is not None:
            if came.opcode == TEXT:
                return self._inflated(came).decode()
        raise EOFError

    async def message(self) -> dict[str, Any]:
        """The next message. Raises EOFError at the end of the connection."""
        message: dict[str, Any] = json.loads(await self.text())
        return message

    def _inflated(self, came: Frame) -> bytes:
        if not came.rsv1:
            return came.payload
        self.compressed += 1
        return self._inflater.decompress(came.payload + _END)


@asynccontextmanager
async def raw_websocket(address: str) -> AsyncIterator[RawWebsocket]:
    """Connect to an `http://` address, and say nothing yet."""
    parts = urlsplit(address)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        yield RawWebsocket(reader, writer)
    finally:
        writer.transport.abort()
