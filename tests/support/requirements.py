"""What a test needs from the machine: it is skipped without, or fails where SNOWBUS_REQUIRE asks for it."""

import os
import shutil
from pathlib import Path

import pytest

WHAT = ("kafka", "real_kafka", "browser", "node", "openssl", "prometheus", "compose", "go", "mount", "systemd", "kcat")

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


def stood_in(what: str, instead: str) -> None:
    """Note for the summary that something else was used."""
    _stand_ins[what] = instead


def summary() -> list[str]:
    """One line for each thing that was missing, with why, and how many tests did not run for it."""
    return [f"{what}: {instead}" for what, instead in _stand_ins.items()] + [
        f"{what}: {missing} ({count} not run)" for (what, missing), count in _missing.items()
    ]
