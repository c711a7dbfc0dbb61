"""`snowbus gateway`: stream events over websockets, with the live page."""

import click

from snowbus.bus.settings import Settings
from snowbus.consumers.gateway.server import run_gateway

from .running import run_role
from .settings import SettingsCommand, with_settings


@click.command(name="gateway", cls=SettingsCommand)
@with_settings("gateway")
def command(settings: Settings) -> None:
    """Stream events live over websockets at /v1/events, and serve the live page at /."""
    run_role("gateway", run_gateway, settings)
