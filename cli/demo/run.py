"""Runs the demo: a shop, ingest, the log, the collector consumer, a stand-in collector and the live page together."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator

from snowbus.bus.errors import ConfigurationError
from snowbus.bus.http_server import bind
from snowbus.bus.log import Log, open_log
from snowbus.bus.log.kafka_url import without_password
from snowbus.bus.settings import Settings

from ..roles import Roles
from ..running import stop_on_signals
from .shop import Shop
from .stand_in_collector import StandInCollector

_OUTAGE_EVERY_SECONDS = 25.0
_OUTAGE_SECONDS = 6.0
_DELIVERY_SECONDS = 20.0
_LAG_SECONDS = 0.1
_SCHEMA_SECONDS = 3.0
"""How long the first events wait for their schemas at least: at the start there is much to do at once."""


async def run_demo(settings: Settings, *, log: str, rate: float) -> None:
    """Run the demo until SIGTERM or Ctrl-C; then deliver what is left, and say what became of the events.

    Without a `log`, it is in a folder that goes with the demo.
    """
    stop = stop_on_signals()
    with _log_url(log) as log_url:
        async with _stand_in_collector() as (collector, collector_address):
            settings = settings.model_copy(
                update={
                    "log": log_url,
                    "collector": (collector_address,),
                    "iglu_wait": max(settings.iglu_wait, _SCHEMA_SECONDS),
                    **_free_addresses(settings),
                }
            )
            async with await open_log(log_url, settings.log_options()) as opened, Roles(opened, settings) as roles:
                _print_welcome(roles.addresses, log_url)
                shop = await asyncio.to_thread(
                    Shop, roles.addresses["ingest"], log=log_url, rate=rate, iglu_resolver=settings.iglu_resolver
                )
                try:
                    await roles.until(stop)
                finally:
                    print("\nClosing the shop and delivering what is left …", flush=True)
                    collector.stay()
                    await asyncio.to_thread(shop.close)
                undelivered = await _undelivered(opened, settings.group)
        _print_result(shop.tracked, collector, undelivered)


@contextlib.contextmanager
def _log_url(named: str) -> Iterator[str]:
    if named:
        yield named
        return
    with tempfile.TemporaryDirectory(prefix="snowbus-demo-") as folder:
        yield f"sqlite:///{folder}/demo.db"


@contextlib.asynccontextmanager
async def _stand_in_collector() -> AsyncIterator[tuple[StandInCollector, str]]:
    collector = StandInCollector(outage_every=_OUTAGE_EVERY_SECONDS, outage_seconds=_OUTAGE_SECONDS)
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    serving = asyncio.create_task(collector.serve("127.0.0.1:0", ready=address.set_result, stop=stop))
    try:
        yield collector, await address
    finally:
        stop.set()
        await serving


def _free_addresses(settings: Settings) -> dict[str, str]:
    """Where roles listen instead, when the usual port is taken and nobody asked for it."""
    moved = {}
    for name in ("ingest_listen", "gateway_listen", "collect_listen"):
        if name not in settings.model_fields_set:
            try:
                bind(getattr(settings, name)).close()
            except ConfigurationError:
                moved[name] = "127.0.0.1:0"
    return moved


async def _undelivered(log: Log, group: str) -> int:
    """What the collector consumer has not delivered, once it has had some time for it."""
    lag = 0
    for _ in range(round(_DELIVERY_SECONDS / _LAG_SECONDS)):
        lag = sum((await log.lag(group)).values())
        if not lag:
            break
        await asyncio.sleep(_LAG_SECONDS)
    return lag


def _print_welcome(addresses: dict[str, str], log_url: str) -> None:
    print(
        f"""
  Watch the events live:   {addresses["gateway"]}/
  Send some of your own:   {addresses["ingest"]}

    curl -H 'Content-Type: application/json' {addresses["ingest"]}/tracking \\
      -d '{{"schema": "iglu:dev.snowbus.demo/hello/jsonschema/1-0-0", "data": {{"from": "you"}}, "app_id": "my-app"}}'

  Look into its log from another terminal:

    export SNOWBUS_LOG={without_password(log_url)}
    snowbus tail

  The stand-in collector is away for {_OUTAGE_SECONDS:g} of every {_OUTAGE_EVERY_SECONDS + _OUTAGE_SECONDS:g} seconds.
  Ctrl-C ends the demo.
""",
        flush=True,
    )


def _print_result(tracked: int, collector: StandInCollector, undelivered: int) -> None:
    print(
        f"The shop tracked {tracked} events. The collector took {collector.delivered}, {collector.duplicates} of them "
        f"more than once, and turned away {collector.turned_away} requests. Undelivered: {undelivered}.",
        flush=True,
    )
