"""What docs/other-languages.md says of PHP and Go: the requests that the official tracker makes, or the tracker."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from support.aio import run
from support.documents import program
from support.fakes import FakeLog
from support.ingest import raw, serving
from support.requirements import require, require_program
from support.snowbus import Process, snowbus

from snowbus.bus.envelope import decode_event
from snowbus.bus.event import BAD_TOPIC, EVENTS_TOPIC

PHP_EVENT = {
    "dtm": "1700000000000",
    "e": "pv",
    "url": "https://shop.example/",
    "page": "Käse",
    "tv": "php-0.9.0",
    "tna": "shop",
    "aid": "shop-php",
    "p": "srv",
    "eid": "b8a6f2e0-8a3e-11ee-b9d1-0242ac120002",
    "cx": "eyJzY2hlbWEiOiJpZ2x1OmEiLCJkYXRhIjpbXX0=",
    "stm": "1700000000100",
}
PHP_BODY = (
    json.dumps({"schema": "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4", "data": [PHP_EVENT]})
    .replace("/", "\\/")  # as json_encode does
    .encode()
)
PHP_QUERY = (
    b"dtm=1700000000000&e=pv&url=https%3A%2F%2Fshop.example%2F&page=K%C3%A4se&tv=php-0.9.0&tna=shop&aid=shop-php&p=srv"
    b"&eid=b8a6f2e0-8a3e-11ee-b9d1-0242ac120002&cx=eyJzY2hlbWEiOiJpZ2x1OmEiLCJkYXRhIjpbXX0%3D&stm=1700000000100"
)
PHP_HEADERS = b"Content-Type: application/json; charset=utf-8\r\nAccept: application/json\r\nContent-Length: %d\r\n"
# Source: the tracker's CurlEmitter, SyncEmitter and SocketEmitter. Theirs is no Connection header; it ends the test.
PHP_REQUESTS = {
    "curl": b"POST /com.snowplowanalytics.snowplow/tp2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    + PHP_HEADERS % len(PHP_BODY)
    + b"\r\n"
    + PHP_BODY,
    "curl that asks first": b"POST /com.snowplowanalytics.snowplow/tp2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    + PHP_HEADERS % len(PHP_BODY)
    + b"Expect: 100-continue\r\n\r\n"
    + PHP_BODY,
    "curl, GET": b"GET /i?%b HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept: */*\r\n\r\n" % PHP_QUERY,
    "socket": b"POST http://x/com.snowplowanalytics.snowplow/tp2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    b"Content-Type: application/json; charset=utf-8\r\nContent-length: %d\r\nAccept: application/json\r\n\r\n%b\r\n\r\n"
    % (len(PHP_BODY), PHP_BODY),
    "socket, GET": b"GET http://x/i?%b HTTP/1.1\r\nHost: x\r\nConnection: close\r\nQuery: %b\r\n\r\n"
    % (PHP_QUERY, PHP_QUERY),
}


@pytest.mark.parametrize("name", PHP_REQUESTS)
def test_the_requests_of_the_php_tracker_are_understood(name: str) -> None:
    async def main() -> None:
        log = FakeLog()
        async with serving(log) as ingest:
            answer = await raw(ingest.address, PHP_REQUESTS[name])
            assert b"HTTP/1.1 200 OK" in answer
            [record] = log.records[EVENTS_TOPIC]
            assert json.loads(decode_event(record.value).payload) == PHP_EVENT
            assert log.records[BAD_TOPIC] == []

    run(main())


@pytest.mark.faults
def test_the_go_tracker_tracks(tmp_path: Path, sqlite_url: str) -> None:
    """The document's program; it takes its time to be compiled."""
    go = require_program("go", "go")
    (tmp_path / "main.go").write_text(program("other-languages.md", "go"))
    (tmp_path / "go.mod").write_text("module shop\n\ngo 1.19\n")
    variables = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod"}
    get = [go, "get", "github.com/snowplow/snowplow-golang-tracker/v3/tracker@v3.1.0"]
    told = subprocess.run(get, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False, timeout=120)
    require("go", "" if told.returncode == 0 else f"go get failed: {told.stderr.strip()[-200:]}")
    with Process("ingest", "--log", sqlite_url, "--listen", "127.0.0.1:0", cwd=tmp_path) as ingest:
        address = ingest.address("ingest").removeprefix("http://")
        command = [go, "run", ".", address]
        subprocess.run(command, cwd=tmp_path, env=variables, check=True, timeout=300)
        told = snowbus("tail", "--log", sqlite_url, "--from", "earliest", "--count", "1", "--json", cwd=tmp_path)
        event = json.loads(told.stdout)
    assert event["payload"]["tv"].startswith("golang-")
    assert event["event"]["app_id"] == "shop-go"
    assert event["source"]["user_agent"] == "Go-http-client/1.1"
