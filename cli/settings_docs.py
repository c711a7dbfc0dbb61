"""Writes docs/settings.md from the table of settings and the exit codes: `python -m snowbus.cli.settings_docs`."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Literal, get_args, get_origin

from snowbus.bus.settings import IGLU, NEW_TOPICS, WORKER, Settings, is_secret, role_of, section_of

from . import exit_codes
from .load_settings import environment_name
from .settings import RESOLVER, default_of, flag_of

_BEGINNING = """\
# Settings and exit codes

Written by `make docs` from the code; a test fails when it is out of date.

A setting is taken from the first of these that has it:

1. a flag of the command, such as `--log`;
2. the environment, such as `SNOWBUS_LOG`;
3. the file `snowbus.toml` in the working directory, such as `log = "sqlite:///events.db"`. It is flat, without tables.

A list is written with commas in the environment, as a list in the file, and by repeating the flag.

What cannot work is told with where it came from, and the exit code is 3; a name in the file that is no setting, too.
The environment is shared with others: of its variables `SNOWBUS_…` that are no setting, those that look like one are
warned of (`SNOWBUS_LOGG` for `SNOWBUS_LOG`, `SNOWBUS_LISTEN` for one of the four `SNOWBUS_…_LISTEN`), and the others
are left alone. One that looks like a setting without which everyone is let in, such as `SNOWBUS_GATEWAY_TOKEN`, ends
the command with 3.

Passwords and tokens have no flag, as everyone on a machine can see the arguments of its processes; a URL with a
password in it is refused there.
"""

_SECTION_WORDS = {
    "Validation": "[schemas.md](schemas.md) tells more.",
    NEW_TOPICS: "They count when a topic is made, and change none that is there, but for the retention of the embedded "
    "log, which is stored anew when it is named. `snowbus topics --check` says where what is there differs; "
    "[kafka.md](kafka.md) tells more.",
}

_COMMANDS = {
    "ingest": ("ingest", "up"),
    "collect": ("collect", "up"),
    "gateway": ("gateway", "up"),
    WORKER: ("collect", "consume"),
    IGLU: ("ingest", "up", "publish"),
}


def render() -> str:
    """The whole document."""
    sections: defaultdict[str, list[str]] = defaultdict(list)
    for name in Settings.model_fields:
        sections[section_of(name)].append(name)
    parts = [_BEGINNING]
    for title, names in sections.items():
        words = f"{_SECTION_WORDS[title]}\n\n" if title in _SECTION_WORDS else ""
        parts.append(f"## {title}\n\n{words}" + "\n".join(_table(names)) + "\n")
    return "\n".join([*parts, _exit_codes()])


def _table(names: list[str]) -> Iterator[str]:
    yield "| setting | environment | flag | default | what it is |"
    yield "|---|---|---|---|---|"
    for name in names:
        default = default_of(Settings.model_fields[name])
        cells = (
            f"`{name}`",
            f"`{environment_name(name)}`",
            _flags(name),
            f"`{default}`" if default else "",
            (Settings.model_fields[name].description or "") + _choices(name),
        )
        yield f"| {' | '.join(cells)} |"


def _flags(name: str) -> str:
    if is_secret(name):
        return "none"
    role = role_of(name)
    if role is None:
        return f"`{flag_of(name, ())}`"
    commands = ("gateway",) * (name in RESOLVER) + _COMMANDS.get(role, (role,))
    return ", ".join(f"`{each} {flag_of(name, (role,) if each == role else ())}`" for each in commands)


def _choices(name: str) -> str:
    annotation = Settings.model_fields[name].annotation
    if get_origin(annotation) is not Literal:
        return ""
    return f" One of {', '.join(f'`{choice}`' for choice in get_args(annotation))}."


def _exit_codes() -> str:
    rows = [f"| {code} | {meaning} |" for code, meaning in exit_codes.MEANINGS.items()]
    return "\n".join(["## Exit codes", "", "| code | what it means |", "|---|---|", *rows]) + "\n"


if __name__ == "__main__":
    print(render(), end="")
