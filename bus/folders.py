"""Checks that a file's folder is there: one that was made for a path that is misspelt would take what nobody finds."""

from pathlib import Path

from .errors import ConfigurationError


def check_folder(name: str, path: Path) -> None:
    """Raise ConfigurationError for a file, called `name`, whose folder is not there."""
    if not path.parent.is_dir():
        raise ConfigurationError(f"{name} {path}: there is no folder {path.parent}; make it, or mend the path")
