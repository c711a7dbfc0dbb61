"""`snowbus ingest`: take events over HTTP."""

import click

from snowbus.bus.settings import Settings
from snowbus.producers.ingest.app import run_ingest

from .running import run_role
from .settings import VALIDATION, SettingsCommand, with_settings


@click.command(name="ingest", cls=SettingsCommand)
@with_settings("ingest", also=VALIDATION)
def command(settings: Settings) -> None:
    """Take events over HTTP, like a Snowplow collector; answer 200 once they are durable on the log."""
    run_role("ingest", run_ingest, settings)
