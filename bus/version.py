"""Who we are: the version, and the names that go on records."""

import socket
from functools import cache
from importlib.metadata import version as distribution_version


@cache
def version() -> str:
    """The version of the installed distribution."""
    return distribution_version("snowbus")


def tracker_version() -> str:
    """The `tv` of events whose sender gave none, for example `snowbus-0.1.0`."""
    return f"snowbus-{version()}"


@cache
def producer_name(part: str) -> str:
    """Who writes a record: `snowbus-<part>/<version>@<host>`."""
    return f"snowbus-{part}/{version()}@{socket.gethostname()}"
