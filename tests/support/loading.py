"""Loads a server with POSTs of official payloads from a process of its own, and tells what that cost."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

from snowbus.bus.payload import PAYLOAD_DATA_SCHEMA

LOAD = Path(__file__).parents[1] / "benchmarks" / "http_load.py"
PATH = "/com.snowplowanalytics.snowplow/tp2"
_DISTINCT_EVENTS = 2_000


def page_view() -> dict[str, str]:
    """An event as a browser tracker sends it, of some 550 bytes, by a user of its own."""
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


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start_load(address: str, folder: Path, *options: str, events: int) -> "subprocess.Popen[str]":
    """Start to POST `events` at a time; `http_load.py` says what its options are, and `figures` what it found."""
    bodies = folder / f"bodies-{events}.ndjson"
    if not bodies.exists():
        lines = (
            json.dumps({"schema": PAYLOAD_DATA_SCHEMA, "data": [page_view() for _ in range(events)]})
            for _ in range(_DISTINCT_EVENTS // events)
        )
        bodies.write_text("\n".join(lines))
    port = address.rpartition(":")[2]
    return subprocess.Popen([sys.executable, LOAD, port, PATH, bodies, *options], stdout=subprocess.PIPE, text=True)


def figures(load: "subprocess.Popen[str]") -> dict[str, Any]:
    """What a load found, once it has ended: `count`, `requests` a second, `p50` and `p99` in seconds."""
    output, _ = load.communicate(timeout=600)
    assert load.returncode == 0
    found: dict[str, Any] = json.loads(output)
    return found
