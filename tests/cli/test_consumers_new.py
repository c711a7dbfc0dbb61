"""`snowbus consumers new`: a consumer to begin with, and its test."""

import subprocess
import sys

import pytest
from support.documents import ROOT, read_sections
from support.snowbus import environment, snowbus

from snowbus.cli import exit_codes


def new(folder, *arguments):
    return snowbus("consumers", "new", *arguments, cwd=folder)


def test_a_consumer_and_its_test_are_written_and_the_next_commands_named(tmp_path):
    answer = new(tmp_path, "stock")
    assert (answer.returncode, answer.stderr) == (exit_codes.OK, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stock.py", "test_stock.py"]
    assert "  python -m pytest test_stock.py\n  snowbus consume stock:stock\n" in answer.stdout


def test_the_test_that_was_written_passes_however_the_project_imports_tests(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\naddopts = ["--import-mode=importlib"]\n')
    new(tmp_path, "stock")
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "test_stock.py"]
    answer = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert "1 passed" in answer.stdout, answer.stdout


def test_what_was_written_is_what_the_readme_shows(tmp_path):
    new(tmp_path, "stock")
    _, _, code = (tmp_path / "stock.py").read_text("utf-8").partition("\n\n")
    assert code in [block.text for section in read_sections(ROOT / "README.md") for block in section.blocks]


def test_what_was_written_is_in_the_style_of_the_house(tmp_path):
    new(tmp_path, "stock")
    ruff = [sys.executable, "-m", "ruff"]
    flags = ["--isolated", "--line-length=120"]
    for command in ([*ruff, "format", "--diff", *flags], [*ruff, "check", "--select=E,F,I,UP,B,SIM", *flags]):
        answer = subprocess.run([*command, "."], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stdout


def test_the_group_is_the_name_or_what_was_asked_for(tmp_path):
    new(tmp_path, "stock")
    assert 'group_id="stock"' in (tmp_path / "stock.py").read_text("utf-8")
    new(tmp_path, "prices", "--group", 'shop "A"')
    assert r'group_id="shop \"A\""' in (tmp_path / "prices.py").read_text("utf-8")


def test_another_folder_is_made_and_named_in_what_to_do_next(tmp_path):
    answer = new(tmp_path, "stock", "--directory", "shop/consumers")
    assert (tmp_path / "shop" / "consumers" / "stock.py").exists()
    assert "  cd shop/consumers\n" in answer.stdout


@pytest.mark.parametrize("there", ["stock.py", "test_stock.py"])
def test_no_file_is_overwritten(tmp_path, there):
    (tmp_path / there).write_text("mine")
    answer = new(tmp_path, "stock")
    assert answer.returncode == exit_codes.CONFIGURATION
    assert f"{there} is there already" in answer.stderr
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(there, "mine")]


@pytest.mark.parametrize("name", ["my-stock", "2nd", "a.b", "class", "match", "json", "print", "event", "test_stock"])
def test_a_name_that_cannot_work_is_refused(tmp_path, name):
    answer = new(tmp_path, name)
    assert answer.returncode == exit_codes.USAGE
    assert f"{name!r}" in answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_group_that_is_no_name_is_refused(tmp_path):
    assert new(tmp_path, "stock", "--group", " ").returncode == exit_codes.USAGE
