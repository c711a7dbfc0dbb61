"""The pytest plugin: a fixture `events`, a bus in memory for tests of whatever tracks events.

It stands here because importing it must cost nothing where no test asks for the fixture.
"""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from snowbus.consumers.verify.events import Events


@pytest.fixture
def snowbus_events() -> "Events":
    """The events of this test: an in-memory bus to track to (`events.emitter`), and assertions on what came."""
    from snowbus.consumers.verify.events import Events  # noqa: PLC0415 - where no test asks for it, it costs nothing

    return Events()


@pytest.fixture
def events(snowbus_events: "Events") -> "Events":
    """The same as `snowbus_events`, under a shorter name, which your own fixtures may take."""
    return snowbus_events
