"""`snowbus collect`: forward events to a Snowplow collector."""

import click

from snowbus.bus.settings import Settings
from snowbus.consumers.collector.run import run_collect

from .running import run_role
from .settings import SettingsCommand, with_settings


@click.command(name="collect", cls=SettingsCommand)
@with_settings("collect")
def command(settings: Settings) -> None:
    """Forward events from the log to a Snowplow collector, and lose none, whatever the collector does."""
    run_role("collect", run_collect, settings)
