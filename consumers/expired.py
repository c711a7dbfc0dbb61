"""Tells how much of a jump in the offsets that are read is what retention took before it was read."""

from typing import NamedTuple

from snowbus.bus.errors import LogError
from snowbus.bus.event import TopicPartition
from snowbus.bus.log.interface import Log


class Jump(NamedTuple):
    """Reading went on at `end`, past `records` offsets that nobody of the group has handled."""

    partition: TopicPartition
    end: int
    records: int

    @property
    def place(self) -> dict[str, str | int]:
        """The partition, as facts for the diagnostics."""
        return {"topic": self.partition.topic, "partition": self.partition.partition}


async def expired_in(log: Log, jump: Jump) -> int:
    """How many records of a jump have expired: all, unless the log says that it begins before them."""
    try:
        beginning = (await log.beginning_offsets(jump.partition.topic)).get(jump.partition, jump.end)
    except LogError:
        return jump.records
    return max(0, jump.records - max(0, jump.end - beginning))
