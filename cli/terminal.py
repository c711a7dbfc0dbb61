"""What people see in a terminal: nothing that an event holds is obeyed by it, and long work shows how far it is."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from snowbus.bus.event import FieldError

_WIDE = 400


def printable(text: str) -> str:
    """The text without anything that a terminal would obey."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def printable_json(text: str) -> str:
    """JSON text that means the same, without anything that a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else json.dumps(character)[1:-1] for character in text)


def problem(error: Mapping[str, str]) -> str:
    """A reason why an event is invalid, in words."""
    return printable(FieldError(**error).sentence)


def echo(text: str, colour: str | None = None) -> None:
    """Print a line, in a colour where stdout is a terminal that has some and nobody asked for none (NO_COLOR)."""
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    click.echo(click.style(text, fg=colour) if colour else text, color=False if plain else None)


def console() -> Console:
    """Where tables go: as wide as the terminal; a pipe is as wide as anything that we print, so that it can be
    searched.
    """
    return _Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Raise the BrokenPipeError, for `until_nobody_reads`; rich's own ends the process from within a task."""
        raise  # noqa: PLE0704 - rich calls this where it has caught the error


@contextmanager
def until_nobody_reads() -> Iterator[None]:
    """Print until all is printed, or whoever stdout is piped to has gone, as `head` does."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered goes nowhere


@contextmanager
def progress(what: str, *, prints: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Show on stderr how much is done, when that is a terminal; gives what is to be told (done, total).

    Work that `prints` its answer on the way shows nothing beside it on the same screen.
    """
    errors = Console(stderr=True)
    hidden = not errors.is_terminal or (prints and sys.stdout.isatty())
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True, redirect_stdout=False, disable=hidden) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
