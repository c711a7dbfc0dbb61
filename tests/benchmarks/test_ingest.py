"""How many requests and events a second ingest takes, beside a bare uvicorn app that reads the body and says ok."""

import json
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from support.snowbus import COMMAND, Process

LOAD = Path(__file__).with_name("http_load.py")
PATH = "/com.snowplowanalytics.snowplow/tp2"
SCHEMA = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"
FLOOR = """
import asyncio, json, uvloop
from snowbus.bus.http_server import serve_http
async def app(scope, receive, send):
    body = b""
    more = True
    while more:
        message = await receive()
        body += message["body"]
        more = message["more_body"]
    json.loads(body)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
async def main():
    stop = asyncio.Event()
    await serve_http(app, "127.0.0.1:0", ready=lambda address: print(address, flush=True), stop=stop)
uvloop.run(main())
"""


def event():
    return {
        "e": "pv",
        "p": "web",
        "tv": "js-4.0.0",
        "aid": "shop",
        "eid": str(uuid4()),
        "dtm": "1700000000000",
        "duid": str(uuid4()),
        "sid": str(uuid4()),
        "vid": "3",
        "url": "https://shop.example/outdoor/a-113?ref=newsletter",
        "page": "Trail bottle",
        "ua": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36",
        "lang": "en-GB",
        "res": "1920x1080",
        "vp": "1280x720",
        "ds": "1280x4200",
        "cd": "24",
        "cs": "UTF-8",
        "tz": "Europe/Berlin",
    }


def load(address, tmp_path, events):
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"schema": SCHEMA, "data": [event() for _ in range(events)]}))
    port = address.rpartition(":")[2]
    command = [sys.executable, LOAD, port, PATH, body]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)


def show(what, events, figures, floor=None):
    ratio = f"  {figures['requests'] / floor['requests']:5.2f} of a bare app" if floor else ""
    print(
        f"  {what:<34} {figures['requests']:>8,.0f} requests/s {figures['requests'] * events:>9,.0f} events/s "
        f"p50 {figures['p50'] * 1000:6.1f} ms p99 {figures['p99'] * 1000:6.1f} ms{ratio}"
    )


@pytest.fixture
def floor(tmp_path):
    """What a bare app takes, by events a POST."""
    with subprocess.Popen([sys.executable, "-c", FLOOR], stdout=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().strip()
        yield {events: load(address, tmp_path, events) for events in (1, 10, 50)}
        process.kill()


def test_ingest(log_url, tmp_path, floor):
    print(f"\nIngest on {log_url.partition(':')[0]}, client and server on the same two cores")
    with Process("ingest", "--log", log_url, "--listen", "127.0.0.1:0", program=COMMAND, cwd=tmp_path) as ingest:
        address = ingest.address("ingest")
        for events in (1, 10, 50):
            show(f"bare app, {events} a POST", events, floor[events])
            show(f"ingest, {events} a POST", events, load(address, tmp_path, events), floor[events])
