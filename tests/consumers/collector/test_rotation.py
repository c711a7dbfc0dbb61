"""The key that a collector asks for is replaced while its consumer runs."""

import urllib.request
from pathlib import Path

from support.aio import soon
from support.collector_double import CollectorDouble
from support.consuming import append
from support.forwarding import numbered
from support.snowbus import Process


def put(file: Path, text: str) -> None:
    """Replace a file in one step, as rotating tools do."""
    file.with_suffix(".new").write_text(text)
    file.with_suffix(".new").rename(file)


def is_broken(address: str) -> bool:
    """Whether the role says that it cannot use the file."""
    with urllib.request.urlopen(f"{address}/metrics", timeout=5) as answer:
        told = answer.read().decode()
    return 'snowbus_settings_file_broken{setting="collect_headers_file"} 1.0' in told


def test_a_key_in_the_file_of_headers_is_replaced_without_a_restart(tmp_path: Path, sqlite_url: str) -> None:
    headers = tmp_path / "headers"
    put(headers, "Authorization: Bearer one\n")
    with CollectorDouble() as collector:
        collector.authorization = "Bearer one"
        arguments = ("--collector", collector.url, "--log", sqlite_url, "--listen", "127.0.0.1:0")
        with Process("collect", "--headers-file", str(headers), *arguments, cwd=tmp_path) as process:
            address = process.address("collect")
            put(headers, "no header\n")
            soon(lambda: is_broken(address))
            append(sqlite_url, [numbered(1)])
            soon(lambda: collector.event_ids == ["1"])
            put(headers, "\nAuthorization: Bearer two\n")
            soon(lambda: not is_broken(address))
            collector.authorization = "Bearer two"
            append(sqlite_url, [numbered(2)])
            soon(lambda: collector.event_ids == ["1", "2"])
            assert process.stop() == 0
