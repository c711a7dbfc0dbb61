"""The calls that append to Kafka, and the records of theirs that wait to be sent."""

import asyncio
from collections import deque

from ..errors import RecordRefusedError, SnowbusError
from ..event import ProducerRecord

_BATCH_BYTES = 512 * 1024
_NOWHERE = (-1, -1)


class Call:
    """One append on its way; `places` has the partition and offset of each of its records that is durable.

    It ends once each record is durable or refused, so that it can be told which is which.
    """

    __slots__ = ("_refusal", "deadline", "future", "missing", "places")

    def __init__(self, count: int, deadline: float) -> None:
        self.deadline = deadline
        self.future: asyncio.Future[list[tuple[int, int]]] = asyncio.get_running_loop().create_future()
        self.missing = count
        self.places: list[tuple[int, int]] = [_NOWHERE] * count
        self._refusal: RecordRefusedError | None = None

    def place(self, index: int, partition: int, offset: int) -> None:
        """One of its records is durable."""
        self.places[index] = (partition, offset)
        self.missing -= 1
        if not self.missing:
            self._end()

    def refuse(self, error: RecordRefusedError) -> None:
        """One of its records will not be appended; the others go on."""
        self._refusal = self._refusal or error
        self.missing -= 1
        if not self.missing:
            self._end()

    def fail(self, error: SnowbusError) -> None:
        """It is not known of all its records whether they are durable."""
        if not self.future.done():
            self.future.set_exception(error)

    def _end(self) -> None:
        if self._refusal is not None:
            self._refusal.appended = {index: place for index, place in enumerate(self.places) if place != _NOWHERE}
            self.fail(self._refusal)
        elif not self.future.done():
            self.future.set_result(self.places)


Slot = tuple[Call, int, ProducerRecord, int]
"""A record that waits: its call, its place there, itself, and its size in bytes."""


def take(waiting: deque[Slot], *, at_most: int) -> list[Slot]:
    """Take the next batch from the head of a queue, without those whose caller has gone."""
    batch: list[Slot] = []
    size = 0
    while waiting and len(batch) < at_most:
        slot = waiting[0]
        if not slot[0].future.done():
            size += slot[3]
            if size > _BATCH_BYTES and batch:
                break
            batch.append(slot)
        waiting.popleft()
    return batch
