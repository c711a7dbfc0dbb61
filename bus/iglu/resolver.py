"""Looks schemas up in registries, once for all who ask at the same time, and remembers what came of it.

Nobody waits for a registry longer than a bound, counted from when the look-up began. What is not known by then is
looked up further, and known to those who ask later.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from itertools import islice
from typing import NamedTuple, Self

from ..diagnostics import Diagnostics
from ..errors import RegistryError, SchemaError, SchemaLimitError
from ..sparingly import SparingDiagnostics
from ..watched_file import WatchedFile
from .config import RegistryConfig, ResolverConfig, own_config, watched_config
from .lookups import Found, Lookup, LookupMemory, Lookups, NotFound, Remembered, Unreachable, Unusable
from .registries import Registry, registry_of
from .schema import Schema, compile_schema
from .uri import IgluUri

logger = Diagnostics(__name__)

VERDICT_SECONDS = 30.0
"""How long whoever asks for nothing but a verdict should wait for a schema."""

_LOOKUPS_AT_ONCE = 50
_NOT_YET = Unreachable("the registries have not answered yet")
_TOO_MANY = Unreachable("too many schemas are being looked up")


class _UnderWay(NamedTuple):
    task: "asyncio.Task[Remembered]"
    began: float


class Resolver:
    """Looks up schemas as a configuration says; nobody waits longer than `wait` seconds for one.

    `is_strict` says whether a schema that no registry has makes an event invalid. `file` is where the configuration
    comes from, if it may change: what is looked up after that is asked of the registries that it names then. It belongs
    to one event loop.
    """

    def __init__(
        self,
        config: ResolverConfig,
        *,
        wait: float,
        is_strict: bool = True,
        file: WatchedFile[ResolverConfig] | None = None,
        connect: Callable[[RegistryConfig], Registry] = registry_of,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.file = file
        self._is_strict = is_strict
        self._config = config
        self._connect = connect
        self._registries = self._connected()
        self._memory = LookupMemory(size=config.cache_size, ttl=config.cache_ttl)
        self._wait = wait
        self._clock = clock
        self._under_way: dict[IgluUri, _UnderWay] = {}
        self._diagnostics = SparingDiagnostics(logger, clock=clock)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Give up what is being looked up."""
        tasks = [each.task for each in self._under_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def look_up(self, uris: Iterable[IgluUri]) -> Lookups:
        """What is known of each schema, once it is known or the wait is over. Never raises."""
        known: dict[IgluUri, Lookup] = {}
        awaited: dict[IgluUri, _UnderWay] = {}
        now = self._clock()
        for uri in uris:
            remembered = self._memory.get(uri)
            if remembered is not None:
                known[uri] = remembered.lookup
                if now < remembered.until:
                    continue
            under_way = self._begin(uri, now)
            if under_way is None:
                known.setdefault(uri, _TOO_MANY)
            elif remembered is None or isinstance(remembered.lookup, NotFound | Unusable):
                awaited[uri] = under_way
        if awaited:
            left = max(each.began for each in awaited.values()) + self._wait - now
            await asyncio.wait([each.task for each in awaited.values()], timeout=max(0.0, left))
            for uri, under_way in awaited.items():
                if under_way.task.done() and not under_way.task.cancelled():
                    known[uri] = under_way.task.result().lookup
                else:
                    known.setdefault(uri, _NOT_YET)
        return Lookups(known, self._is_strict)

    async def look_up_all(self, uris: Iterable[IgluUri]) -> Lookups:
        """As `look_up`, of any number of schemas, a part after the other: for who would rather wait than not know."""
        known: dict[IgluUri, Lookup] = {}
        left = iter(uris)
        while part := list(islice(left, _LOOKUPS_AT_ONCE)):
            known |= (await self.look_up(part)).by_uri
        return Lookups(known, self._is_strict)

    def _connected(self) -> list[tuple[RegistryConfig, Registry]]:
        return [(each, self._connect(each)) for each in self._config.repositories]

    def _follow_file(self, now: float) -> None:
        if self.file is not None and (config := self.file.value(now=now)) is not self._config:
            self._config = config
            self._registries = self._connected()

    def _begin(self, uri: IgluUri, now: float) -> _UnderWay | None:
        """Begin to look up a schema, unless that is under way; None when too many are."""
        self._follow_file(now)
        under_way = self._under_way.get(uri)
        if under_way is None and len(self._under_way) < _LOOKUPS_AT_ONCE:
            task = asyncio.create_task(self._look_up_and_remember(uri), name=f"snowbus-iglu {uri}")
            under_way = self._under_way[uri] = _UnderWay(task, now)
            task.add_done_callback(lambda _: self._under_way.pop(uri, None))
        return under_way

    async def _look_up_and_remember(self, uri: IgluUri) -> Remembered:
        try:
            lookup = await self._ask(uri)
        except Exception as error:  # noqa: BLE001 - it is told, with its traceback
            self._diagnostics.exception("a schema could not be looked up", schema=str(uri))
            lookup = Unreachable(f"it failed: {type(error).__name__}")
        if isinstance(lookup, Unreachable):
            self._diagnostics.warning("a schema cannot be looked up", schema=str(uri), reason=lookup.reason)
        return self._memory.put(uri, lookup, now=self._clock())

    async def _ask(self, uri: IgluUri) -> Lookup:
        """Ask the registries one after the other."""
        asked, failures = [], []
        for config, registry in sorted(self._registries, key=lambda each: each[0].rank(uri.vendor)):
            try:
                text = await registry.fetch(uri)
                if text is not None:
                    schema = await asyncio.to_thread(compile_schema, text)
                    _warn_of_another(schema, uri, config.name)
                    return Found(schema, config.name)
                asked.append(config.name)
            except RegistryError as error:
                failures.append(f"{config.name}: {error}")
            except SchemaLimitError as error:
                return Unreachable(f"{config.name}: {error.reason}")
            except SchemaError as error:
                return Unusable(config.name, error.reason)
        return Unreachable("; ".join(failures)) if failures else NotFound(tuple(asked))


def _warn_of_another(schema: Schema, uri: IgluUri, registry: str) -> None:
    """Say so when a schema calls itself another than was asked for; Snowplow takes it all the same."""
    described = schema.document.get("self")
    own = {name: getattr(uri, name) for name in ("vendor", "name", "format", "version")}
    if isinstance(described, dict) and described != own:
        logger.warning("a registry has another schema in the place of one", registry=registry, schema=str(uri))


def resolver_of(file: str, *, wait: float) -> Resolver:
    """The resolver that a file configures; without one, of the schemas that come with Snowbus, which knows nothing of
    others and calls no event invalid for having one. Raises ConfigurationError.
    """
    if not file:
        return Resolver(own_config(), wait=wait, is_strict=False)
    watched = watched_config(file)
    return Resolver(watched.value(now=time.monotonic()), wait=wait, file=watched)
