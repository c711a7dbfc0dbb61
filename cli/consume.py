"""`snowbus consume`: run consumers of your own, in this process or in several."""

import sys

import click
from prometheus_client import REGISTRY

from snowbus.bus.log import open_log
from snowbus.bus.metrics import Metrics
from snowbus.bus.settings import Settings
from snowbus.consumers.run import run_consume

from .find_consumers import AnyConsumer, find_consumers
from .link import Link
from .running import announce, run, stop_on_signals
from .settings import SettingsCommand, with_settings

_AFTER_DRAINING_SECONDS = 10.0


@click.command(name="consume", cls=SettingsCommand)
@click.argument("targets", nargs=-1, required=True, metavar="MODULE:NAME…")
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    metavar="N",
    help="Run N processes, each a member of the groups, and start again what dies or is stuck.",
)
@click.option("--reload", is_flag=True, help="Start again whenever a Python file below the working directory changes.")
@click.option("--worker-link", type=int, hidden=True)
@click.option("--worker-listen", hidden=True)
@with_settings("consume")
def command(
    settings: Settings,
    *,
    targets: tuple[str, ...],
    workers: int | None,
    reload: bool,
    worker_link: int | None,
    worker_listen: str | None,
) -> None:
    """Run consumers: functions decorated with @consumer, in modules of the working directory.

    MODULE:NAME is one consumer, MODULE every consumer in it. A first SIGTERM or Ctrl-C lets the handlers under way
    finish, a second one does not.
    """
    if workers and reload:
        raise click.UsageError("--reload is for developing, with one process; leave --workers out")
    if worker_link is not None:
        settings = settings.model_copy(update={"consume_listen": worker_listen})
        run(_consume(find_consumers(targets), settings, Link(worker_link)), settings)
    elif workers or reload:
        sys.exit(run(_supervise(workers, settings), settings))
    else:
        run(_consume(find_consumers(targets), settings), settings)


async def _consume(consumers: list[AnyConsumer], settings: Settings, link: Link | None = None) -> None:
    stop = stop_on_signals()
    if link:
        link.on_end(stop.set, deadline=settings.consume_drain_timeout + _AFTER_DRAINING_SECONDS)
        link.tell("imported")

    def ready(address: str) -> None:
        announce("consume", address)
        if link:
            link.tell(address)

    def begun() -> None:
        if link:
            link.tell("begun")

    async with await open_log(settings.log, settings.log_options()) as log:
        metrics = Metrics(besides=REGISTRY)  # where the consumers' own metrics are, when they have any
        await run_consume(consumers, log, settings, metrics, ready=ready, begun=begun, stop=stop)


async def _supervise(workers: int | None, settings: Settings) -> int:
    """Run the same command line in other processes."""
    arguments = sys.argv[2:]  # what came after "consume"; a worker takes no heed of --workers and --reload
    # Only here, since what these import takes a third of the time in which a consumer starts.
    from .reloading import run_reloading  # noqa: PLC0415
    from .supervisor import Supervisor  # noqa: PLC0415

    stop = stop_on_signals()
    if workers:
        return await Supervisor(arguments, count=workers, settings=settings).run(stop)
    return await run_reloading(arguments, settings, stop=stop)
