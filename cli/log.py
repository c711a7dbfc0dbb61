"""`snowbus log`: look after the file of the embedded log: back it up while it is used, check it, save what can be."""

import sys
from pathlib import Path

import click

from snowbus.bus.log.sqlite_copy import Contents, back_up, check, salvage
from snowbus.bus.log.sqlite_url import file_of
from snowbus.bus.settings import Settings

from . import exit_codes
from .settings import SettingsCommand, with_settings
from .tables import counted

_SETTINGS = ("log",)
_target = click.argument("target", type=click.Path(path_type=Path, dir_okay=False))


@click.group(name="log")
def command() -> None:
    """The file of the embedded log: back it up, check it, save what can be read of a damaged one."""


@command.command(name="backup", cls=SettingsCommand)
@_target
@with_settings(only=_SETTINGS)
def backup_command(settings: Settings, *, target: Path) -> None:
    """Copy the log to TARGET while it is used: all of one moment, with the offsets of all groups.

    TARGET is a log like any other: to restore it, stop Snowbus and put it where the log was.
    """
    copied = back_up(file_of(settings.log), target)
    print(f"{target}: {_words(copied)}")


@command.command(name="check", cls=SettingsCommand)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@with_settings(only=_SETTINGS)
def check_command(settings: Settings, *, file: Path | None) -> None:
    """Read the whole of FILE, or of the log, and say what it holds, or what is wrong with it.

    What is written to a log that is used piles up beside it meanwhile: better check a backup.
    """
    path = file or file_of(settings.log)
    found = check(path)
    print(f"{path} is whole: {_words(found)}{_missing(found, 'missing, which salvage could not save')}")


@command.command(name="salvage", cls=SettingsCommand)
@_target
@with_settings(only=_SETTINGS)
def salvage_command(settings: Settings, *, target: Path) -> None:
    """Copy what can be read of a damaged log to TARGET; the log stays as it is. Stop everything that uses it first.

    Records keep their offsets. The exit code is 1 when some could not be read.
    """
    saved = salvage(file_of(settings.log), target)
    print(f"{target}: {_words(saved)}{_missing(saved, 'could not be read')}")
    sys.exit(exit_codes.FAILED if saved.missing else exit_codes.OK)


def _words(contents: Contents) -> str:
    return f"{counted(contents.records, 'record')}, and the offsets of {counted(contents.groups, 'group')}"


def _missing(contents: Contents, what: str) -> str:
    return f"; {counted(contents.missing, 'record')} {what}" if contents.missing else ""
