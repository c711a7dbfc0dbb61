"""Dead letters: the record as it was, with headers that say why it died, where it came from and whose it was.

The headers are `dead_reason, dead_status, dead_response, dead_topic, dead_partition, dead_offset, dead_group` and
`dead_time` (ms since 1970); what there is not (an HTTP status) is absent.
"""

from dataclasses import dataclass

from snowbus.bus.event import Headers, ProducerRecord, Record

RESPONSE_LIMIT = 500
_PREFIX = "dead_"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Why and where a record died: its reason, and the HTTP status and answer (its first 500 characters) if there
    were any; the record's own place on the log; the group that gave it up, and when, in ms since 1970.
    """

    reason: str
    topic: str
    partition: int
    offset: int
    group: str
    time: int
    status: int | None = None
    response: str = ""


def dead_record(record: Record, letter: DeadLetter) -> ProducerRecord:
    """The record to append to the topic of dead letters: same key, value and headers, and the letter's own."""
    return ProducerRecord(record.key, record.value, original_headers(record.headers) + _headers(letter), letter.time)


def dead_record_without_value(record: Record, letter: DeadLetter) -> ProducerRecord:
    """As `dead_record`, for a record that is too large with headers on top: it stays where the letter says."""
    return ProducerRecord(record.key, b"", _headers(letter), letter.time)


def dead_record_alone(letter: DeadLetter) -> ProducerRecord:
    """As `dead_record_without_value`, for a record whose key is too large as well."""
    return ProducerRecord(None, b"", _headers(letter), letter.time)


def read_dead_letter(record: Record) -> DeadLetter:
    """The letter in a dead record's headers; what cannot be read is empty, or -1 where it is a number."""
    facts = {name: value.decode("utf-8", "replace") for name, value in record.headers if name.startswith(_PREFIX)}
    return DeadLetter(
        reason=facts.get("dead_reason", ""),
        topic=facts.get("dead_topic", ""),
        partition=_number(facts.get("dead_partition", "")),
        offset=_number(facts.get("dead_offset", "")),
        group=facts.get("dead_group", ""),
        time=_number(facts.get("dead_time", "")),
        status=_number(facts["dead_status"]) if "dead_status" in facts else None,
        response=facts.get("dead_response", ""),
    )


def original_headers(headers: Headers) -> Headers:
    """The headers that a record had before it died."""
    return tuple((name, value) for name, value in headers if not name.startswith(_PREFIX))


def _headers(letter: DeadLetter) -> Headers:
    facts = {
        "dead_reason": letter.reason,
        "dead_topic": letter.topic,
        "dead_partition": str(letter.partition),
        "dead_offset": str(letter.offset),
        "dead_group": letter.group,
        "dead_time": str(letter.time),
    }
    if letter.status is not None:
        facts["dead_status"] = str(letter.status)
    if letter.response:
        facts["dead_response"] = letter.response[:RESPONSE_LIMIT]
    return tuple((name, text.encode("utf-8", "replace")) for name, text in facts.items())


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
