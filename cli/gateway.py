"""`snowbus gateway`: stream events over websockets, with the live page, from this process or from several."""

import sys
from functools import partial

import click

from snowbus.bus.metrics import Metrics
from snowbus.bus.settings import Settings
from snowbus.consumers.gateway.server import run_gateway

from .link import Link
from .running import run
from .settings import RESOLVER, SettingsCommand, with_settings
from .workers import PORT, run_worker, supervise, with_workers


@click.command(name="gateway", cls=SettingsCommand)
@with_settings("gateway", workers=True, also=RESOLVER)
@with_workers("gateway", share=PORT)
def command(settings: Settings, *, workers: int | None, link: Link | None) -> None:
    """Stream events live over websockets at /v1/events, and serve the live page at /."""
    if workers and not link:
        sys.exit(run(supervise("gateway", settings, count=workers, share=PORT), settings))
    role = partial(run_gateway, own_listen=link.listen if link else "")
    shared = f"http://{settings.gateway_listen}" if link else ""
    run(run_worker("gateway", role, settings, Metrics(), link=link, shared=shared), settings)
