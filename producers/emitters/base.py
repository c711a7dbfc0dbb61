"""What emitters share: they take the payload that the official tracker hands over, and keep a copy of it as strings."""

from collections.abc import Mapping
from typing import Any

from snowbus.bus.payload import Payload


def as_payload(parameters: Mapping[str, Any]) -> Payload:
    """The payload in what a tracker hands to `input`: it holds integers, and changes when an event is re-tracked."""
    return {code: value if isinstance(value, str) else str(value) for code, value in parameters.items()}
