"""Gathers the single records that are appended in one turn of the event loop into one append for each partition.

By partition, because one of them may be away for a while, on Kafka, and must not hold up the others.
"""

import asyncio
from collections.abc import Sequence

from snowbus.bus.errors import LogUnavailableError, RecordTooLargeError
from snowbus.bus.event import ProducerRecord
from snowbus.bus.log import Log
from snowbus.bus.log.partitioner import partition_of

_NO_PARTITION = -1
_Waiting = tuple[Sequence[ProducerRecord], "asyncio.Future[None]"]


class Appends:
    """Appends for many requests at once; each is told about its own records.

    What is under way goes on when the request that asked for it is gone. `seconds` bounds each append, also on a log
    that forgets to.
    """

    def __init__(self, log: Log, *, seconds: float) -> None:
        self._log = log
        self._seconds = seconds
        self._gathered: dict[tuple[str, int], list[_Waiting]] = {}
        self._under_way: set[asyncio.Task[None]] = set()

    async def append(self, topic: str, records: Sequence[ProducerRecord], *, partitions: int) -> None:
        """Return once the records are durable; the topic has so many partitions. Raises what Log.append raises."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        if len(records) > 1:
            self._begin(topic, [(records, future)])
        else:
            if not self._gathered:
                loop.call_soon(self._begin_gathered)
            key = records[0].key
            partition = _NO_PARTITION if key is None else partition_of(key, partitions)
            self._gathered.setdefault((topic, partition), []).append((records, future))
        await future

    async def close(self) -> None:
        """Wait for what is under way."""
        while self._under_way or self._gathered:
            await asyncio.sleep(0)
            await asyncio.gather(*self._under_way, return_exceptions=True)

    def _begin_gathered(self) -> None:
        gathered, self._gathered = self._gathered, {}
        for (topic, _), waiting in gathered.items():
            self._begin(topic, waiting)

    def _begin(self, topic: str, waiting: list[_Waiting]) -> None:
        task = asyncio.create_task(self._append(topic, waiting), name="snowbus-ingest-append")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _append(self, topic: str, waiting: list[_Waiting]) -> None:
        try:
            await self._append_bounded(topic, [record for records, _ in waiting for record in records])
        except RecordTooLargeError as error:
            if len(waiting) > 1:  # none was appended: whose it is shows when each is appended alone
                await asyncio.gather(*(self._append(topic, [each]) for each in waiting))
            else:
                _settle(waiting, error)
        except asyncio.CancelledError:
            _settle(waiting, LogUnavailableError("the append was given up"))
            raise
        except Exception as error:  # noqa: BLE001 - whoever waits raises it
            _settle(waiting, error)
        else:
            _settle(waiting, None)

    async def _append_bounded(self, topic: str, records: Sequence[ProducerRecord]) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await self._log.append(topic, records)
        except TimeoutError:
            raise LogUnavailableError(f"not durable within {self._seconds:g} s") from None


def _settle(waiting: list[_Waiting], error: Exception | None) -> None:
    for _, future in waiting:
        if future.done():  # the request is gone
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
