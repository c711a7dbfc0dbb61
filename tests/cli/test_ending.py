"""Signals end a command whatever hangs in it: the first some time after it should have drained, the second soon."""

import signal
import subprocess
import sys

import pytest
from support.consuming import HEAD, consume, publish
from support.snowbus import Process

from snowbus.cli import exit_codes

IN_A_HURRY = """
from snowbus.cli import ending, main
ending._AFTER_DRAINING_SECONDS = 0.3
main.main()
"""

INTERRUPTED_AT_AN_IMPORT = """
import signal, sys

class Interrupting:
    def find_spec(self, name, *_):
        if name == sys.argv[2]:
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
from snowbus.cli.__main__ import main
main()
"""

HANDLERS = {
    "a thread that is waited for": 'print("begun", flush=True)\n    await asyncio.to_thread(time.sleep, 100)',
    "a blocked loop": 'print("begun", flush=True)\n    time.sleep(100)',
    "a handler that cannot be cancelled": """print("begun", flush=True)
    while True:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            pass""",
}

LIFESPANS = {
    "a lifespan that does not begin": 'print("begun", flush=True)\n    await asyncio.sleep(100)\n    yield',
    "a lifespan that does not end": "yield\n    await asyncio.sleep(100)",
}


def write(folder, what):
    """A module with a consumer that hangs so, once it has said `begun`."""
    lifespan, handler = LIFESPANS.get(what, "yield"), HANDLERS.get(what, 'print("begun", flush=True)')
    (folder / "stock.py").write_text(f"""{HEAD}
import contextlib

@contextlib.asynccontextmanager
async def lifespan():
    {lifespan}

@consumer("snowbus.events", group_id="stock", lifespan=lifespan)
async def stock(record, _):
    {handler}
""")


@pytest.mark.parametrize("what", [*HANDLERS, "a lifespan that does not end"])
def test_what_hangs_is_ended_when_it_should_have_drained_long_ago(tmp_path, sqlite_url, what):
    write(tmp_path, what)
    publish(tmp_path, sqlite_url, "one")
    arguments = ["stock", "--log", sqlite_url, "--listen", "127.0.0.1:0", "--drain-timeout", "0.2"]
    with Process("-c", IN_A_HURRY, "consume", *arguments, program=sys.executable, cwd=tmp_path) as process:
        process.line("begun")
        assert process.stop() == exit_codes.FAILED
        assert "did not end in time; ended by force" in process.diagnostics[-1]
        assert '"seconds": 0.5' in process.diagnostics[-1]


@pytest.mark.parametrize(
    "what", ["a blocked loop", "a handler that cannot be cancelled", "a lifespan that does not begin"]
)
def test_a_second_signal_ends_what_hangs(tmp_path, sqlite_url, what):
    write(tmp_path, what)
    publish(tmp_path, sqlite_url, "one")
    with consume(tmp_path, sqlite_url, "stock") as process:
        process.line("begun")
        process.signal_twice()
        assert process.wait(timeout=10) == exit_codes.INTERRUPTED


def test_a_second_signal_ends_what_hangs_after_it_has_drained(tmp_path, sqlite_url):
    write(tmp_path, "a thread that is waited for")
    publish(tmp_path, sqlite_url, "one")
    with consume(tmp_path, sqlite_url, "stock", "--drain-timeout", "0.1") as process:
        process.line("begun")
        process.send(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        process.send(signal.SIGTERM)
        assert process.wait(timeout=10) == exit_codes.INTERRUPTED


@pytest.mark.parametrize("role", ["ingest", "up"])
def test_a_second_signal_ends_every_role(tmp_path, sqlite_url, role):
    script = """
import time
from snowbus.cli import main, roles, running

def blocks(name, address):
    print("begun", flush=True)
    time.sleep(100)

running.announce = roles.announce = blocks
main.main()
"""
    listen = ["--ingest-listen", "127.0.0.1:0", "--gateway-listen", "127.0.0.1:0"] if role == "up" else []
    arguments = [role, "--log", sqlite_url, *(listen or ["--listen", "127.0.0.1:0"])]
    with Process("-c", script, *arguments, program=sys.executable, cwd=tmp_path) as process:
        process.line("begun")
        process.signal_twice()
        assert process.wait(timeout=10) == exit_codes.INTERRUPTED


@pytest.mark.parametrize("module", ["click", "snowbus.bus.errors", "snowbus.cli.status"])
def test_an_interrupt_while_the_command_is_imported_is_quiet(module):
    command = [sys.executable, "-c", INTERRUPTED_AT_AN_IMPORT, "status", module]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr.strip()) == (exit_codes.INTERRUPTED, "")
