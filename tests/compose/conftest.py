"""The compose file, read as compose reads it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

COMPOSE = Path(__file__).parents[2] / "compose"


@pytest.fixture(scope="session")
def services() -> dict[str, Any]:
    """The services of compose.yaml, with what they share merged in."""
    read: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text("utf-8"))
    return read["services"]


@pytest.fixture(scope="session")
def ours(services: dict[str, Any]) -> dict[str, Any]:
    """Those of them that run Snowbus."""
    return {name: service for name, service in services.items() if service["image"] == "snowbus"}
