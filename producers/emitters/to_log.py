"""A log as an emitter's destination: events are checked, and appended."""

from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from snowbus.bus import tracing
from snowbus.bus.acceptance import Draft, draft, schemas_of
from snowbus.bus.clock import now_ms
from snowbus.bus.collector.verdicts import Dead, Delivered, Denied, Retry, Split, Stop, Verdict
from snowbus.bus.errors import LogError, RecordRefusedError, RecordTooLargeError
from snowbus.bus.event import BAD_TOPIC, EVENTS_TOPIC, ProducerRecord
from snowbus.bus.iglu.config import ResolverConfig, own_config
from snowbus.bus.iglu.resolver import Resolver
from snowbus.bus.log import LogOptions, open_log
from snowbus.bus.payload import dump_payload, utf8
from snowbus.bus.version import producer_name

from ..bad_records import Bad, bad_record
from ..checking import Checker
from .tracked import Tracked

_SCHEMA_SECONDS = 1.0


@dataclass(slots=True)
class Item:
    """An event that has been read, when it was tracked, in ms since 1970, where in its trace, and whether it is on the
    log: beside one that was refused, which is looked for among smaller parts.
    """

    drafted: Draft
    at: int
    traceparent: str
    is_durable: bool = False


class LogDestination:
    """Checks events against their schemas, and appends them; with `diverts`, what is invalid goes to `snowbus.bad`."""

    def __init__(self, url: str, options: LogOptions | None, *, resolver: ResolverConfig | None, diverts: bool) -> None:
        self.system, self.name = tracing.system_of(url), EVENTS_TOPIC
        self._url = url
        self._options = options
        self._resolver_config = resolver or own_config()
        self._is_strict = resolver is not None
        self._diverts = diverts
        self._topics: set[str] = set()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._log = await self._stack.enter_async_context(await open_log(self._url, self._options))
        self._max_record_bytes = self._log.options.max_record_bytes
        self._checker = Checker(
            producer=producer_name("emitter"), diverts=self._diverts, max_record_bytes=self._max_record_bytes
        )
        self._resolver = await self._stack.enter_async_context(
            Resolver(self._resolver_config, wait=_SCHEMA_SECONDS, is_strict=self._is_strict)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def prepare(self, event: Tracked) -> Item:
        """See Destination."""
        return Item(draft(event.payload), event.at, event.traceparent)

    def requests(self, items: Sequence[Item]) -> list[int]:
        """See Destination: the log itself makes batches of what it can take together."""
        return [len(items)] if items else []

    async def send(self, items: Sequence[Item]) -> Verdict:
        """See Destination."""
        missing = [item for item in items if not item.is_durable]
        lookups = await self._resolver.look_up(schemas_of(item.drafted for item in missing))
        placed: dict[str, list[tuple[Item, ProducerRecord]]] = {BAD_TOPIC: [], EVENTS_TOPIC: []}
        traces = tracing.onward_each([item.traceparent for item in missing])
        try:
            for item, traceparent in zip(missing, traces, strict=True):
                topic, record, _ = self._checker.place(item.drafted, lookups, now=item.at, traceparent=traceparent)
                placed[topic].append((item, record))
            for topic, some in placed.items():
                await self._append_items(topic, some)
        except RecordTooLargeError as error:
            return Split(str(error)) if len(items) > 1 else Dead(str(error), 0, "")
        except RecordRefusedError as error:
            return Denied(str(error), 0)
        except LogError as error:
            return Retry(str(error)) if error.retriable else Stop(str(error))
        return Delivered()

    async def keep(self, event: Tracked, reason: str) -> bool:
        """See Destination: `snowbus.bad` is for that."""
        try:
            now = now_ms()
            bad = Bad(utf8(dump_payload(event.payload)), reason)
            record = bad_record(bad, source={}, query=b"", received=now, max_bytes=self._max_record_bytes)
            await self._append(BAD_TOPIC, [record])
        except LogError:
            return False
        return True

    async def _append_items(self, topic: str, some: Sequence[tuple[Item, ProducerRecord]]) -> None:
        appended: Collection[int] = ()
        try:
            await self._append(topic, [record for _, record in some])
            appended = range(len(some))
        except RecordRefusedError as error:
            appended = error.appended
            raise
        finally:
            for index in appended:
                some[index][0].is_durable = True

    async def _append(self, topic: str, records: Sequence[ProducerRecord]) -> None:
        if not records:
            return
        if topic not in self._topics:
            await self._log.create_topics([topic])
            self._topics.add(topic)
        await self._log.append(topic, records)
