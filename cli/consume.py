"""`snowbus consume`: run consumers of your own, in this process or in several."""

import sys
from functools import partial

import click
from prometheus_client import REGISTRY

from snowbus.bus.metrics import Metrics
from snowbus.bus.settings import Settings
from snowbus.consumers.run import run_consume

from .find_consumers import find_consumers
from .link import Link
from .running import run, stop_on_signals
from .settings import SettingsCommand, with_settings
from .workers import run_worker, supervise, with_workers


@click.command(name="consume", cls=SettingsCommand)
@click.argument("targets", nargs=-1, required=True, metavar="MODULE:NAME…")
@with_settings("consume", workers=True)
@with_workers("consume")
@click.option("--reload", is_flag=True, help="Start again whenever a Python file below the working directory changes.")
def command(
    settings: Settings, *, targets: tuple[str, ...], workers: int | None, reload: bool, link: Link | None
) -> None:
    """Run consumers: functions decorated with @consumer, in modules of the working directory.

    \b
      snowbus consume shop.stock:reserve
      snowbus consume shop.stock --workers 2

    MODULE:NAME is one consumer, MODULE every consumer in it. A first SIGTERM or Ctrl-C lets the handlers under way
    finish, a second one does not.
    """
    if workers and reload:
        raise click.UsageError("--reload is for developing, with one process; leave --workers out")
    draining = settings.consume_drain_timeout
    if workers and not link:
        sys.exit(run(supervise("consume", settings, count=workers, draining=draining), settings))
    if reload and not link:
        sys.exit(run(_reload(settings), settings))
    role = partial(run_consume, find_consumers(targets))
    metrics = Metrics(besides=REGISTRY)  # where the consumers' own metrics are, when they have any
    run(run_worker("consume", role, settings, metrics, link=link, draining=draining), settings)


async def _reload(settings: Settings) -> int:
    """Run the same command line in another process, again and again."""
    from .reloading import run_reloading  # noqa: PLC0415 - what it imports is slow, and seldom needed

    return await run_reloading(
        sys.argv[1:],
        listen=settings.consume_listen,
        drain_timeout=settings.consume_drain_timeout,
        stop=stop_on_signals(),
    )
