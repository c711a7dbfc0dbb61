"""Records that one group is to handle once more: copies on the topic of retries, with headers that say whose they are.

The headers are `retry_group`; `retry_topic, retry_partition, retry_offset`, where the original stands; and, when it was
a dead letter, `retry_of`, where that stands on the topic of dead letters, as PARTITION-OFFSET. A group reads the topic
beside its own ones, and takes what is its.
"""

from snowbus.bus.event import Headers, ProducerRecord, Record

_GROUP = "retry_group"
_PREFIX = "retry_"


def retry_record(original: Record, *, group: str, dead_letter: Record | None = None) -> ProducerRecord:
    """The record to append to the topic of retries, so that the group handles the original once more."""
    facts = {
        _GROUP: group,
        "retry_topic": original.topic,
        "retry_partition": str(original.partition),
        "retry_offset": str(original.offset),
    }
    if dead_letter is not None:
        facts["retry_of"] = place_of(dead_letter)
    headers = tuple((name, text.encode()) for name, text in facts.items())
    return ProducerRecord(original.key, original.value, _without_ours(original.headers) + headers, original.timestamp)


def is_for(record: Record, group: str) -> bool:
    """Whether a record on the topic of retries is this group's."""
    return record.header(_GROUP) == group.encode()


def original_of(record: Record) -> Record:
    """The original of a record on the topic of retries. Raises ValueError when its headers do not tell."""
    facts = {name: value.decode("utf-8", "replace") for name, value in record.headers if name.startswith(_PREFIX)}
    try:
        return record._replace(
            topic=facts["retry_topic"],
            partition=int(facts["retry_partition"]),
            offset=int(facts["retry_offset"]),
            headers=_without_ours(record.headers),
        )
    except (KeyError, ValueError):
        raise ValueError(f"{record.topic}/{record.partition}@{record.offset} does not say what it repeats") from None


def retry_of(record: Record) -> str:
    """Which dead letter a record on the topic of retries repeats, as PARTITION-OFFSET; an empty string for none."""
    return (record.header("retry_of") or b"").decode("utf-8", "replace")


def place_of(dead_letter: Record) -> str:
    """Where a dead letter stands, as PARTITION-OFFSET."""
    return f"{dead_letter.partition}-{dead_letter.offset}"


def _without_ours(headers: Headers) -> Headers:
    return tuple((name, value) for name, value in headers if not name.startswith(_PREFIX))
