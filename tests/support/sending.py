"""Sends bodies to a collector through the sender of the collector consumer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import uvloop

from snowbus.bus.collector.sender import Sender
from snowbus.bus.collector.target import targets_of
from snowbus.bus.collector.verdicts import Answer, NoAnswer
from snowbus.bus.settings import Settings

from .aio import run
from .collector_ledger import SCHEMA


def body_of(count: int = 1, *, page: str = "x") -> bytes:
    """A payload_data of so many events."""
    events = [{"tv": "t", "p": "srv", "e": "pv", "eid": str(number), "page": page} for number in range(count)]
    return orjson.dumps({"schema": SCHEMA, "data": events})


BODY = body_of()
LARGE = body_of(400, page="x" * 2_000)
TAKEN = Answer(200, "", "ok")
"""What a good collector answers."""


@asynccontextmanager
async def sender(collector: str, **settings: Any) -> AsyncIterator[Sender]:
    """The sender to one collector, open."""
    made = Settings(collector=collector, **settings)
    (target,) = targets_of(made)
    async with Sender(target, settings=made) as opened:
        yield opened


def post(collector: str, *bodies: bytes, **settings: Any) -> list[Answer | NoAnswer]:
    """Send bodies, or BODY, one after another, on the loop of production."""

    async def main() -> list[Answer | NoAnswer]:
        async with sender(collector, **settings) as opened:
            return [await opened.post(body) for body in bodies or (BODY,)]

    return run(main(), loop_factory=uvloop.new_event_loop)


def error_of(collector: str, **settings: Any) -> NoAnswer:
    """Send BODY, which must get no answer."""
    (outcome,) = post(collector, **settings)
    assert isinstance(outcome, NoAnswer)
    return outcome
