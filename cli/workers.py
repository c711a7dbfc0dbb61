"""What commands share that run in one process or in several: --workers, and how a worker tells how far it is."""

import asyncio
import contextlib
import functools
import sys
from collections.abc import Callable
from typing import Any

import click

from snowbus.bus.http_server import address_of, bind, split_listen
from snowbus.bus.log import open_log
from snowbus.bus.metrics import Metrics
from snowbus.bus.settings import Settings

from .ending import deadline_of
from .export_traces import exporting_traces
from .link import Link
from .running import Role, announce, run, stop_on_signals
from .service_manager import tell_ready

PORT = "port"


def with_workers(role: str, *, share: str = "partitions") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command --workers, and pass it `workers`, how many are asked for, and `link`.

    `link` is None unless this process is a worker itself, which starts no others; the `settings` that the command is
    given then say where this one is to listen. Where they `share` the port, that is in `link.listen` instead.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @click.option(
            "--workers",
            type=click.IntRange(1, 256),
            metavar="N",
            help=f"Run N processes that share the {share}, and start again what dies or is stuck.",
        )
        @click.option("--worker-link", type=int, hidden=True)
        @click.option("--worker-listen", hidden=True)
        @functools.wraps(function)
        def command(
            settings: Settings, *, worker_link: int | None, worker_listen: str | None, **parameters: Any
        ) -> Any:
            link = None
            if worker_link is not None:
                link = Link(worker_link, listen=worker_listen or "")
                if share != PORT:
                    settings = settings.model_copy(update={f"{role}_listen": worker_listen})
            return function(settings=settings, link=link, **parameters)

        return command

    return decorate


def run_on_port(
    name: str, role: Role, settings: Settings, *, workers: int | None, link: Link | None, draining: float
) -> None:
    """Run a role that listens on a port in this process, or in as many `workers` as are asked for, or as one of these.

    Draining may take so many seconds.
    """
    if workers and not link:
        sys.exit(run(supervise(name, settings, count=workers, share=PORT, draining=draining), settings))

    async def work(*given: Any, ready: Callable[[str], None], begun: Callable[[], None], stop: asyncio.Event) -> None:
        def serves(address: str) -> None:
            ready(address)
            begun()  # there is no group to join

        await role(*given, own_listen=link.listen if link else "", ready=serves, stop=stop)

    shared = f"http://{_listen(name, settings)}" if link else ""
    run(run_worker(name, work, settings, Metrics(), link=link, shared=shared, draining=draining), settings)


async def supervise(role: str, settings: Settings, *, count: int, share: str = "partitions", draining: float) -> int:
    """Run this process's command line in `count` others until SIGTERM or Ctrl-C; the exit code.

    Draining may take each so many seconds. The first listens on the address of the settings and the others on the ports
    after it; where they share the port, all listen on the address, and each on one of the ports after it, too.
    """
    # Only here, since what it imports takes a third of the time in which a worker starts.
    from .supervisor import Limits, Supervisor  # noqa: PLC0415

    stop = stop_on_signals()
    limits = Limits(
        opening=settings.append_timeout,
        stuck=settings.worker_stuck_timeout,
        draining=draining,
        backoff=settings.worker_backoff,
        backoff_max=settings.worker_backoff_max,
    )
    arguments, listen = sys.argv[1:], _listen(role, settings)
    with contextlib.ExitStack() as held:
        if share == PORT:
            bind(listen).close()  # or whoever has it already would share it with us
            bound = held.enter_context(bind(listen, shared=True, listening=False))  # so that the port stays ours
            arguments += ["--listen", address_of(bound)]
            host, port = split_listen(address_of(bound))
            listen = f"{f'[{host}]' if ':' in host else host}:{split_listen(listen)[1] and port + 1}"
        return await Supervisor(arguments, listen=listen, count=count, limits=limits).run(stop)


async def run_worker(
    name: str,
    role: Role,
    settings: Settings,
    metrics: Metrics,
    *,
    link: Link | None,
    shared: str = "",
    draining: float,
) -> None:
    """Run one role until SIGTERM, Ctrl-C or the end of the link, and tell where it listens and when it has begun.

    `shared` is the address that it shares with others; draining may take so many seconds.
    """
    deadline = deadline_of(draining)
    stop = stop_on_signals(deadline=deadline)
    if link:
        link.on_end(stop.set, deadline=deadline)
        link.tell("imported")

    def ready(address: str) -> None:
        announce(name, f"{shared}, and alone on {address}" if shared else address)
        tell_ready()
        if link:
            link.tell(address)

    def begun() -> None:
        if link:
            link.tell("begun")

    with exporting_traces(settings, name):
        async with await open_log(settings.log, settings.log_options()) as log:
            metrics.watch_disk(log)
            await role(log, settings, metrics, ready=ready, begun=begun, stop=stop)


def _listen(role: str, settings: Settings) -> str:
    address: str = getattr(settings, f"{role}_listen")
    return address
