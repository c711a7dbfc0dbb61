"""The `snowbus` command: finds the command's file, and turns errors into a sentence and an exit code."""

import asyncio
import difflib
import os
import sys
from importlib import import_module

import click

from snowbus.bus.errors import (
    ConfigurationError,
    LogAccessError,
    LogDamagedError,
    LogUnavailableError,
    SnowbusError,
)
from snowbus.bus.version import version

from . import exit_codes

COMMANDS = {
    "up": "all roles in one process",
    "ingest": "take events over HTTP",
    "collect": "forward events to a Snowplow collector",
    "gateway": "stream events over websockets, with the live page",
    "consume": "run consumers of your own",
    "consumers": "begin a consumer of your own",
    "publish": "put events on the log",
    "tail": "watch events in the terminal",
    "verify": "hold events against a plan",
    "dead": "look into dead letters, and retry them",
    "replay": "let a group handle records once more",
    "status": "topics, groups and their lag",
    "topics": "list or create the topics",
    "log": "back up, check or save the embedded log",
    "schema": "check, list and try out schemas",
}


class _Commands(click.Group):
    """Imports a command's file only when that command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f".{cmd_name}", __package__).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and (near := difflib.get_close_matches(args[0], COMMANDS, n=1)):
            ctx.fail(f"No such command {args[0]!r}; did you mean {near[0]}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version(), prog_name="snowbus")
def snowbus() -> None:
    """Snowbus: the event bus between your services and Snowplow.

    Settings come from flags, then from SNOWBUS_* in the environment, then from snowbus.toml in the working directory.
    """


def main() -> None:
    """Run the command line."""
    try:
        status = snowbus.main(standalone_mode=False)
    except click.exceptions.Exit as error:
        status = error.exit_code
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt, asyncio.CancelledError):
        status = exit_codes.INTERRUPTED
    except BrokenPipeError:  # whoever stdout is piped to has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = exit_codes.OK
    except SnowbusError as error:
        click.echo(f"snowbus: {error}", err=True)
        status = _exit_code(error)
    sys.exit(status)


def _exit_code(error: SnowbusError) -> int:
    match error:
        case ConfigurationError() | LogDamagedError() | LogAccessError():
            return exit_codes.CONFIGURATION
        case LogUnavailableError():
            return exit_codes.LOG_UNAVAILABLE
        case _:
            return exit_codes.FAILED
