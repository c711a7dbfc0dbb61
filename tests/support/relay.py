"""Stands between a client and a server, at one address, so that connections can be cut and servers replaced."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


class Relay:
    """Passes bytes on to `target`, a URL; without one it hangs up. `cuts` counts how often it cut a connection, and
    `passed_back` the bytes that it has passed on to clients.
    """

    def __init__(self) -> None:
        self.target = ""
        self.cuts = 0
        self.passed_back = 0
        self.address = ""
        self._open: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()

    def url(self, scheme: str) -> str:
        """The address as a URL."""
        return f"{scheme}://{self.address}"

    def cut(self) -> None:
        """End every connection, without a word."""
        self.cuts += 1
        for writer in self._open:
            writer.transport.abort()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection until one side ends it, or the relay does."""
        task = asyncio.current_task()
        assert task
        self._serving.add(task)
        try:
            with suppress(OSError, asyncio.CancelledError):
                await self._serve(reader, writer)
        finally:
            writer.transport.abort()
            self._serving.discard(task)

    async def close(self) -> None:
        """End every connection, and whatever serves them."""
        self.cut()
        serving = set(self._serving)
        for task in serving:
            task.cancel()
        if serving:
            await asyncio.wait(serving)
        await asyncio.sleep(0)  # for the sockets to close

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parts = urlsplit(self.target)
        if not self.target:
            return
        there, away = await asyncio.open_connection(parts.hostname, parts.port)
        self._open |= {writer, away}
        ways = [asyncio.create_task(way) for way in (_pass_on(reader, away), _pass_on(there, writer, self._count))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            away.transport.abort()
            writer.transport.abort()
            self._open -= {writer, away}
            await asyncio.wait(ways)

    def _count(self, size: int) -> None:
        self.passed_back += size


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: Callable[[int], object] = lambda _: None
) -> None:
    with suppress(OSError):
        while found := await reader.read(65_536):
            count(len(found))
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
        await between.close()
