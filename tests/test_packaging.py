"""The wheel holds everything: what works from a checkout works installed."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("bus", "producers", "consumers", "cli", "schemas")
NOT_CODE = {".pyc"}


def test_the_wheel_holds_every_file_of_every_package_and_runs(tmp_path):
    source = tmp_path / "source"
    for name in (*PACKAGES, "pyproject.toml", "README.md", "LICENSE"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        source.mkdir(exist_ok=True)
        copy(ROOT / name, source / name)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        tmp_path,
        source,
    ]
    subprocess.run(build, check=True, capture_output=True, timeout=100)
    (wheel,) = tmp_path.glob("snowbus-*.whl")
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
