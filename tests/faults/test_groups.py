"""Cuts the clients of a group off at random and kills its gateways while numbered events flow: none is lost."""

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

SECONDS = 25.0
CLIENTS = 4
GATEWAYS = 2
KILL_EVERY = 4.0
MAX_IN_FLIGHT = 20


class Clients:
    """Clients that do what they are sent, then acknowledge it, and are cut off somewhere in between."""

    def __init__(self, addresses):
        self.addresses = addresses
        self.done = []
        self.cuts = 0
        self.ends = False
        self.live_seconds = 0.5
        self._chance = random.Random(7)

    async def run(self):
        """One client, which comes back whenever it is cut off, until `ends`."""
        while not self.ends:
            with suppress(OSError, ConnectionClosed, InvalidHandshake, TimeoutError, EOFError):
                await self._work()
            await asyncio.sleep(0.02)

    async def _work(self):
        address = self._chance.choice(self.addresses).replace("http", "ws")
        url = f"{address}/v1/events?group=g&from=earliest&max_in_flight={MAX_IN_FLIGHT}"
        async with connect(url, open_timeout=10, close_timeout=0.1) as stream:
            lives_until = asyncio.get_running_loop().time() + self._chance.uniform(0, 2) * self.live_seconds
            with suppress(TimeoutError):
                async with asyncio.timeout_at(lives_until):
                    await self._handle(stream)
            self.cuts += 1
            stream.transport.abort()

    async def _handle(self, stream):
        unacknowledged = 0
        while not self.ends:
            message = json.loads(await stream.recv())
            if message["type"] != "event":
                continue
            await asyncio.sleep(0)  # here it may be cut off, with an event that it has not done
            self.done.append(int(message["payload"]["eid"]))
            unacknowledged += 1
            answer = {"type": "ack", "cursor": message["cursor"]}
            if self._chance.random() < 0.02:
                answer = {"type": "nack", "cursor": message["cursor"], "delay": 0.1}
                self.done.pop()
            elif self._chance.random() < 0.2:
                answer["only"] = True
            elif unacknowledged < MAX_IN_FLIGHT / 2:
                continue
            else:
                unacknowledged = 0
            await stream.send(json.dumps(answer))


def test_a_group_loses_nothing_when_clients_are_cut_off_and_gateways_killed(log_url, gateways, stream_to):
    stream = stream_to(log_url, rate=200)
    running = [gateways("--session-timeout", "1") for _ in range(GATEWAYS)]
    clients = Clients([process.address("gateway") for process in running])
    chance, kills = random.Random(8), 0

    async def replace(number):
        running[number].send(signal.SIGKILL)
        await asyncio.to_thread(running[number].wait)
        running[number] = gateways("--session-timeout", "1")
        clients.addresses[number] = await asyncio.to_thread(running[number].address, "gateway")

    async def main():
        nonlocal kills
        loop = asyncio.get_running_loop()
        tasks = [asyncio.create_task(clients.run()) for _ in range(CLIENTS)]
        ends_at = loop.time() + SECONDS
        while loop.time() < ends_at:
            await asyncio.sleep(KILL_EVERY * chance.uniform(0.5, 1.0))
            await replace(chance.randrange(GATEWAYS))
            kills += 1
        count = await asyncio.to_thread(stream.stop)
        clients.live_seconds = 60.0
        await eventually(lambda: set(clients.done) >= set(range(count)), timeout=60, every=0.2)
        clients.ends = True
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        return count

    count = run(main(), timeout=170)
    kind = log_url.partition(":")[0]
    print(
        f"\n{kind}: {count} events of a group, {clients.cuts} clients cut off, {kills} gateways killed: 0 lost, "
        f"{len(clients.done) - count} done again"
    )
    assert clients.cuts >= 100
