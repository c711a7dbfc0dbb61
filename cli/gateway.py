"""`snowbus gateway`: stream events over websockets, with the live page, from this process or from several."""

import click

from snowbus.bus.settings import Settings
from snowbus.consumers.gateway.server import CLOSE_SECONDS, run_gateway

from .link import Link
from .settings import RESOLVER, SettingsCommand, with_settings
from .workers import PORT, run_on_port, with_workers


@click.command(name="gateway", cls=SettingsCommand)
@with_settings("gateway", workers=True, also=RESOLVER)
@with_workers("gateway", share=PORT)
def command(settings: Settings, *, workers: int | None, link: Link | None) -> None:
    """Stream events live over websockets at /v1/events, and serve the live page at /.

    \b
      snowbus gateway
      snowbus gateway --listen 0.0.0.0:8081 --tokens-file tokens.txt
    """
    run_on_port("gateway", run_gateway, settings, workers=workers, link=link, draining=CLOSE_SECONDS)
