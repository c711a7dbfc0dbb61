"""The pytest plugin: a fixture `events`, a bus in memory for tests of whatever tracks events.

It stands here because importing it must cost nothing where no test asks for the fixture.
"""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from snowbus.consumers.verify.events import Events

_RESOLVER = "snowbus_iglu_resolver"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Have an option in pytest's own configuration for the schemas that events are checked against."""
    parser.addini(
        _RESOLVER,
        help="File that says which Iglu registries the events of the fixture `events` are checked with; unless set, "
        "that of Snowbus's own settings (SNOWBUS_IGLU_RESOLVER, snowbus.toml)",
    )


@pytest.fixture
def snowbus_events(pytestconfig: pytest.Config) -> "Events":
    """The events of this test: an in-memory bus to track to (`events.emitter`), and assertions on what came."""
    # Where no test asks for it, it costs nothing.
    from snowbus.consumers.verify.events import Events  # noqa: PLC0415

    from .load_settings import load_settings  # noqa: PLC0415

    named = pytestconfig.getini(_RESOLVER)
    root = pytestconfig.inipath.parent if pytestconfig.inipath else pytestconfig.rootpath
    return Events(iglu_resolver=str(root / named) if named else load_settings({}).iglu_resolver)


@pytest.fixture
def events(snowbus_events: "Events") -> "Events":
    """The same as `snowbus_events`, under a shorter name, which your own fixtures may take."""
    return snowbus_events
