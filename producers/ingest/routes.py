"""Which request means what: the collector's paths, `/tracking`, and what those who run ingest ask for."""

import re
from collections.abc import Mapping, Sequence
from enum import Enum, auto

from snowbus.bus import operations
from snowbus.bus.errors import ConfigurationError
from snowbus.bus.tracker_protocol import COLLECTOR_PATH

REDIRECT_PATH = "/r/tp2"
CONTRACT_PATH = "/openapi.yaml"


class Endpoint(Enum):
    """What is asked for by a method on a path."""

    PIXEL = auto()
    """One event in the query string, answered with an image."""
    BATCH = auto()
    """Events in a payload_data."""
    TRACKING = auto()
    """A payload_data, one plain JSON event, or an array of them."""
    OPERATIONS = auto()
    ROBOTS = auto()
    CONTRACT = auto()
    """What is answered where, as an OpenAPI document."""
    REDIRECT = auto()
    """A click on the way to another page."""


_PIXEL = {"GET": Endpoint.PIXEL, "HEAD": Endpoint.PIXEL}
_COLLECTOR = {**_PIXEL, "POST": Endpoint.BATCH}
_REDIRECT = {"GET": Endpoint.REDIRECT, "HEAD": Endpoint.REDIRECT, "POST": Endpoint.REDIRECT}
_OPERATIONS = {"GET": Endpoint.OPERATIONS, "HEAD": Endpoint.OPERATIONS}
_BY_PATH: dict[str, Mapping[str, Endpoint]] = {
    COLLECTOR_PATH: _COLLECTOR,
    "/i": _PIXEL,
    "/ice.png": _PIXEL,
    "/tracking": {**_PIXEL, "POST": Endpoint.TRACKING},
    "/robots.txt": {"GET": Endpoint.ROBOTS, "HEAD": Endpoint.ROBOTS},
    CONTRACT_PATH: {"GET": Endpoint.CONTRACT, "HEAD": Endpoint.CONTRACT},
    **dict.fromkeys(operations.PATHS, _OPERATIONS),
}


_COLLECTORS_NAMES = {"/sink-health": "/ready"}
_OWN_PATH = re.compile(r"/[^/?#\s]+/[^/?#\s]+")


class Routes:
    """The paths of one configuration: those of the collector, and one's own that stand for them.

    Raises ConfigurationError for a path of one's own that cannot work.
    """

    def __init__(self, own: Sequence[str], *, redirects: bool) -> None:
        targets = (COLLECTOR_PATH, REDIRECT_PATH) if redirects else (COLLECTOR_PATH,)
        self._stands_for = dict(_COLLECTORS_NAMES)
        for each in own:
            path, _, target = each.partition("=")
            if not _OWN_PATH.fullmatch(path) or path in _BY_PATH or target not in targets:
                raise ConfigurationError(
                    f"ingest_paths: {each!r} is not /VENDOR/VERSION=PATH, where PATH is {' or '.join(targets)}"
                )
            self._stands_for[path] = target

    def real(self, path: str) -> str:
        """The path that a path stands for, most often itself."""
        return self._stands_for.get(path, path)


def endpoints_of(path: str) -> Mapping[str, Endpoint]:
    """What each method means on a path; empty when there is nothing there. `OPTIONS` is answered everywhere."""
    found = _BY_PATH.get(path)
    if found is not None:
        return found
    before, _, rest = path.partition("/")
    vendor, _, version = rest.partition("/")
    if before or not vendor or not version or "/" in version:
        return {}
    return _REDIRECT if vendor == "r" else _COLLECTOR
