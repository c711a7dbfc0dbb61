"""Benchmarks run as commands do, they and their floors."""

import pytest

from snowbus.cli.running import collect_garbage_seldom


@pytest.fixture(scope="session", autouse=True)
def as_commands_do() -> None:
    """See collect_garbage_seldom."""
    collect_garbage_seldom()
