"""Asks a Kafka cluster what only those who run it want to know: how old records are, and how topics are kept."""

from collections.abc import Collection, Mapping

from aiokafka import errors
from aiokafka.protocol.admin import DescribeConfigsRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.memory_records import MemoryRecords

from ...side_by_side import side_by_side
from ..interface import Place, TopicDetails
from .connections import check
from .driver import Driver

_AT_ONCE = 16  # a broker answers one connection's requests one by one, and each has its time from when it is sent
_ONE_BATCH = 1  # bytes: of the one partition that is asked for, Kafka gives the first batch whole all the same
_TOPIC = 2
_SETTINGS = ("retention.ms", "retention.bytes", "cleanup.policy", "min.insync.replicas", "max.message.bytes")


async def timestamps(driver: Driver, places: Collection[Place]) -> dict[Place, int]:
    """The timestamp (ms) of the first record at or after each place, where there is one in the batch at that place."""
    leaders = {topic: await driver.leaders(topic) for topic in sorted({partition.topic for partition, _ in places})}

    async def ask(place: Place) -> int | None:
        (topic, partition), offset = place
        if partition >= len(leaders[topic]):
            return None
        request = FetchRequest(0, 0, _ONE_BATCH, 0, [(topic, [(partition, offset, _ONE_BATCH)])])
        response = await driver.send(leaders[topic][partition], request)
        _, code, *_, records = response.topics[0][1][0]
        if errors.for_code(code) is errors.OffsetOutOfRangeError:
            return None
        check(code, f"{topic}-{partition}")
        return _first_timestamp(records, offset)

    wanted = list(dict.fromkeys(places))
    found = await side_by_side(ask, wanted, at_once=_AT_ONCE)
    return {place: timestamp for place, timestamp in zip(wanted, found, strict=True) if timestamp is not None}


async def describe(driver: Driver, topics: Collection[str]) -> dict[str, TopicDetails]:
    """How each of the topics that are there is kept; what a broker does not tell (to us) is None."""
    response = await driver.refresh(sorted(topics))
    settings = await _settings(driver, topics)
    details = {}
    for code, topic, _, partitions in response.topics:
        if code:
            continue
        kept = settings.get(topic, {})
        seconds, size = _limit(kept, "retention.ms"), _limit(kept, "retention.bytes")
        details[topic] = TopicDetails(
            replication_factor=min(len(replicas) for _, _, _, replicas, *_ in partitions),
            retention_seconds=None if seconds is None else seconds / 1000,
            retention_bytes=None if size is None else size * len(partitions),
            cleanup_policy=kept.get("cleanup.policy"),
            min_insync_replicas=_number(kept, "min.insync.replicas"),
            max_message_bytes=_number(kept, "max.message.bytes"),
        )
    return details


async def _settings(driver: Driver, topics: Collection[str]) -> dict[str, dict[str, str]]:
    """What the brokers are set to do with topics, by Kafka's names."""
    wanted = [(_TOPIC, topic, list(_SETTINGS)) for topic in topics]
    try:
        response = await driver.ask_any(DescribeConfigsRequest(wanted))
    except errors.IncompatibleBrokerVersion:
        return {}
    return {
        topic: {name: value for name, value, *_ in entries}
        for code, _, _, topic, entries in response.resources
        if not code
    }


def _limit(settings: Mapping[str, str], name: str) -> int | None:
    """A limit beyond which records are deleted; 0 where there is none."""
    if name not in settings:
        return None
    deletes = "delete" in settings.get("cleanup.policy", "delete")
    return max(0, int(settings[name])) if deletes else 0


def _number(settings: Mapping[str, str], name: str) -> int | None:
    return int(settings[name]) if name in settings else None


def _first_timestamp(records: bytes | None, offset: int) -> int | None:
    batches = MemoryRecords(records or b"")
    while batches.has_next():
        for record in batches.next_batch():
            if record.offset >= offset:
                timestamp: int = record.timestamp
                return timestamp
    return None
