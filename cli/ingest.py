"""`snowbus ingest`: take events over HTTP, in this process or in several."""

import click

from snowbus.bus.settings import Settings
from snowbus.producers.ingest.app import drain_seconds, run_ingest

from .link import Link
from .settings import VALIDATION, SettingsCommand, with_settings
from .workers import PORT, run_on_port, with_workers


@click.command(name="ingest", cls=SettingsCommand)
@with_settings("ingest", workers=True, also=VALIDATION)
@with_workers("ingest", share=PORT)
def command(settings: Settings, *, workers: int | None, link: Link | None) -> None:
    """Take events over HTTP, like a Snowplow collector; answer 200 once they are durable on the log.

    \b
      snowbus ingest
      snowbus ingest --listen 0.0.0.0:8080 --log kafka://localhost:9092
    """
    run_on_port("ingest", run_ingest, settings, workers=workers, link=link, draining=drain_seconds(settings))
