"""A file that is read at the start and again when it changes, so that a secret is replaced without a restart."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from .diagnostics import Diagnostics
from .errors import ConfigurationError

T = TypeVar("T")
logger = Diagnostics(__name__)

LOOK_SECONDS = 0.5
"""How often a file is looked at, at most."""

_MOST_CHARACTERS = 4_000_000

_Stamp = tuple[int, int, int, int]


class WatchedFile(Generic[T]):
    """The file that a setting names. `parse` makes of its text what is in force, or raises ValueError, which says what
    is wrong and never quotes a secret.

    Raises ConfigurationError, when it is made, for a file that cannot be used. One that cannot be later is told once,
    and what was in force stays so. `now` is any clock's seconds, the same one's each time.
    """

    def __init__(self, setting: str, path: str, parse: Callable[[str], T]) -> None:
        self.setting = setting
        self._path = Path(path)
        self._parse = parse
        self._stamp = self._stat()
        self._is_unread = False
        self._value = self._read()
        self._looked_at = -math.inf
        self._trouble = ""

    def value(self, *, now: float) -> T:
        """What is in force."""
        if now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            self._look()
        return self._value

    def is_broken(self, *, now: float) -> bool:
        """Whether the file has changed and cannot be used, so that what it held before is in force."""
        self.value(now=now)
        return bool(self._trouble)

    def _look(self) -> None:
        stamp = self._stat()
        if stamp == self._stamp and not self._is_unread:
            return
        self._stamp = stamp
        try:
            self._value = self._read()
        except ConfigurationError as error:
            if str(error) != self._trouble:
                logger.warning("a file cannot be used; what it held before stays in force", reason=str(error))
            self._trouble = str(error)
        else:
            self._trouble = ""
            logger.info("a file has changed and is in force", setting=self.setting, file=str(self._path))

    def _stat(self) -> _Stamp | None:
        """What tells one state of the file from another, or None while it cannot be looked at."""
        try:
            found = os.stat(self._path)  # noqa: PTH116 - follows the links that a mounted secret is made of
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def _read(self) -> T:
        self._is_unread = True  # what hinders us may pass without a change of the file: too many open files, say
        try:
            with self._path.open(encoding="utf-8") as file:
                text = file.read(_MOST_CHARACTERS + 1)
            self._is_unread = False
            if len(text) > _MOST_CHARACTERS:
                raise ValueError(f"it has more than {_MOST_CHARACTERS:,} characters")
            return self._parse(text)
        except OSError as error:
            raise ConfigurationError(
                f"{self.setting}: {self._path} cannot be read: {error.strerror or error}"
            ) from None
        except UnicodeDecodeError:
            raise ConfigurationError(f"{self.setting}: {self._path} is not text in UTF-8") from None
        except ValueError as error:
            raise ConfigurationError(f"{self.setting}: {self._path}: {error}") from None
