"""The commands in one document, from their own words; `make site` makes it a page."""

from collections.abc import Iterator

import click

from .main import COMMANDS, snowbus

_BEGINNING = """\
# The command line

These are the words of `snowbus COMMAND --help`;
[settings.md](settings.md) says where a setting may stand instead of a flag, and what the exit codes mean.
"""

_WIDTH = 100


def render() -> str:
    """The whole document."""
    root = click.Context(snowbus, info_name="snowbus")
    parts = [_BEGINNING]
    for name in COMMANDS:
        command = snowbus.get_command(root, name)
        if command is not None:
            parts += _sections(command, click.Context(command, info_name=name, parent=root))
    return "\n".join(parts)


def _sections(command: click.Command, context: click.Context) -> Iterator[str]:
    """What a command and its own commands say of themselves."""
    context.terminal_width = _WIDTH
    level = len(context.command_path.split())
    yield f"{'#' * level} {context.command_path}\n\n```text\n{command.get_help(context).rstrip()}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            if (sub := command.get_command(context, name)) is not None:
                yield from _sections(sub, click.Context(sub, info_name=name, parent=context))
