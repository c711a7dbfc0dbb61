"""Reads a plan from YAML or JSON text, with values as JSON has them: `NO` is text, and so is `2024-02-29`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from snowbus.bus.errors import PlanError

from .parsing import parse_plan
from .plan import Plan

_STEP = re.compile(r"\[([0-9]+)\]|([^.\[\]]+)")
_MAX_DEPTH = 50
_MAX_PARTS = 100_000


class _Loader(yaml.SafeLoader):
    """YAML whose plain values are those of JSON (the core schema of YAML 1.2), and text otherwise."""


_Loader.yaml_implicit_resolvers = {}


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]{0,17})", list("-+0123456789")),
    ("float", r"[-+]?([0-9]+\.[0-9]+|\.[0-9]+|[0-9]+\.?(?=[eE]))([eE][-+]?[0-9]+)?", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)
_Loader.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(node.value))
_Loader.add_constructor("tag:yaml.org,2002:float", lambda _, node: float(node.value))


@dataclass(frozen=True)
class _Document:
    """A value, and the lines on which its parts stand."""

    value: Any
    root: yaml.Node


def read_plan(path: str | Path) -> Plan:
    """The plan in a file, which is named after the file unless it says otherwise. Raises PlanError."""
    file = Path(path)
    try:
        text = file.read_text("utf-8-sig")
    except OSError as error:
        raise PlanError("", f"cannot be read: {error.strerror or error}", source=str(path)) from None
    except UnicodeDecodeError as error:
        raise PlanError("", f"is not UTF-8, at byte {error.start}", source=str(path)) from None
    return parse_plan_text(text, name=file.stem, source=str(path))


def parse_plan_text(text: str, *, name: str = "plan", source: str = "") -> Plan:
    """The plan in a text, called `name` unless it says otherwise; `source` is named in errors. Raises PlanError."""
    document = _load(text, source)
    value = document.value
    try:
        return parse_plan({"name": name, **value} if isinstance(value, dict) else value)
    except PlanError as error:
        line = _line(document.root, error.place)
        raise PlanError(error.place, error.reason, line=line, source=source) from None


def _load(text: str, source: str) -> _Document:
    try:
        loader = _Loader(text)
    except yaml.YAMLError as error:
        raise PlanError("", f"is not YAML: {error}".partition("\n")[0], source=source) from None
    try:
        root = loader.get_single_node()
        if root is None:
            raise PlanError("", "is empty", source=source)
        _check_tree(root, source)
        return _Document(loader.construct_document(root), root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = f"is not YAML: {error.problem or error.context}"
        raise PlanError("", reason, line=mark.line + 1 if mark else None, source=source) from None
    except RecursionError:
        raise PlanError("", "is nested too deeply", source=source) from None
    finally:
        loader.dispose()


def _check_tree(root: yaml.Node, source: str) -> None:
    """Refuse what YAML would take in silence: a name that stands twice, one that is no text, a value of a type that
    JSON has not, or that is not of the type that its tag says, and what never ends.
    """
    waiting = [(root, 0)]
    parts = 0
    while waiting:
        node, depth = waiting.pop()
        parts += 1
        if parts > _MAX_PARTS:  # aliases of aliases
            raise PlanError("", f"has more than {_MAX_PARTS:,} parts", source=source)
        if depth > _MAX_DEPTH:
            raise PlanError("", "is nested too deeply", line=node.start_mark.line + 1, source=source)
        if not _has_its_type(node):
            raise PlanError("", f"{node.tag} is no type of this value", line=node.start_mark.line + 1, source=source)
        if isinstance(node, yaml.SequenceNode):
            waiting += [(item, depth + 1) for item in node.value]
        if not isinstance(node, yaml.MappingNode):
            continue
        names = set()
        for name, item in node.value:
            line = name.start_mark.line + 1
            if not isinstance(name, yaml.ScalarNode) or name.tag != "tag:yaml.org,2002:str":
                raise PlanError("", "a name must be text; write it in quotes", line=line, source=source)
            if name.value in names:
                raise PlanError("", f"{name.value} stands there twice", line=line, source=source)
            names.add(name.value)
            waiting.append((item, depth + 1))


def _has_its_type(node: yaml.Node) -> bool:
    """Whether a value can be what its tag says, which may have been written: `!!int x`."""
    if isinstance(node, yaml.ScalarNode):
        if node.tag == "tag:yaml.org,2002:str":
            return True
        plain = _Loader.yaml_implicit_resolvers.get(node.value[:1], ())
        return any(tag == node.tag and pattern.match(node.value) for tag, pattern in plain)
    return node.tag == f"tag:yaml.org,2002:{'seq' if isinstance(node, yaml.SequenceNode) else 'map'}"


def _line(root: yaml.Node, place: str) -> int | None:
    """The line of the deepest part of a place that is there."""
    node, line = root, root.start_mark.line + 1
    for index, name in _STEP.findall(place):
        if isinstance(node, yaml.SequenceNode) and index and int(index) < len(node.value):
            node = node.value[int(index)]
            line = node.start_mark.line + 1
        elif isinstance(node, yaml.MappingNode):
            found = {key.value: (key, item) for key, item in node.value}.get(name)
            if found is None:
                break
            node = found[1]
            line = found[0].start_mark.line + 1
        else:
            break
    return line if place else None


def as_plan(plan: "Plan | Mapping[str, Any] | str | Path") -> Plan:
    """The plan in a file, in data, or itself. Raises PlanError."""
    if isinstance(plan, Plan):
        return plan
    return parse_plan(plan) if isinstance(plan, Mapping) else read_plan(plan)
