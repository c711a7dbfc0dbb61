"""`/ready` of ingest says no as long as events would get a 503, and yes again when they would not."""

import contextlib
import resource
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from support.aio import soon
from support.snowbus import Process


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, answer.read().decode("latin-1")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode("latin-1")


@contextlib.contextmanager
def ingest(folder: Path, url: str) -> Iterator[tuple[Process, str]]:
    with Process("ingest", "--log", url, "--listen", "127.0.0.1:0", "--append-timeout", "1", cwd=folder) as process:
        address = process.address("ingest")
        soon(lambda: get(address + "/ready")[0] == 200)
        yield process, address


def test_it_is_not_ready_while_another_process_has_the_file_locked(tmp_path: Path, sqlite_url: str) -> None:
    """The file can be read all the time."""
    with ingest(tmp_path, sqlite_url) as (_, address):
        with contextlib.closing(sqlite3.connect(tmp_path / "log.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            soon(lambda: get(address + "/ready")[0] == 503)
            assert get(address + "/i?e=pv")[0] == 503
            assert get(address + "/health")[0] == 200
            other.execute("ROLLBACK")
        soon(lambda: get(address + "/i?e=pv")[0] == 200)
        assert get(address + "/ready") == (200, "ready\n")


def test_it_is_not_ready_while_the_disk_is_full(tmp_path: Path, sqlite_url: str) -> None:
    """A file may not grow beyond what it is, as on a disk without room; nobody need send an event to show it."""
    with ingest(tmp_path, sqlite_url) as (process, address):
        assert get(address + "/i?e=pv")[0] == 200
        _, most = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        size = (tmp_path / "log.db-wal").stat().st_size
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, most))
        soon(lambda: get(address + "/ready")[0] == 503)
        assert get(address + "/ready")[1].startswith("embedded log ")
        assert get(address + "/i?e=pv")[0] == 503
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, most))
        soon(lambda: get(address + "/i?e=pv")[0] == 200)
        assert get(address + "/ready") == (200, "ready\n")
