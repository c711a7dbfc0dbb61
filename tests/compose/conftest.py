"""The compose file, read as compose reads it."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

COMPOSE = Path(__file__).parents[2] / "compose"


@pytest.fixture(scope="session")
def services() -> dict[str, Any]:
    """The services of compose.yaml, with what they share merged in, and variables that are not set."""
    text = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", (COMPOSE / "compose.yaml").read_text("utf-8"))
    read: dict[str, Any] = yaml.safe_load(text)
    return read["services"]


@pytest.fixture(scope="session")
def ours(services: dict[str, Any]) -> dict[str, Any]:
    """Those of them that run Snowbus."""
    return {name: service for name, service in services.items() if service["image"] == "snowbus"}
