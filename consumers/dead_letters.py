"""Dead letters: the record as it was, with headers that say why it died, where it came from and whose it was.

The headers are `dead_reason, dead_topic, dead_partition, dead_offset, dead_timestamp` (the record's own, in ms since
1970), `dead_group, dead_time` (ms) and `dead_attempts`; `dead_exception` and `dead_traceback` when a handler raised,
`dead_status` and `dead_response` when a server answered; `dead_without`, `value` or `key, value`, when the record was
too large to be kept whole, and stands where it stood. What there is not is absent.
"""

from contextlib import suppress
from dataclasses import dataclass

from snowbus.bus.errors import RecordTooLargeError
from snowbus.bus.event import Headers, ProducerRecord, Record
from snowbus.bus.log.interface import Log

REASON_LIMIT = 1_000
RESPONSE_LIMIT = 500
TRACEBACK_LIMIT = 4_000
_PREFIX = "dead_"
_TIMESTAMP = "dead_timestamp"
_WITHOUT = "dead_without"


@dataclass(frozen=True, slots=True)
class Death:
    """Why and where a record died.

    Its reason (the first 1,000 characters); the record's own place on the log; the group that gave it up, when (in ms
    since 1970) and after how many attempts; the exception's type and traceback (its last 4,000 characters), or the HTTP
    status and answer (its first 500), if there were any.
    """

    reason: str
    topic: str
    partition: int
    offset: int
    group: str
    time: int
    attempts: int = 1
    exception: str = ""
    traceback: str = ""
    status: int | None = None
    response: str = ""


def dead_record(record: Record, death: Death) -> ProducerRecord:
    """The record to append to the topic of dead letters: same key, value and headers, and those of its death."""
    headers = original_headers(record.headers) + _headers(record, death)
    return ProducerRecord(record.key, record.value, headers, death.time)


def dead_record_without_value(record: Record, death: Death) -> ProducerRecord:
    """As `dead_record`, for a record that is too large with headers on top: it stays where the headers say."""
    return ProducerRecord(record.key, b"", (*_headers(record, death), (_WITHOUT, b"value")), death.time)


def dead_record_alone(record: Record, death: Death) -> ProducerRecord:
    """As `dead_record_without_value`, for a record whose key is too large as well."""
    return ProducerRecord(None, b"", (*_headers(record, death), (_WITHOUT, b"key, value")), death.time)


def read_death(record: Record) -> Death:
    """What a dead record's headers say; what cannot be read is empty, or -1 where it is a number."""
    facts = {name: value.decode("utf-8", "replace") for name, value in record.headers if name.startswith(_PREFIX)}
    return Death(
        reason=facts.get("dead_reason", ""),
        topic=facts.get("dead_topic", ""),
        partition=_number(facts.get("dead_partition", "")),
        offset=_number(facts.get("dead_offset", "")),
        group=facts.get("dead_group", ""),
        time=_number(facts.get("dead_time", "")),
        attempts=_number(facts.get("dead_attempts", "")),
        exception=facts.get("dead_exception", ""),
        traceback=facts.get("dead_traceback", ""),
        status=_number(facts["dead_status"]) if "dead_status" in facts else None,
        response=facts.get("dead_response", ""),
    )


def is_whole(letter: Record) -> bool:
    """Whether a dead letter has the record's value, as all have that were not too large."""
    return letter.header(_WITHOUT) is None


def record_as_it_was(letter: Record, death: Death) -> Record:
    """The record that died this death, where it stood; without what its dead letter lacks."""
    stamp = _number((letter.header(_TIMESTAMP) or b"").decode("utf-8", "replace"))
    return letter._replace(
        topic=death.topic,
        partition=death.partition,
        offset=death.offset,
        timestamp=letter.timestamp if stamp < 0 else stamp,
        headers=original_headers(letter.headers),
    )


def original_headers(headers: Headers) -> Headers:
    """The headers that a record had before it died."""
    return tuple((name, value) for name, value in headers if not name.startswith(_PREFIX))


def _headers(record: Record, death: Death) -> Headers:
    facts = {
        "dead_reason": death.reason[:REASON_LIMIT],
        "dead_topic": death.topic,
        "dead_partition": str(death.partition),
        "dead_offset": str(death.offset),
        _TIMESTAMP: str(record.timestamp),
        "dead_group": death.group,
        "dead_time": str(death.time),
        "dead_attempts": str(death.attempts),
    }
    if death.exception:
        facts["dead_exception"] = death.exception
    if death.traceback:
        facts["dead_traceback"] = death.traceback[-TRACEBACK_LIMIT:]
    if death.status is not None:
        facts["dead_status"] = str(death.status)
    if death.response:
        facts["dead_response"] = death.response[:RESPONSE_LIMIT]
    return tuple((name, text.encode("utf-8", "replace")) for name, text in facts.items())


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1


async def append_dead_letter(log: Log, topic: str, record: Record, death: Death) -> None:
    """Append a dead letter; one that is too large goes without its value, then without its key.

    Raises LogUnavailableError when it may not be durable.
    """
    for letter in (dead_record(record, death), dead_record_without_value(record, death)):
        with suppress(RecordTooLargeError):
            await log.append(topic, [letter])
            return
    await log.append(topic, [dead_record_alone(record, death)])
