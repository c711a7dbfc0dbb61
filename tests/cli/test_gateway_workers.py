"""`snowbus gateway --workers`: several processes on one port, kept running, ended together."""

import asyncio
import json
import os
import re
import signal
import urllib.request
from functools import partial

from support.aio import eventually, run
from support.gateway import publish
from support.processes import children
from support.sharing import all_run_besides, own_addresses, shared_address, workers
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from snowbus.bus.log import open_log
from snowbus.cli import exit_codes


def connections(address):
    text = urllib.request.urlopen(f"{address}/metrics", timeout=5).read().decode()
    return float(re.search(r"^snowbus_gateway_connections (\S+)$", text, re.MULTILINE)[1])


def test_readers_are_spread_over_the_processes_and_each_gets_everything(tmp_path, log_url):
    async def main(addresses, shared):
        async with await open_log(log_url) as log:
            await publish(log, [])
            readers = [await connect(f"ws://{shared}/v1/events") for _ in range(24)]
            for reader in readers:
                assert json.loads(await reader.recv())["type"] == "hello"
            counts = [await asyncio.to_thread(connections, address) for address in addresses]
            assert sum(counts) == 24
            assert min(counts) >= 1
            await publish(log, range(10))
            for reader in readers:
                events = []
                while len(events) < 10:
                    message = json.loads(await reader.recv())
                    events += [int(message["payload"]["eid"])] if message["type"] == "event" else []
                assert sorted(events) == list(range(10))
            for reader in readers:
                await reader.close()

    with workers("gateway", tmp_path, log_url) as process:
        addresses = own_addresses(process, "gateway")
        run(main(addresses, shared_address(process, "gateway")))
        assert process.stop() == exit_codes.OK
        assert not children(process.pid)


def test_one_that_is_killed_is_started_again_and_its_readers_resume_with_the_others(tmp_path, log_url):
    async def read_all(shared, count):
        """All events by cursor, over as many connections as it takes."""
        cursor, numbers = "earliest", []
        while len(numbers) < count:
            try:
                async with connect(f"ws://{shared}/v1/events?from={cursor}") as reader:
                    async for text in reader:
                        message = json.loads(text)
                        cursor = message.get("cursor") or cursor
                        numbers += [int(message["payload"]["eid"])] if message["type"] == "event" else []
                        if len(numbers) >= count:
                            break
            except (OSError, ConnectionClosed, InvalidHandshake):
                await asyncio.sleep(0.05)
        return numbers

    async def main(process):
        shared = shared_address(process, "gateway")
        async with await open_log(log_url) as log:
            await publish(log, [0])
            reading = [asyncio.create_task(read_all(shared, 61)) for _ in range(4)]
            for kill in range(3):
                start = 1 + 20 * kill
                await publish(log, range(start, start + 20))
                victim = min(children(process.pid))
                os.kill(victim, signal.SIGKILL)
                await eventually(partial(all_run_besides, process, victim))
            for numbers in await asyncio.gather(*reading):
                assert sorted(numbers) == list(range(61))

    with workers("gateway", tmp_path, log_url, "--worker-backoff", "0.1") as process:
        own_addresses(process, "gateway")
        run(main(process))
        assert process.stop() == exit_codes.OK
