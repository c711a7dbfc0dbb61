"""Reads topics of dead letters, and the topic of retries for what became of them; a letter's record comes whole."""

from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing

from snowbus.bus.errors import SnowbusError, TopicNotFoundError
from snowbus.bus.event import DEAD_TOPIC, RETRY_TOPIC, Record, TopicPartition
from snowbus.bus.log.interface import Log, Place
from snowbus.bus.reading import Told, read_places, read_stretch

from .dead_letters import is_whole, read_death, record_as_it_was
from .letters import Copies, Letter, Selection, read_letter
from .offsets import Position
from .progress import read_position
from .retries import group_of, retry_of


class UnknownLettersError(SnowbusError):
    """There are no dead letters with these `ids`."""

    def __init__(self, topic: str, ids: Sequence[str]) -> None:
        super().__init__(f"{topic} has no dead letter {', '.join(ids)}; they may have expired")
        self.topic = topic
        self.ids = ids


async def read_letters(log: Log, topic: str, selection: Selection, *, told: Told) -> AsyncGenerator[list[Letter]]:
    """The letters that are wanted, those of each partition in the order in which they were appended.

    The usual topic is empty when it does not exist; of another one, raises TopicNotFoundError.
    """
    try:
        ends = await log.end_offsets(topic)
        starts = (
            await log.offsets_for_time(topic, selection.since)
            if selection.since
            else await log.beginning_offsets(topic)
        )
    except TopicNotFoundError:
        if topic != DEAD_TOPIC:
            raise
        return
    async with aclosing(read_stretch(log, starts, ends, told=told)) as batches:
        async for records in batches:
            letters = [letter for letter in await _whole(log, records) if selection.wants(letter)]
            if letters:
                yield letters


async def find_letters(log: Log, topic: str, ids: Collection[str]) -> list[Letter]:
    """The letters with these ids (PARTITION-OFFSET). Raises UnknownLettersError, which names those that are none."""
    places = {each: _place(topic, each) for each in dict.fromkeys(ids)}
    found = await read_places(log, places.values())
    if unknown := [each for each, place in places.items() if place not in found]:
        raise UnknownLettersError(topic, unknown)
    return await _whole(log, [found[place] for place in places.values()])


async def read_copies(log: Log, *, told: Told) -> Copies:
    """What became of the letters that have a copy on the topic of retries."""
    copies = Copies()
    try:
        starts, ends = await log.beginning_offsets(RETRY_TOPIC), await log.end_offsets(RETRY_TOPIC)
    except TopicNotFoundError:
        return copies
    positions: dict[str, dict[TopicPartition, Position]] = {}
    async with aclosing(read_stretch(log, starts, ends, told=told)) as batches:
        async for records in batches:
            for record in records:
                if not retry_of(record):
                    continue
                if (group := group_of(record)) not in positions:
                    committed = await log.group_offsets(group) if group else {}
                    positions[group] = {partition: read_position(found) for partition, found in committed.items()}
                copies.add(record, positions[group].get(record.topic_partition))
    return copies


async def _whole(log: Log, records: Sequence[Record]) -> list[Letter]:
    """The letters in these records; what one was too large to hold is fetched from where it stands."""
    places = [None if is_whole(record) else _origin(record) for record in records]
    lacking = [place for place in places if place is not None]
    found = await read_places(log, lacking) if lacking else {}
    return [
        read_letter(record, None if place is None else found.get(place))
        for record, place in zip(records, places, strict=True)
    ]


def _origin(record: Record) -> Place:
    original = record_as_it_was(record, read_death(record))
    return original.topic_partition, original.offset


def _place(topic: str, letter_id: str) -> Place:
    partition, _, offset = letter_id.partition("-")
    return TopicPartition(topic, int(partition)), int(offset)
