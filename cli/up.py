"""`snowbus up`: all roles in one process; with --demo also a shop that sends events and a collector to send them to."""

import click

from snowbus.bus.log import open_log
from snowbus.bus.settings import Settings

from .ending import deadline_of
from .export_traces import exporting_traces
from .roles import Roles
from .running import run, stop_on_signals
from .service_manager import tell_ready
from .settings import VALIDATION, SettingsCommand, has_flag, with_settings


@click.command(name="up", cls=SettingsCommand)
@click.option("--demo", is_flag=True, help="Add sample shop traffic, and a stand-in collector that has short outages.")
@click.option(
    "--demo-rate",
    type=click.FloatRange(0.1, 1000),
    default=5.0,
    show_default=True,
    help="Events a second of the demo, about.",
)
@with_settings("ingest", "collect", "gateway", also=VALIDATION)
def command(settings: Settings, *, demo: bool, demo_rate: float) -> None:
    """Run ingest, the gateway and (given --collector) the collector consumer in one process.

    \b
      snowbus up --demo
      snowbus up --collector https://collector.example

    With --demo the log is a temporary file that goes when the demo ends. The flag --log, and nothing else, names
    another; the stand-in collector then takes what is there in the group demo, unless --group names one.
    """
    if demo and has_flag("collector"):
        raise click.UsageError("--demo has a collector of its own: leave out --collector, or --demo")
    with exporting_traces(settings, "up"):
        if demo:
            from .demo.run import run_demo  # noqa: PLC0415 - only the demo needs the official tracker

            log = settings.log if has_flag("log") else ""
            if log and not has_flag("group"):
                settings = settings.model_copy(update={"group": "demo"})
            run(run_demo(settings, log=log, rate=demo_rate), settings)
        else:
            run(_up(settings), settings)


async def _up(settings: Settings) -> None:
    draining = max(settings.append_timeout, settings.collect_drain_timeout)
    stop = stop_on_signals(deadline=deadline_of(draining))
    async with await open_log(settings.log, settings.log_options()) as log, Roles(log, settings) as roles:
        tell_ready()
        if not settings.collector:
            print("No collector: events stay on the log. Name one with --collector URL.", flush=True)
        await roles.until(stop)
