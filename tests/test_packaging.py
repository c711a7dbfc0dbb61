"""The wheel holds everything: what works from a checkout works installed, on every Python that the machine has."""

import json
import shutil
import subprocess
import sys
import tomllib
import urllib.request
import zipfile
from pathlib import Path

import pytest
from support.aio import soon
from support.emitting import payloads_on
from support.requirements import python
from support.snowbus import Process, environment

ROOT = Path(__file__).parents[1]
PACKAGES = ("bus", "producers", "consumers", "cli", "schemas")
NOT_CODE = {".pyc"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PYTHONS = [each.rpartition(" ")[2] for each in PROJECT["classifiers"] if "Python :: 3." in each]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in (*PACKAGES, "pyproject.toml", "README.md", "LICENSE"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        source.mkdir(exist_ok=True)
        copy(ROOT / name, source / name)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--verbose",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        folder,
        source,
    ]
    built = subprocess.run(build, check=True, capture_output=True, text=True, timeout=100)
    assert "Warning" not in built.stdout + built.stderr
    (found,) = folder.glob("snowbus-*.whl")
    return found


def test_the_wheel_holds_every_file_of_every_package_and_runs(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    expected = {
        file.relative_to(ROOT)
        for package in PACKAGES
        for file in (ROOT / package).rglob("*")
        if file.is_file() and file.suffix not in NOT_CODE
    }
    installed = tmp_path / "installed" / "snowbus"
    assert {file.relative_to(installed) for file in installed.rglob("*") if file.is_file()} == expected
    script = "import sys; from snowbus.cli.main import main; sys.argv[1:] = ['up', '--help']; main()"
    command = [sys.executable, "-S", "-c", script]
    site = f"{Path(sys.prefix) / 'lib' / f'python3.{sys.version_info.minor}' / 'site-packages'}"
    answer = subprocess.run(
        command, cwd=tmp_path / "installed", env={"PYTHONPATH": site}, capture_output=True, text=True, check=False
    )
    assert "--ingest-listen" in answer.stdout, answer.stderr


@pytest.fixture(scope="module", params=PYTHONS)
def programs(wheel, request, tmp_path_factory):
    """The programs of a clean environment of each Python, with the newest releases that the wheel allows."""
    folder = tmp_path_factory.mktemp("clean")
    subprocess.run([python(request.param), "-m", "venv", folder], check=True, timeout=100)
    install = [folder / "bin" / "pip", "install", "--quiet", "--no-compile", wheel]
    subprocess.run(install, check=True, capture_output=True, cwd=folder, timeout=600)
    return folder / "bin"


@pytest.mark.faults
def test_a_script_that_ends_at_once_loses_nothing_on_each_python(programs, tmp_path):
    """Python 3.12.0 and 3.12.1 start no thread once the main one has ended; so it was before the log was open."""
    url = f"sqlite:///{tmp_path / 'events.db'}"
    event = {"e": "pv", "p": "srv", "tv": "t", "eid": "1"}
    script = f"from snowbus.producers.emitters import BusEmitter; BusEmitter({url!r}).input({event!r})"
    ended = subprocess.run([programs / "python", "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert ended.stderr == ""
    assert [payload["eid"] for payload in payloads_on(url)] == ["1"]


@pytest.mark.faults
def test_the_wheel_runs_in_a_clean_environment_on_each_python(programs, tmp_path):
    """With warnings as errors, `snowbus up` takes an event and shows it."""
    arguments = ("up", "--ingest-listen", "127.0.0.1:0", "--gateway-listen", "127.0.0.1:0")
    variables = {**environment(), "PYTHONWARNINGS": "error"}
    with Process(*arguments, program=programs / "snowbus", cwd=tmp_path, variables=variables) as process:
        ingest, gateway = process.address("ingest"), process.address("gateway")
        with urllib.request.urlopen(f"{ingest}/i?e=pv&p=web&eid=1", timeout=10) as answer:
            assert answer.status == 200
        assert soon(lambda: newest(gateway)) == "1"
        assert process.stop() == 0
    told = "".join(process.diagnostics)
    assert "Warning" not in told
    assert "Traceback" not in told


def newest(gateway):
    """The id of the last event that the gateway exports, or None."""
    with urllib.request.urlopen(f"{gateway}/v1/events.ndjson?from=-1", timeout=10) as answer:
        lines = answer.read().splitlines()
    return json.loads(lines[-1])["event"]["event_id"] if lines else None
