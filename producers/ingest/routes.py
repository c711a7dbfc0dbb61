"""Which request means what: the collector's paths, `/tracking`, and what those who run ingest ask for."""

from collections.abc import Mapping
from enum import Enum, auto

from snowbus.bus import operations

EVENTS_PATH = "/com.snowplowanalytics.snowplow/tp2"


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
    REDIRECT = auto()
    """The collector's click redirects, which are off."""


_PIXEL = {"GET": Endpoint.PIXEL, "HEAD": Endpoint.PIXEL}
_COLLECTOR = {**_PIXEL, "POST": Endpoint.BATCH}
_REDIRECT = {"GET": Endpoint.REDIRECT, "HEAD": Endpoint.REDIRECT, "POST": Endpoint.REDIRECT}
_OPERATIONS = {"GET": Endpoint.OPERATIONS, "HEAD": Endpoint.OPERATIONS}
_BY_PATH: dict[str, Mapping[str, Endpoint]] = {
    EVENTS_PATH: _COLLECTOR,
    "/i": _PIXEL,
    "/ice.png": _PIXEL,
    "/tracking": {**_PIXEL, "POST": Endpoint.TRACKING},
    "/robots.txt": {"GET": Endpoint.ROBOTS, "HEAD": Endpoint.ROBOTS},
    **dict.fromkeys(operations.PATHS, _OPERATIONS),
}


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
