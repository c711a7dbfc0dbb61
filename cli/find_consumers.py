"""Finds the consumers that the command line names as MODULE:NAME, and says what is wrong when there are none."""

import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from snowbus.bus.errors import ConfigurationError
from snowbus.consumers import Consumer

AnyConsumer = Consumer[..., Any]

_OURS = tuple(Path(__file__).parents[1] / name for name in ("bus", "consumers", "cli"))


def find_consumers(targets: Iterable[str]) -> list[AnyConsumer]:
    """The consumers of all targets: `MODULE:NAME` is one, `MODULE` every one in it.

    Modules are found in the working directory first, then wherever Python looks. Raises ConfigurationError when one
    cannot be found or imported, is no consumer, or reads in the same group as another.
    """
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    found: list[tuple[str, AnyConsumer]] = []
    for target in targets:
        for place, each in _consumers_of(target):
            _check_against(found, place, each)
            found.append((place, each))
    return [each for _, each in found]


def _consumers_of(target: str) -> Iterator[tuple[str, AnyConsumer]]:
    module_name, colon, name = target.partition(":")
    _check_module_name(module_name)
    if colon and not name.isidentifier():
        raise ConfigurationError(f"{target!r} is not MODULE:NAME, for example shop.stock:reserve")
    module = _import(module_name)
    known = {key: value for key, value in vars(module).items() if isinstance(value, Consumer)}
    if name:
        yield target, _named(module, name, known)
        return
    if not known:
        raise ConfigurationError(
            f"there is no consumer in {_described(module)}; decorate a function in it with @consumer"
        )
    seen: set[int] = set()
    for key, value in known.items():
        if id(value) not in seen:  # two names for one are one
            seen.add(id(value))
            yield f"{module_name}:{key}", value


def _check_module_name(name: str) -> None:
    if all(part.isidentifier() for part in name.split(".")) and not name.endswith(".py"):
        return
    hint = ", for example shop.stock:reserve"
    if name.endswith(".py"):
        hint = f"; did you mean {name.removesuffix('.py').removeprefix('./').replace(os.sep, '.')}?"
    raise ConfigurationError(f"{name!r} is not the name of a module{hint}")


def _named(module: ModuleType, name: str, known: dict[str, AnyConsumer]) -> AnyConsumer:
    there = ", ".join(known) or "none"
    if name not in vars(module):
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]}?" if close else "."
        raise ConfigurationError(f"there is no {name} in {_described(module)}{hint} Consumers in it: {there}")
    value = vars(module)[name]
    if isinstance(value, Consumer):
        return value
    if callable(value):
        raise ConfigurationError(
            f"{name} in {_described(module)} is no consumer; decorate it with "
            f'@consumer("snowbus.events", group_id="{name}"). Consumers in it: {there}'
        )
    raise ConfigurationError(
        f"{name} in {_described(module)} is no consumer but {type(value).__name__}. Consumers in it: {there}"
    )


def _check_against(found: list[tuple[str, AnyConsumer]], place: str, new: AnyConsumer) -> None:
    for other_place, other in found:
        if other is new:
            raise ConfigurationError(f"{place} is named twice")
        if other.group_id == new.group_id:
            raise ConfigurationError(
                f"{other_place} and {place} both read in group {new.group_id!r}, so that each would get only a part of "
                "the records; give each a group_id of its own"
            )


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}.") and _last_frame(error) is None:
            raise ConfigurationError(_no_module(name, missing=error.name)) from None
        raise ConfigurationError(_broken(name, error)) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever their module raises is theirs to read about
        raise ConfigurationError(_broken(name, error)) from None


def _no_module(name: str, *, missing: str) -> str:
    parent, _, last = missing.rpartition(".")
    folder = Path.cwd().joinpath(*parent.split(".")) if parent else Path.cwd()
    close = difflib.get_close_matches(last, _modules_in(folder), n=1)
    hint = f"; did you mean {f'{parent}.' if parent else ''}{close[0]}?" if close else "."
    within = f" (of {name})" if missing != name else ""
    return f"there is no module {missing}{within}{hint} Modules are looked for in {Path.cwd()}, then where Python looks"


def _modules_in(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return [
        path.stem for path in folder.iterdir() if path.suffix == ".py" or (path.is_dir() and path.name.isidentifier())
    ]


def _broken(name: str, error: BaseException) -> str:
    """What an import failed with, and where in the user's own files."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_shown(error.filename)}, line {error.lineno}: {error.msg}"
    what = str(error) if isinstance(error, ConfigurationError) else f"{type(error).__name__}: {error}".rstrip(": ")
    lines = [f"module {name} cannot be imported: {what}"]
    if frame := _last_frame(error):
        lines.append(f"  {_shown(frame.filename)}, line {frame.lineno}, in {frame.name}: {frame.line}")
    return "\n".join(lines)


def _last_frame(error: BaseException) -> traceback.FrameSummary | None:
    """Where the user's code was when it failed; libraries and Python's own files only if there is nothing else."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and frame.filename != __file__ and not _is_importlib(frame.filename)
    ]
    working = Path.cwd()
    theirs = [
        frame
        for frame in frames
        if Path(frame.filename).is_relative_to(working)
        and "site-packages" not in Path(frame.filename).parts
        and not any(Path(frame.filename).is_relative_to(package) for package in _OURS)
    ]
    return next(reversed(theirs or frames), None)


def _is_importlib(filename: str) -> bool:
    return Path(filename).is_relative_to(Path(importlib.__file__).parent)


def _described(module: ModuleType) -> str:
    return f"module {module.__name__} ({_shown(module.__file__)})" if module.__file__ else f"module {module.__name__}"


def _shown(filename: str) -> str:
    """A file's name as people know it: from the working directory on."""
    path = Path(filename)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else filename
