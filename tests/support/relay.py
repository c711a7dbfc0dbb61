"""Stands between a client and a server, at one address, so that connections can be cut and servers replaced."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


class Relay:
    """Passes bytes on to `target`, a URL; without one it hangs up. `cuts` counts how often it cut a connection."""

    def __init__(self) -> None:
        self.target = ""
        self.cuts = 0
        self.address = ""
        self._open: set[asyncio.StreamWriter] = set()

    def url(self, scheme: str) -> str:
        """The address as a URL."""
        return f"{scheme}://{self.address}"

    def cut(self) -> None:
        """End every connection, without a word."""
        self.cuts += 1
        for writer in self._open:
            writer.transport.abort()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection until one side ends it."""
        parts = urlsplit(self.target)
        try:
            if not self.target:
                raise ConnectionRefusedError
            there, away = await asyncio.open_connection(parts.hostname, parts.port)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, away}
        ways = [asyncio.create_task(_pass_on(*ends)) for ends in ((reader, away), (there, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (*ways, writer.transport, away.transport):
                each.cancel() if isinstance(each, asyncio.Task) else each.abort()
            await asyncio.gather(*ways, return_exceptions=True)
            self._open -= {writer, away}


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while found := await reader.read(65_536):
            writer.write(found)
            await writer.drain()


@asynccontextmanager
async def relay() -> AsyncIterator[Relay]:
    """Run one."""
    between = Relay()
    server = await asyncio.start_server(between.handle, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    between.address = f"{host}:{port}"
    try:
        yield between
    finally:
        server.close()
        between.cut()
        await asyncio.sleep(0)
