"""An example can be copied as it is: it needs nothing of Snowbus but what `snowbus.consumers` exports."""

import ast
from pathlib import Path

import pytest

import snowbus.consumers
from snowbus.consumers import examples

FILES = sorted(path for folder in examples.__path__ for path in Path(folder).glob("*.py"))


def imports_of(path):
    """Each import as (module, name); a relative one begins with its dots."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (("." * node.level + (node.module or ""), alias.name) for alias in node.names)


def test_there_are_examples():
    assert {"archive", "prometheus_counts", "running_totals", "webhook"} <= {path.stem for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_imports_public_names_only(path):
    ours = {(module, name) for module, name in imports_of(path) if module.startswith((".", "snowbus"))}
    assert ours <= {("snowbus.consumers", name) for name in snowbus.consumers.__all__}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_reads_no_setting_when_it_is_imported(path):
    at_import = [node for node in ast.parse(path.read_text("utf-8")).body if not isinstance(node, ast.FunctionDef)]
    text = "\n".join(ast.unparse(node) for node in at_import if not isinstance(node, ast.AsyncFunctionDef))
    assert "environ" not in text
    assert "getenv" not in text
