"""The unit for systemd: it is verified by systemd itself, and what it starts tells when it is ready, and drains."""

import configparser
import re
import shlex
import socket
import subprocess
from pathlib import Path

import pytest
import requests
from support.requirements import require_program
from support.snowbus import COMMAND, Process, environment

UNIT = Path(__file__).parents[2] / "compose" / "systemd" / "snowbus@.service"
INSTALLED = "/usr/local/bin/snowbus"


@pytest.fixture(scope="module")
def service():
    """The unit's section on the service; of keys that are repeated, the last."""
    unit = configparser.ConfigParser(strict=False, interpolation=None, delimiters="=")
    unit.optionxform = str
    unit.read_string(UNIT.read_text())
    return unit["Service"]


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path):
    analyze = require_program("systemd", "systemd-analyze")
    copy = tmp_path / "snowbus@up.service"
    copy.write_text(UNIT.read_text().replace(INSTALLED, str(COMMAND)))
    verified = subprocess.run([analyze, "verify", "--man=no", copy], capture_output=True, text=True, check=False)
    told = [line for line in verified.stderr.splitlines() if "snowbus" in line]
    assert (verified.returncode, told) == (0, [])


@pytest.mark.parametrize("role", ["up", "collect"])
def test_what_the_unit_starts_tells_when_it_is_ready_and_drains_in_its_time(service, tmp_path, role):
    state = tmp_path / "snowbus"
    state.mkdir()

    def resolved(text):
        return text.replace("%i", role).replace("%S", str(tmp_path))

    program, *arguments = shlex.split(resolved(service["ExecStart"]))
    assert program == INSTALLED
    name, _, value = resolved(service["Environment"]).partition("=")
    variables = environment(
        ingest_listen="127.0.0.1:0",
        gateway_listen="127.0.0.1:0",
        collect_listen="127.0.0.1:0",
        collector="http://127.0.0.1:9",
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        variables |= {name: value, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        with Process(*arguments, cwd=Path(resolved(service["WorkingDirectory"])), variables=variables) as process:
            assert manager.recv(100) == b"READY=1"
            address = process.address("collect", timeout=5)
            assert requests.get(f"{address}/health", timeout=5).status_code == 200
            assert process.stop(timeout=float(service["TimeoutStopSec"])) == 0
    assert (state / "snowbus.db").exists()


def test_what_no_restart_mends_is_not_restarted(service, tmp_path):
    """A damaged log, say."""
    (tmp_path / "snowbus.db").write_bytes(b"")
    with Process("up", cwd=tmp_path) as process:
        assert str(process.wait()) in re.split(" +", service["RestartPreventExitStatus"])
