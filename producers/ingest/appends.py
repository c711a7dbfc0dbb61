"""Gathers the single records that are appended in one turn of the event loop into one append for each partition.

By partition, because one of them may be away for a while, on Kafka, and must not hold up the others.
"""

import asyncio
from collections.abc import Sequence
from itertools import accumulate

from snowbus.bus.errors import LogUnavailableError, RecordRefusedError, RecordTooLargeError
from snowbus.bus.event import ProducerRecord
from snowbus.bus.log import Log
from snowbus.bus.log.partitioner import partition_of

_NO_PARTITION = -1
_Waiting = tuple[Sequence[ProducerRecord], "asyncio.Future[None]"]
_Fate = tuple[int, int] | Exception
"""Where a record is, or why it is not there."""


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
        """Return once the records are durable; the topic has so many partitions. Raises what Log.append raises.

        A RecordTooLargeError has in its `appended` all records but those that are too large.
        """
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
            errors = await self._errors(topic, waiting)
        except asyncio.CancelledError:
            _settle(waiting, [LogUnavailableError("the append was given up")] * len(waiting))
            raise
        _settle(waiting, errors)

    async def _errors(self, topic: str, waiting: list[_Waiting]) -> list[Exception | None]:
        """Append for all who wait; what each of them is to be told."""
        records = [record for some, _ in waiting for record in some]
        try:
            await self._append_bounded(topic, records)
        except RecordRefusedError as error:
            fates = await self._fates(topic, records, error)
        except Exception as error:  # noqa: BLE001 - whoever waits raises it
            return [error] * len(waiting)
        else:
            return [None] * len(waiting)
        ends = accumulate(len(some) for some, _ in waiting)
        return [_error_of(fates[end - len(some) : end]) for (some, _), end in zip(waiting, ends, strict=True)]

    async def _fates(self, topic: str, records: Sequence[ProducerRecord], error: RecordRefusedError) -> list[_Fate]:
        """What becomes of records of which one was refused: which one shows when what is left is appended alone."""
        if len(records) == 1:
            return [error]
        fates: dict[int, _Fate] = dict(error.appended)
        left = [index for index in range(len(records)) if index not in fates]
        fates |= zip(left, await asyncio.gather(*(self._fate(topic, records[index]) for index in left)), strict=True)
        return [fates[index] for index in range(len(records))]

    async def _fate(self, topic: str, record: ProducerRecord) -> _Fate:
        try:
            return (await self._append_bounded(topic, [record]))[0]
        except Exception as error:  # noqa: BLE001 - whoever waits raises it
            return error

    async def _append_bounded(self, topic: str, records: Sequence[ProducerRecord]) -> list[tuple[int, int]]:
        try:
            async with asyncio.timeout(self._seconds):
                return await self._log.append(topic, records)
        except TimeoutError:
            raise LogUnavailableError(f"not durable within {self._seconds:g} s") from None


def _error_of(fates: Sequence[_Fate]) -> Exception | None:
    """What to tell of an append, by what became of each of its records: first of all what is no matter of sizes."""
    errors = [fate for fate in fates if isinstance(fate, Exception)]
    error = min(errors, key=lambda each: isinstance(each, RecordTooLargeError), default=None)
    if isinstance(error, RecordRefusedError):
        error.appended = {index: fate for index, fate in enumerate(fates) if not isinstance(fate, Exception)}
    return error


def _settle(waiting: list[_Waiting], errors: Sequence[Exception | None]) -> None:
    for (_, future), error in zip(waiting, errors, strict=True):
        if future.done():  # the request is gone
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
