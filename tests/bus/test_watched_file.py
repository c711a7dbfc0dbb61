"""A file of secrets that is replaced: what hinders its reader is told once, and passes without another change."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from support.diagnostics import capture_logs

from snowbus.bus.errors import ConfigurationError
from snowbus.bus.watched_file import WatchedFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "tokens"
    file.write_text("old")
    return file


@contextmanager
def no_more_files() -> Iterator[None]:
    """This process may open no file."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_file_that_could_not_be_opened_for_a_while_is_read_once_it_can(path: Path) -> None:
    seconds = count()
    watched = WatchedFile("tokens_file", str(path), str)
    path.with_name("new").write_text("new")
    os.replace(path.with_name("new"), path)  # noqa: PTH105 - as mounted secrets do
    with capture_logs() as said:
        with no_more_files():
            assert [watched.value(now=next(seconds)) for _ in range(3)] == ["old"] * 3
            assert watched.is_broken(now=next(seconds))
        assert watched.value(now=next(seconds)) == "new"
        assert not watched.is_broken(now=next(seconds))
    assert [line["log_level"] for line in said] == ["warning", "info"]


def test_a_file_that_is_far_too_large_is_refused_and_not_kept(path: Path) -> None:
    with path.open("w") as file:
        file.truncate(2**40)
    with pytest.raises(ConfigurationError, match="more than 4,000,000 characters"):
        WatchedFile("tokens_file", str(path), str)
