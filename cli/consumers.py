"""`snowbus consumers new`: writes a small consumer with its test, to begin with."""

import builtins
import keyword
import sys
from importlib.resources import files
from pathlib import Path
from string import Template

import click

from snowbus.bus.errors import ConfigurationError

_TAKEN = ("snowbus", "pytest", "conftest", "consumer", "Record", "Retry", "event", "run_consumer", "ADD_TO_CART")


@click.group(name="consumers")
def command() -> None:
    """Begin a consumer of your own."""


@command.command()
@click.argument("name")
@click.option("--group", metavar="GROUP", help="The group it reads in; NAME unless told.")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Where to write the files; the working directory unless told.",
)
def new(name: str, *, group: str | None, directory: Path) -> None:
    """Write NAME.py, a consumer of ten lines, and test_NAME.py, its test. No file is ever overwritten."""
    _check(name)
    group_id = name if group is None else group
    if not group_id.strip() or not group_id.isprintable():
        raise click.UsageError(f"{group_id!r} cannot be the name of a group")
    written = {
        directory / f"{name}.py": "consumer.py.txt",
        directory / f"test_{name}.py": "test_consumer.py.txt",
    }
    for path in written:
        if path.exists():
            raise ConfigurationError(f"{path} is there already, and stays as it is; choose another name")
    directory.mkdir(parents=True, exist_ok=True)
    for path, template in written.items():
        text = Template(files(__package__).joinpath("templates", template).read_text("utf-8"))
        with path.open("x", encoding="utf-8") as file:
            file.write(text.substitute(name=name, group=_quoted(group_id)))
    print(f"Wrote {' and '.join(map(str, written))}. Next:\n")
    if directory.resolve() != Path.cwd():
        print(f"  cd {directory}")
    print(f"  python -m pytest test_{name}.py")  # which finds the module, however the project imports its tests
    print(f"  snowbus consume {name}:{name}")


def _check(name: str) -> None:
    """Raises click.UsageError when a module cannot have this name, or when it is taken."""
    if not name.isidentifier() or keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise click.UsageError(f"{name!r} cannot be the name of a Python module; take letters, digits and _")
    if name in sys.stdlib_module_names or hasattr(builtins, name) or name in _TAKEN or name.startswith("test_"):
        raise click.UsageError(f"{name!r} means something else to Python, pytest or the example; choose another name")


def _quoted(text: str) -> str:
    """A text as it stands in Python code."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
