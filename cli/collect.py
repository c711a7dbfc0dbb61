"""`snowbus collect`: forward events to a Snowplow collector, from this process or from several."""

import sys

import click

from snowbus.bus.metrics import Metrics
from snowbus.bus.settings import Settings
from snowbus.consumers.collector.run import run_collect

from .link import Link
from .running import run
from .settings import SettingsCommand, with_settings
from .workers import run_worker, supervise, with_workers


@click.command(name="collect", cls=SettingsCommand)
@with_settings("collect", workers=True)
@with_workers("collect")
def command(settings: Settings, *, workers: int | None, link: Link | None) -> None:
    """Forward events from the log to a Snowplow collector, and lose none, whatever the collector does.

    \b
      snowbus collect --collector https://collector.example
      snowbus collect --collector https://collector.example --workers 2 --log kafka://localhost:9092
    """
    draining = settings.collect_drain_timeout
    if workers and not link:
        sys.exit(run(supervise("collect", settings, count=workers, draining=draining), settings))
    run(run_worker("collect", run_collect, settings, Metrics(), link=link, draining=draining), settings)
