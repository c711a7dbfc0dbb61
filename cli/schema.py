"""`snowbus schema`: check schemas before they are published, list those of the registries, try events against them."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from snowbus.bus.acceptance import Draft, check, schemas_of
from snowbus.bus.clock import now_ms
from snowbus.bus.errors import JsonError, PayloadError, RegistryError, SnowbusError
from snowbus.bus.iglu.config import settings_config
from snowbus.bus.iglu.lint import lint
from snowbus.bus.iglu.lookups import Lookups, NotFound, Unreachable
from snowbus.bus.iglu.registries import registry_of
from snowbus.bus.iglu.resolver import VERDICT_SECONDS, resolver_of
from snowbus.bus.iglu.uri import IgluUri, parse_iglu_uri
from snowbus.bus.json_text import loads
from snowbus.bus.settings import Settings

from . import exit_codes
from .events_in import events_in
from .running import run
from .settings import RESOLVER, SettingsCommand, with_settings
from .tables import counted
from .terminal import printable, until_nobody_reads

_SETTINGS = (*RESOLVER, "logging_format", "logging_level")
_STDIN = "-"


@click.group(name="schema")
def command() -> None:
    """Check schemas, list those of the registries, and try events against them."""


@command.command("check", cls=SettingsCommand)
@click.argument("paths", nargs=-1, metavar="[FOLDER|FILE]...", type=click.Path(exists=True, path_type=Path))
@with_settings(also=RESOLVER, only=_SETTINGS)
def check_(settings: Settings, *, paths: tuple[Path, ...]) -> None:
    """Check schemas: that each is one, stands where it belongs, and calls itself what it is.

    A FOLDER is a registry's, with schemas/VENDOR/NAME/jsonschema/VERSION below it; without any, those of the resolver
    are checked. What has no effect in a schema is a warning. The exit code is 1 when something is wrong.
    """
    schemas = problems = warnings = 0
    with until_nobody_reads():
        for file, uri, is_placed in _files(paths or settings_config(settings.iglu_resolver).folders):
            schemas += 1
            found = lint(file.read_bytes(), uri)
            if is_placed and uri is None:
                found.problems.insert(0, "its path does not end in VENDOR/NAME/jsonschema/VERSION")
            problems += len(found.problems)
            warnings += len(found.warnings)
            for told in (*found.problems, *(f"warning: {each}" for each in found.warnings)):
                print(printable(f"{file}: {told}"))
        counts = [counted(schemas, "schema"), counted(problems, "problem")]
        print(", ".join([*counts, counted(warnings, "warning")] if warnings else counts))
    if not schemas:
        print("snowbus: no schemas are there", file=sys.stderr)
    sys.exit(exit_codes.FAILED if problems or not schemas else exit_codes.OK)


@command.command("list", cls=SettingsCommand)
@with_settings(also=RESOLVER, only=_SETTINGS)
def list_(settings: Settings) -> None:
    """List the schemas of the resolver's registries, each with its registry.

    Registries that do not list theirs, as static ones on the web, are named on stderr; the exit code is 1 only when
    none does.
    """

    async def main() -> list[tuple[str, list[IgluUri] | RegistryError]]:
        listed: list[tuple[str, list[IgluUri] | RegistryError]] = []
        for config in settings_config(settings.iglu_resolver).repositories:
            try:
                listed.append((config.name, sorted(await registry_of(config).list_schemas())))
            except RegistryError as error:
                listed.append((config.name, error))
        return listed

    is_listed = False
    with until_nobody_reads():
        for name, schemas in run(main(), settings):
            if isinstance(schemas, RegistryError):
                print(printable(f"snowbus: {name}: {schemas}"), file=sys.stderr)
                continue
            is_listed = True
            for uri in schemas:
                print(printable(f"{uri} {name}"))
    sys.exit(exit_codes.OK if is_listed else exit_codes.FAILED)


@command.command("test", cls=SettingsCommand)
@click.argument(
    "files", nargs=-1, metavar="[EVENT.json]...", type=click.Path(exists=True, dir_okay=False, allow_dash=True)
)
@with_settings(also=RESOLVER, only=_SETTINGS)
def test(settings: Settings, *, files: tuple[str, ...]) -> None:
    """Check events against their schemas, without putting them on the log.

    A file holds a plain JSON event, a payload_data, or NDJSON of these; without any, stdin does. The exit code is 0
    when every event is valid, and 1 when one is invalid, no event, or cannot be checked.
    """
    read = [found for name in files or (_STDIN,) for found in _events_of(name)]

    async def main() -> Lookups:
        async with resolver_of(settings.iglu_resolver, wait=VERDICT_SECONDS) as resolver:
            return await resolver.look_up_all(schemas_of(each for _, each in read if isinstance(each, Draft)))

    lookups = run(main(), settings)
    all_valid = bool(read)
    with until_nobody_reads():
        for name, event in read:
            verdict, reasons = _verdict(event, lookups)
            all_valid = all_valid and verdict == "valid"
            print(printable(f"{name}: {verdict}"))
            for reason in reasons:
                print(printable(f"  {reason}"))
    if not read:
        print("snowbus: no events are there", file=sys.stderr)
    sys.exit(exit_codes.OK if all_valid else exit_codes.FAILED)


def _files(paths: Sequence[Path]) -> Iterator[tuple[Path, IgluUri | None, bool]]:
    """The files to check, with the schema that the path of each names, and whether it has to name one."""
    for path in paths:
        if path.is_file():
            yield path, _uri_of(path), False
            continue
        root = path / "schemas" if (path / "schemas").is_dir() else path
        for file in sorted(root.rglob("*")):
            if file.is_file() and not any(part.startswith(".") for part in file.relative_to(root).parts):
                yield file, _uri_of(file), True


def _uri_of(file: Path) -> IgluUri | None:
    try:
        return parse_iglu_uri("iglu:" + "/".join(file.absolute().parts[-4:]))
    except PayloadError:
        return None


def _events_of(name: str) -> Iterator[tuple[str, Draft | SnowbusError]]:
    """Where each event stands in a file, or on stdin, and the event, or an error in the place of one that is none."""
    text = sys.stdin.buffer.read() if name == _STDIN else Path(name).read_bytes()
    is_one = _is_json(text)
    for number, line in enumerate([text] if is_one else text.split(b"\n"), 1):
        if line.strip():
            yield from ((read.at(name if is_one else f"{name}:{number}"), read.event) for read in events_in(line))


def _is_json(text: bytes) -> bool:
    try:
        loads(text.decode("utf-8-sig"))
    except (JsonError, UnicodeDecodeError):
        return False
    return True


def _verdict(event: Draft | SnowbusError, lookups: Lookups) -> tuple[str, list[str]]:
    """What an event is found to be, and why."""
    if isinstance(event, SnowbusError):
        return "no event", [str(event)]
    accepted = check(event, lookups, now=now_ms(), producer="")
    if accepted.validation == "unchecked":
        return "unchecked", list(_unknown(event, lookups)) or ["no resolver is set; see --iglu-resolver"]
    return accepted.validation, [_told(error.sentence, error.schema) for error in accepted.errors]


def _unknown(event: Draft, lookups: Lookups) -> Iterator[str]:
    """What is not known of the schemas of an event, and why."""
    for entity in event.decoded.entities:
        match lookups.by_uri.get(entity.schema):
            case NotFound(registries):
                yield f"{entity.field}: {entity.schema} is not in {', '.join(registries)}; see --iglu-resolver"
            case Unreachable(reason):
                yield f"{entity.field}: {entity.schema} cannot be looked up: {reason}"


def _told(sentence: str, schema: str) -> str:
    return f"{sentence} ({schema})" if schema else sentence
