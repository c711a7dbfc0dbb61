"""Records that one group is to handle once more: copies on the topic of retries, with headers that say whose they are.

The headers are `retry_group`; `retry_topic, retry_partition, retry_offset, retry_timestamp` (ms since 1970), where the
original stands and its own time; and, when it was a dead letter, `retry_of`, which one: TOPIC/PARTITION-OFFSET@TIME. A
group reads the topic beside its own ones, and takes what is its. A copy's own time is when it was made, so that it is
kept as long as any new record, however old its original is.
"""

from snowbus.bus.event import Headers, ProducerRecord, Record

_GROUP = "retry_group"
_OF = "retry_of"
_PREFIX = "retry_"
_SAME_TIME_MS = 3_600_000
_MOST_LETTERS = 100_000


def retry_record(original: Record, *, group: str, dead_letter: Record | None = None) -> ProducerRecord:
    """The record to append to the topic of retries, so that the group handles the original once more."""
    facts = {
        _GROUP: group,
        "retry_topic": original.topic,
        "retry_partition": str(original.partition),
        "retry_offset": str(original.offset),
        "retry_timestamp": str(original.timestamp),
    }
    if dead_letter is not None:
        facts[_OF] = identity_of(dead_letter)
    headers = tuple((name, text.encode()) for name, text in facts.items())
    return ProducerRecord(original.key, original.value, _without_ours(original.headers) + headers)


def group_of(record: Record) -> str:
    """The group that a record on the topic of retries is for; an empty string when it does not say."""
    return (record.header(_GROUP) or b"").decode("utf-8", "replace")


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
            timestamp=int(facts["retry_timestamp"]),
            headers=_without_ours(record.headers),
        )
    except (KeyError, ValueError):
        raise ValueError(f"{record.topic}/{record.partition}@{record.offset} does not say what it repeats") from None


def retry_of(record: Record) -> str:
    """Which dead letter a record on the topic of retries repeats, as `identity_of`; an empty string for none."""
    return (record.header(_OF) or b"").decode("utf-8", "replace")


def identity_of(dead_letter: Record) -> str:
    """What tells a dead letter from all others: where it stands, and its time, as a topic may have been made anew."""
    return f"{dead_letter.topic}/{dead_letter.partition}-{dead_letter.offset}@{dead_letter.timestamp}"


class SecondCopies:
    """Tells a copy of a dead letter that has another one, made about the same time: by two commands at one moment.

    One that is made more than an hour later is wanted once more. It knows the last 100,000 letters.
    """

    def __init__(self) -> None:
        self._first: dict[str, tuple[int, int, int]] = {}

    def has(self, copy: Record, letter: str) -> bool:
        """Whether this copy of a letter (`retry_of`) is a second one."""
        place = (copy.partition, copy.offset, copy.timestamp)
        first = self._first.get(letter)
        if first is None or copy.timestamp - first[2] > _SAME_TIME_MS:
            self._first.pop(letter, None)
            self._first[letter] = place
            if len(self._first) > _MOST_LETTERS:
                del self._first[next(iter(self._first))]
            return False
        return place != first


def _without_ours(headers: Headers) -> Headers:
    return tuple((name, value) for name, value in headers if not name.startswith(_PREFIX))
