"""Reads the URL of an embedded log: sqlite:///relative/path or sqlite:////absolute/path."""

from pathlib import Path

from ..errors import ConfigurationError


def file_of(url: str) -> Path:
    """The file of a URL. Raises ConfigurationError."""
    if not url.startswith("sqlite:///") or url == "sqlite:///" or ":memory:" in url:
        raise ConfigurationError(f"log {url!r}: write sqlite:///relative/path or sqlite:////absolute/path")
    return Path(url.removeprefix("sqlite:///"))
