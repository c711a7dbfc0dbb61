"""The machine's Node, with the packages of the lock file installed once a session."""

import fcntl
import functools
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from support.requirements import require, require_program, required

_SOURCES = Path(__file__).parents[1] / "node"
_INSTALLED = Path(__file__).parents[2] / "build" / "node"


def run_node(script: str, *arguments: str, flags: Sequence[str] = ()) -> Any:
    """What a script of tests/node prints as JSON; `flags` are Node's. Skips the test where there is no Node, or its
    packages.
    """
    node = require_program("node", "node")
    require("node", _install())
    environment = {**os.environ, "NODE_PATH": str(_INSTALLED / "node_modules")}
    command = [node, *flags, _SOURCES / script, *arguments]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)


class NodeCommand(NamedTuple):
    """Where Node is, and the folder of the packages."""

    program: str
    packages: Path


def node_command() -> NodeCommand | None:
    """Node with its packages; None where they are not, which fails where SNOWBUS_REQUIRE asks for them."""
    program = shutil.which("node")
    missing = _install() if program else "no node on the PATH"
    if program and not missing:
        return NodeCommand(program, _INSTALLED / "node_modules")
    if required("node"):
        require("node", missing)
    return None


def node_package(name: str) -> Path:
    """The folder of an installed package. Skips the test where it cannot be installed."""
    require("node", _install())
    return _INSTALLED / "node_modules" / name


@functools.cache
def _install() -> str:
    """Install what the lock file says unless that is there; returns why it cannot, or an empty string."""
    npm = shutil.which("npm")
    if npm is None:
        return "no npm on the PATH"
    _INSTALLED.mkdir(parents=True, exist_ok=True)
    with (_INSTALLED / "lock").open("w") as turn:  # tests run in several processes
        fcntl.flock(turn, fcntl.LOCK_EX)
        return _install_now(npm)


def _install_now(npm: str) -> str:
    lock = (_SOURCES / "package-lock.json").read_bytes()
    stamp = _INSTALLED / "installed"
    if stamp.exists() and stamp.read_bytes() == lock:
        return ""
    for name in ("package.json", "package-lock.json"):
        shutil.copy(_SOURCES / name, _INSTALLED / name)
    command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    told = subprocess.run(command, cwd=_INSTALLED, capture_output=True, text=True, timeout=120, check=False)
    if told.returncode != 0:
        return f"npm ci failed: {told.stderr.strip()[-200:]}"
    stamp.write_bytes(lock)
    return ""
