"""Looks for known vulnerabilities in what the lock files name: `make audit`. Those in audit.toml are left out.

pip-audit says that it found none also when its service knows nothing of a release, or answers nothing at all. So each
service is first asked for a release that is known to be vulnerable, and only one that knows of it is believed. Where
none does, that is said, and is no failure: a machine without the network is not to stop who works there.
"""

import argparse
import datetime as dt
import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
LOCKS = (HERE.parent / "requirements.lock", *sorted(HERE.glob("*.lock")))
CANARY = "jinja2==2.4.1"
SECONDS = 120


class Found(NamedTuple):
    """A vulnerability of a locked release, its other names, and the releases that mend it."""

    release: str
    names: frozenset[str]
    mended_in: tuple[str, ...]

    def __str__(self) -> str:
        way = f"mended in {', '.join(self.mended_in)}" if self.mended_in else "not mended yet"
        return f"{self.release}: {', '.join(sorted(self.names))}; {way}"


def main() -> int:
    """The exit code: 1 when there is a vulnerability that is not ignored."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--osv-url", help="an OSV service of your own, the only one to be asked then")
    arguments.add_argument("--ignored", type=Path, default=HERE / "audit.toml")
    arguments.add_argument("locks", type=Path, nargs="*", default=LOCKS)
    options = arguments.parse_args()
    services = [["osv", "--osv-url", options.osv_url]] if options.osv_url else [["pypi"], ["osv"]]
    service = next(filter(knows_the_canary, services), None)
    if service is None:
        print(
            f"AUDIT NOT DONE: no service says what is wrong with {CANARY}, so none is believed; nothing was looked up"
        )
        return 0
    found = {each for lock in options.locks for each in audited(lock, service)}
    today = dt.datetime.now(dt.UTC).date()
    ignored = tomllib.loads(options.ignored.read_text("utf-8")).get("ignored", [])
    bad = [each for each in sorted(found, key=str) if not is_ignored(each, ignored, today=today)]
    for each in bad:
        print(f"VULNERABLE {each}")
    print(f"{service[0]}: {len(bad)} known vulnerabilities, and {len(found) - len(bad)} that audit.toml ignores")
    return 1 if bad else 0


def knows_the_canary(service: Sequence[str]) -> bool:
    """Whether a service answers, and what is right."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(CANARY)
        file.flush()
        return any(release.get("vulns") for release in releases_in(Path(file.name), service) or ())


def audited(lock: Path, service: Sequence[str]) -> Iterator[Found]:
    """What a service knows to be wrong with the releases in a file; what it does not answer for is printed."""
    releases = releases_in(lock, service)
    if releases is None:
        print(f"AUDIT NOT DONE: {service[0]} did not answer for {lock.name}")
    for release in releases or ():
        if reason := release.get("skip_reason"):
            print(f"not audited: {reason}")
        for each in release.get("vulns", ()):
            names = frozenset((each["id"], *each["aliases"]))
            yield Found(f"{release['name']} {release['version']}", names, tuple(each["fix_versions"]))


def releases_in(file: Path, service: Sequence[str]) -> list[dict[str, Any]] | None:
    """What pip-audit says of each release in a file, or None when the service did not answer."""
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--no-deps", "--format", "json"]
    command += ["--progress-spinner", "off", "--requirement", str(file), "--vulnerability-service", *service]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)  # noqa: S603
        return list(json.loads(answer.stdout)["dependencies"])
    except (subprocess.TimeoutExpired, ValueError):
        return None


def is_ignored(found: Found, ignored: Sequence[Mapping[str, Any]], *, today: dt.date) -> bool:
    """Whether audit.toml says to ignore it, with a reason, and still does."""
    return any(each["id"] in found.names and each["reason"] and today <= each["until"] for each in ignored)


if __name__ == "__main__":
    sys.exit(main())
