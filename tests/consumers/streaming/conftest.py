"""What tests of the stream have in common."""

import pytest

from snowbus.consumers.streaming import client as edge


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost connection is made again at once."""
    monkeypatch.setattr(edge, "_FIRST_WAIT_SECONDS", 0.001)
