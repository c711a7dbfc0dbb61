"""Origins of web pages, as settings name them: written as browsers say them, so that they can be compared."""

import re
from collections.abc import Iterable

from .errors import ConfigurationError

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#@*]+")
_OPAQUE = "null"
_DEFAULT_PORT = {"http": ":80", "https": ":443"}


def origins_in(setting: str, named: Iterable[str]) -> frozenset[str]:
    """The origins that a setting names. Raises ConfigurationError for what no browser ever says."""
    return frozenset(_origin(setting, text) for text in named)


def _origin(setting: str, text: str) -> str:
    origin = text.lower().rstrip("/")
    if origin != _OPAQUE and not _ORIGIN.fullmatch(origin):
        raise ConfigurationError(f"{setting}: {text!r} is no origin, for example https://shop.example")
    scheme = origin.partition(":")[0]
    return origin.removesuffix(_DEFAULT_PORT.get(scheme, ""))
