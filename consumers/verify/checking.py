"""Checks events that nobody has checked yet against their schemas: recorded ones, and those of a test."""

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple, TypeVar

from snowbus.bus.acceptance import check, draft, schemas_of
from snowbus.bus.canonical import Decoded, decode
from snowbus.bus.clock import now_ms
from snowbus.bus.event import ProducerRecord
from snowbus.bus.iglu.resolver import VERDICT_SECONDS, Resolver, resolver_of
from snowbus.bus.payload import Payload
from snowbus.bus.validation import validate

from .seen import Seen

T = TypeVar("T")


class Unchecked(NamedTuple):
    """An event that nobody has checked, and its payload, decoded."""

    seen: Seen
    decoded: Decoded


def unchecked_of(seen: Seen) -> Seen | Unchecked:
    """An event as it is to be checked, if nobody could until now and its parameters are known."""
    return Unchecked(seen, decode(seen.payload)) if seen.validation == "unchecked" and seen.payload else seen


async def check_all(events: Sequence[Seen | Unchecked], resolver: Resolver) -> list[Seen]:
    """The events, each with what was found of it, once their schemas are looked up. Never raises."""
    unchecked = [each.decoded for each in events if isinstance(each, Unchecked)]
    lookups = await resolver.look_up_all({entity.schema for decoded in unchecked for entity in decoded.entities})
    return [
        replace(each.seen, **validate(each.decoded, lookups)._asdict()) if isinstance(each, Unchecked) else each
        for each in events
    ]


class SchemaChecks:
    """Checks events against the schemas of a resolver's file, for code that is not asynchronous, in any thread.

    It remembers what has been looked up. Raises ConfigurationError for a file that cannot work.
    """

    def __init__(self, iglu_resolver: str) -> None:
        self.is_strict = bool(iglu_resolver)
        self._resolver = resolver_of(iglu_resolver, wait=VERDICT_SECONDS)
        self._lock = threading.Lock()

    def accept(self, payload: Payload, *, producer: str) -> ProducerRecord:
        """The record of an event. Raises PayloadError when it is none."""
        drafted = draft(payload)
        lookups = self._run(self._resolver.look_up_all(schemas_of([drafted])))
        return check(drafted, lookups, now=now_ms(), producer=producer).record

    def check_all(self, events: Sequence[Seen | Unchecked]) -> list[Seen]:
        """As the function of this name."""
        return self._run(check_all(events, self._resolver)) if events else []

    def _run(self, looking_up: Coroutine[Any, Any, T]) -> T:
        """What a coroutine gives, from an event loop of its own: there may be one in the caller's thread."""

        async def main() -> T:
            async with self._resolver:
                return await looking_up

        with self._lock, ThreadPoolExecutor(1) as executor:
            return executor.submit(asyncio.run, main()).result()


@cache
def checks_of(iglu_resolver: str) -> SchemaChecks:
    """The checks of a file, the same for all tests of a process, which look up each schema once."""
    return SchemaChecks(iglu_resolver)
