"""The whole path with no Snowbus in it, as plainly as its libraries allow: a process for each of its three roles.

`whole_path_floor.py ROLE SERVERS [URL]` prints the address that it listens on. The roles:

- `ingest` is uvicorn; it sends each event of a POST to Kafka by aiokafka, and says ok when all replicas have it,
- `collect` POSTs batches of what it reads to the collector at the URL; it forgets offsets, order and failures,
- `gateway` sends each event to all readers by `websockets.broadcast()`; it has no filters, history or bounds.
"""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator

import aiohttp
import orjson
import uvicorn
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from websockets.asyncio.server import ServerConnection, broadcast, serve

from snowbus.cli.running import collect_garbage_seldom

TOPIC = "floor.events"
BATCH = 200
IN_FLIGHT = 8
PATH = "/com.snowplowanalytics.snowplow/tp2"
OPENING = b'{"schema":"iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4","data":['


async def ingest(servers: str) -> None:
    """Take POSTs, and answer each once its events are durable."""
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", enable_idempotence=True, compression_type="lz4")

    async def app(_, receive, send):
        body, more = b"", True
        while more:
            message = await receive()
            body += message["body"]
            more = message["more_body"]
        events = orjson.loads(body)["data"]
        sent = [await producer.send(TOPIC, orjson.dumps(each), key=each["duid"].encode()) for each in events]
        await asyncio.gather(*sent)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    config = uvicorn.Config(app, http="httptools", lifespan="off", log_config=None, access_log=False)
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listening:
        async with producer:
            print("http://{}:{}".format(*listening.getsockname()), flush=True)
            await uvicorn.Server(config).serve(sockets=[listening])


async def batches(servers: str) -> AsyncIterator[list[bytes]]:
    """What is on the log, as it comes."""
    async with AIOKafkaConsumer(TOPIC, bootstrap_servers=servers, auto_offset_reset="earliest") as reader:
        while True:
            for found in (await reader.getmany(timeout_ms=100, max_records=BATCH)).values():
                yield [record.value for record in found]


async def collect(servers: str, url: str) -> None:
    """POST what is on the log, several batches at once."""
    places = asyncio.Semaphore(IN_FLIGHT)
    async with aiohttp.ClientSession(headers={"Content-Type": "application/json"}) as session:

        async def post(body: bytes) -> None:
            async with session.post(url + PATH, data=body) as response:
                await response.read()
            places.release()

        print(url, flush=True)
        async with asyncio.TaskGroup() as tasks:
            async for values in batches(servers):
                await places.acquire()
                tasks.create_task(post(OPENING + b",".join(values) + b"]}"))


async def gateway(servers: str) -> None:
    """Send what is on the log to whoever is connected."""
    connected: set[ServerConnection] = set()

    async def handle(connection: ServerConnection) -> None:
        await connection.send("hello")
        connected.add(connection)
        await connection.wait_closed()

    async with serve(handle, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        print("http://{}:{}".format(*next(iter(server.sockets)).getsockname()), flush=True)
        async for values in batches(servers):
            for value in values:
                broadcast(connected, value.decode())


ROLES = {"ingest": ingest, "collect": collect, "gateway": gateway}

if __name__ == "__main__":
    collect_garbage_seldom()
    uvloop.run(ROLES[sys.argv[1]](*sys.argv[2:]))
