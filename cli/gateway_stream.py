"""A gateway's stream, for the commands that read one with `--stream`."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import click

from snowbus.bus.errors import StreamRefusedError
from snowbus.bus.filters import Filter
from snowbus.consumers import EventMessage, EventStream, GapMessage, stream
from snowbus.consumers.streaming.address import read_address

_TOKEN = "SNOWBUS_STREAM_TOKEN"  # noqa: S105 - its name; a process's arguments are for everyone to see
_UNAUTHORIZED = 401
_QUIET_SECONDS = 0.25

STREAM_HELP = f"Take events from a gateway, ws://HOST:8081/v1/events; its token: {_TOKEN}."

Events = AsyncGenerator[EventMessage | None]


def check_stream(url: str) -> None:
    """Raise click.UsageError for a stream that would take its events from other readers, or shows its token."""
    asked = read_address(url, filters={})
    if asked.token:
        raise click.UsageError(
            "--stream: no token can stand there, as everyone on a machine sees the arguments of its processes: use "
            f"{_TOKEN}"
        )
    if asked.group:
        raise click.UsageError("--stream: a group would take the events from its other readers; leave out group=")


@asynccontextmanager
async def gateway_events(url: str, wanted: Filter, **options: Any) -> AsyncIterator[Events]:
    """The events of a gateway, and None when nothing came for a moment; `options` are those of the client's `stream`.

    Its token is that of the environment. Raises StreamError, ConfigurationError.
    """
    filters: dict[str, Any] = {name: list(values) for name, values in wanted.conditions}
    try:
        async with (
            stream(url, token=os.environ.get(_TOKEN, ""), **options, **filters) as events,
            aclosing(_paced(events)) as paced,
        ):
            yield paced
    except StreamRefusedError as error:
        if error.status != _UNAUTHORIZED:
            raise
        reason = f"{error.reason}; {_TOKEN} is where its token belongs"
        raise StreamRefusedError(error.url, status=error.status, reason=reason) from None


async def _paced(events: EventStream) -> Events:
    coming = asyncio.ensure_future(anext(events))
    try:
        while True:
            await asyncio.wait({coming}, timeout=_QUIET_SECONDS)
            if not coming.done():
                yield None
                continue
            message = coming.result()
            coming = asyncio.ensure_future(anext(events))
            yield message
    finally:
        coming.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await coming


def missed_words(gap: GapMessage) -> str:
    """What a gateway has left out, in words."""
    count = "an unknown number of records" if gap.count is None else f"{gap.count} records"
    return f"{count} of {gap.topic}/{gap.partition} were left out by the gateway: {gap.reason}"
