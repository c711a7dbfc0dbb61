"""Which of the records that are read are for a consumer: those that its filter wants, and its group's own retries."""

from collections.abc import Collection

from snowbus.bus.errors import SnowbusError
from snowbus.bus.event import RETRY_TOPIC, TopicPartition
from snowbus.bus.event import Record as BusRecord

from . import retries
from .declare import Consumer
from .record import Record


class Intake:
    """Makes a consumer's records of what is read.

    A dead letter that is tried again has been let through by the filter before. Of two copies of one, which two
    commands at the same moment make, the second is for nobody.
    """

    def __init__(self, consumer: Consumer[..., object]) -> None:
        self._filter = consumer.filter
        self._topics = consumer.topics
        self._group_id = consumer.group_id
        self._second_copies = retries.SecondCopies()
        # What is read from the topic of retries, and is of a topic that the consumer does not read.
        self.strays: set[Record] = set()

    def record(self, raw: BusRecord, partition: TopicPartition) -> Record | None:
        """What the handler is called with, or None when this is not for the consumer."""
        if partition.topic != RETRY_TOPIC:
            record = Record(raw, partition)
            return record if not self._filter or self._matches(record) else None
        letter = retries.retry_of(raw)
        retried = self._retried(raw, partition, letter)
        return retried if retried is not None and (letter or not self._filter or self._matches(retried)) else None

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        """Partitions are going."""
        self.strays = {record for record in self.strays if record.place not in partitions}

    def _matches(self, record: Record) -> bool:
        try:
            return self._filter.matches(record.candidate)
        except SnowbusError:  # it is no event, so it has nothing that a filter could want
            return False

    def _retried(self, raw: BusRecord, partition: TopicPartition, letter: str) -> Record | None:
        """A record from the topic of retries, as its original; None when it is another group's, or a second copy."""
        if not retries.is_for(raw, self._group_id):
            return None
        if letter and self._second_copies.has(raw, letter):
            return None
        try:
            original = retries.original_of(raw)
        except ValueError:
            return None
        record = Record(raw, partition, original)
        if original.topic not in self._topics:
            self.strays.add(record)
        return record
