"""What a test needs from the machine: it is skipped without, or fails where SNOWBUS_REQUIRE asks for it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

WHAT = (
    "kafka",
    "real_kafka",
    "browser",
    "node",
    "openssl",
    "prometheus",
    "compose",
    "go",
    "mount",
    "systemd",
    "kcat",
    "python",
)

_missing: dict[tuple[str, str], int] = {}
_stand_ins: dict[str, str] = {}


def required(what: str) -> bool:
    """Whether SNOWBUS_REQUIRE (a list with commas) says that `what` must be there."""
    return what.removeprefix("real_") in os.environ.get("SNOWBUS_REQUIRE", "").replace(" ", "").split(",")


def require(what: str, missing: str) -> None:
    """Go on when nothing is missing (an empty reason); else skip the test, or fail it where `what` is required."""
    assert what in WHAT
    if not missing:
        return
    if required(what):
        pytest.fail(f"SNOWBUS_REQUIRE names {what}: {missing}", pytrace=False)
    _missing[what, missing] = _missing.get((what, missing), 0) + 1
    pytest.skip(f"{what}: {missing}")


def require_program(what: str, *names: str) -> Path:
    """The first of the programs that is on the PATH, for example `require_program("browser", "chromium")`."""
    found = next(filter(None, map(shutil.which, names)), None)
    require(what, "" if found else f"no {' or '.join(names)} on the PATH")
    assert found
    return Path(found)


def python(version: str) -> Path:
    """A Python of a version such as 3.12: the one on the PATH, else one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    newest_first = sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}"), reverse=True)
    on_path = shutil.which(f"python{version}")
    found = next(filter(_runs, [*newest_first, *([on_path] if on_path else [])]), None)
    require("python", "" if found else f"no Python {version} that can make environments")
    return Path(found or "")


def _runs(program: Path | str) -> bool:
    """Whether it is one: pyenv puts programs on the PATH that only say which versions would have them."""
    answer = subprocess.run([program, "-c", "import ensurepip, venv"], capture_output=True, check=False)
    return answer.returncode == 0


def stood_in(what: str, instead: str) -> None:
    """Note for the summary that something else was used."""
    _stand_ins[what] = instead


def summary() -> list[str]:
    """One line for each thing that was missing, with why, and how many tests did not run for it."""
    return [f"{what}: {instead}" for what, instead in _stand_ins.items()] + [
        f"{what}: {missing} ({count} not run)" for (what, missing), count in _missing.items()
    ]
