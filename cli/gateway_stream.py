"""A gateway's stream, for the commands that read one with `--stream`."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import click

from snowbus.bus.errors import StreamRefusedError
from snowbus.bus.filters import Filter
from snowbus.consumers import EventStream, GapMessage, stream
from snowbus.consumers.streaming.address import read_address

_TOKEN = "SNOWBUS_STREAM_TOKEN"  # noqa: S105 - its name; a process's arguments are for everyone to see
_UNAUTHORIZED = 401

STREAM_HELP = f"Take events from a gateway, ws://HOST:8081/v1/events; its token: {_TOKEN}."


def check_stream(url: str) -> None:
    """Raise click.UsageError for a stream that would take its events from other readers."""
    if read_address(url, filters={}).group:
        raise click.UsageError("--stream: a group would take the events from its other readers; leave out group=")


@asynccontextmanager
async def gateway_stream(url: str, wanted: Filter, **options: Any) -> AsyncIterator[EventStream]:
    """A stream as `snowbus.consumers.stream` opens it, with the token of the environment. Raises StreamError."""
    filters: dict[str, Any] = {name: list(values) for name, values in wanted.conditions}
    try:
        async with stream(url, token=os.environ.get(_TOKEN, ""), **options, **filters) as events:
            yield events
    except StreamRefusedError as error:
        if error.status != _UNAUTHORIZED:
            raise
        reason = f"{error.reason}; {_TOKEN} is where its token belongs"
        raise StreamRefusedError(error.url, status=error.status, reason=reason) from None


def missed_words(gap: GapMessage) -> str:
    """What a gateway has left out, in words."""
    count = "an unknown number of records" if gap.count is None else f"{gap.count} records"
    return f"{count} of {gap.topic}/{gap.partition} were left out by the gateway: {gap.reason}"
