"""Cuts readers off a thousand times: their end, their gateway, or both. By cursor each event comes to them once."""

import asyncio
import json
import random
import signal
from contextlib import suppress

import pytest
from support.aio import eventually, run
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

pytestmark = pytest.mark.faults

DISCONNECTS = 1_000
READERS = 8
GATEWAYS = 2
KILL_EVERY = 2.0
LONGEST_SECONDS = 0.3


class Reader:
    """Reads on from its cursor, at whichever gateway, whenever it is cut off; of some it wants compressed messages."""

    def __init__(self, addresses, number):
        self.addresses = addresses
        self.places = []
        self.numbers = []
        self.disconnects = 0
        self.is_to_be_cut = True
        self._cursor = "earliest"
        self._compression = "deflate" if number % 2 else None
        self._chance = random.Random(number)
        self._connection = None

    def cut(self):
        """Cut it off now."""
        if self._connection is not None:
            self._connection.transport.abort()

    async def run(self):
        while True:
            with suppress(OSError, ConnectionClosed, InvalidHandshake, TimeoutError, EOFError):
                await self._read()
            await asyncio.sleep(0.01)

    async def _read(self):
        address = self._chance.choice(self.addresses).replace("http", "ws")
        url = f"{address}/v1/events?from={self._cursor}"
        async with connect(url, open_timeout=10, close_timeout=0.1, compression=self._compression) as connection:
            self._connection = connection
            seconds = self._chance.uniform(0, LONGEST_SECONDS) if self.is_to_be_cut else 3600.0
            cutting = asyncio.get_running_loop().call_later(seconds, connection.transport.abort)
            try:
                async for text in connection:
                    self._take(json.loads(text))
            finally:
                cutting.cancel()
                self._connection = None
                self.disconnects += 1

    def _take(self, message):
        self._cursor = message.get("cursor") or self._cursor
        assert message["type"] != "gap", message
        if message["type"] == "event":
            self.places.append((message["partition"], message["offset"]))
            self.numbers.append(int(message["payload"]["eid"]))


def test_a_thousand_disconnects_lose_and_repeat_nothing(log_url, gateways, stream_to):
    stream = stream_to(log_url, rate=200)
    running = [gateways() for _ in range(GATEWAYS)]
    addresses = [process.address("gateway") for process in running]
    readers = [Reader(addresses, number) for number in range(READERS)]
    chance, kills = random.Random(8), 0

    def disconnects():
        return sum(reader.disconnects for reader in readers)

    async def replace(number):
        running[number].send(signal.SIGKILL)
        for reader in chance.sample(readers, READERS // 4):
            reader.cut()
        await asyncio.to_thread(running[number].wait)
        running[number] = gateways()
        addresses[number] = await asyncio.to_thread(running[number].address, "gateway")

    async def main():
        nonlocal kills
        tasks = [asyncio.create_task(reader.run()) for reader in readers]
        while disconnects() < DISCONNECTS:
            await asyncio.sleep(KILL_EVERY)
            await replace(chance.randrange(GATEWAYS))
            kills += 1
        count = await asyncio.to_thread(stream.stop)
        for reader in readers:
            reader.is_to_be_cut = False
        await eventually(lambda: all(len(reader.numbers) >= count for reader in readers), timeout=60, every=0.2)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        return count

    count = run(main(), timeout=170)
    for reader in readers:
        assert sorted(reader.numbers) == list(range(count))
        assert len(set(reader.places)) == count
    kind = log_url.partition(":")[0]
    print(f"\n{kind}: {count} events, {disconnects()} disconnects, {kills} of gateways killed: 0 lost, 0 repeated")
