"""Dead letters as people look into them: what died, whose it was and why, and what became of it since."""

from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any, Literal

from snowbus.bus import json_text
from snowbus.bus.event import RETRY_TOPIC, Record
from snowbus.bus.filters import Filter
from snowbus.bus.tracker_protocol import timestamp_from_ms

from .dead_letters import Death, is_whole, read_death, record_as_it_was
from .offsets import Position
from .reading import Reading
from .retries import identity_of, original_of, retry_of

State = Literal["dead", "waiting", "done"]
"""Of a dead letter: nobody has retried it; its copy waits for the group; the group has handled its copy, or given that
up, which makes a letter of its own.
"""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter as it stands on the log, what it says of the death, and the record that died: None when it is
    `missing`, for the reason given.
    """

    record: Record
    death: Death
    original: Record | None
    missing: str = ""

    @property
    def id(self) -> str:
        """Where it stands, as PARTITION-OFFSET."""
        return f"{self.record.partition}-{self.record.offset}"

    @property
    def time(self) -> int:
        """When the record died, in ms since 1970; when it was appended, if it does not say."""
        return self.death.time if self.death.time >= 0 else self.record.timestamp

    @property
    def origin(self) -> tuple[str, int, int]:
        """The topic, partition and offset of the record that died."""
        if self.original is not None:
            return self.original.topic, self.original.partition, self.original.offset
        return self.death.topic, self.death.partition, self.death.offset

    @property
    def app_id(self) -> str:
        """The app that the event is of; an empty string where it is unknown."""
        return _header(self.original, "app_id")

    @property
    def event_name(self) -> str:
        """What happened, as `event_name` has it, else the type; an empty string when it is no event."""
        parts = _header(self.original, "schema").split("/")
        return parts[1] if len(parts) == 4 else _header(self.original, "event")


def read_letter(record: Record, found: Record | None = None) -> Letter:
    """The letter in a record on a topic of dead letters, whatever its headers say. `found` is what stands where the
    record that died stood, when the letter is not whole.
    """
    death, missing = read_death(record), ""
    original = record_as_it_was(record, death)
    if not is_whole(record):
        place = f"{original.topic}/{original.partition}@{original.offset}"
        if found is None:
            missing = f"it was too large to be kept, and is no longer at {place}"
        elif found.timestamp != original.timestamp:
            missing = f"it was too large to be kept, and another record is at {place} now"
        else:
            original = found
    return Letter(record, death, None if missing else _before_its_retry(original), missing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which letters are wanted: those of a group, with a text in their reason (in whatever case), since a time (in ms
    since 1970), of events that a filter lets through. What is not given lets all through.
    """

    group: str = ""
    reason: str = ""
    since: int = 0
    filter: Filter = field(default_factory=Filter)

    def wants(self, letter: Letter) -> bool:
        """Whether a letter is one of them."""
        return (
            (not self.group or letter.death.group == self.group)
            and (not self.reason or self.reason.lower() in letter.death.reason.lower())
            and letter.time >= self.since
            and (not self.filter or (letter.original is not None and self._lets_through(letter.original)))
        )

    def _lets_through(self, original: Record) -> bool:
        return self.filter.matches(Reading(original).candidate)


class Copies:
    """The copies of dead letters on the topic of retries: which letters have one, and whether it is done."""

    def __init__(self) -> None:
        self._is_done: dict[str, bool] = {}

    def add(self, copy: Record, position: Position | None) -> None:
        """Take note of a record on the topic of retries; `position` is where its group stands in that partition, if
        anywhere.
        """
        if letter := retry_of(copy):
            done = position is not None and position.has_done(copy.offset)
            self._is_done[letter] = done and self._is_done.get(letter, True)

    def state_of(self, letter: Letter) -> State:
        """What became of a letter; what the topic of retries no longer holds is not known."""
        done = self._is_done.get(identity_of(letter.record))
        if done is None:
            return "dead"
        return "done" if done else "waiting"


def why_not(letter: Letter) -> str:
    """Why a letter cannot be retried; an empty string when it can."""
    if not letter.death.group:
        return "it does not say which group it died in"
    if letter.original is None:
        return letter.missing
    if not letter.original.topic or letter.original.partition < 0 or letter.original.offset < 0:
        return "it does not say where it comes from"
    return ""


def summary(letter: Letter, state: State) -> dict[str, Any]:
    """A letter in short; what is not known is null."""
    death = letter.death
    topic, partition, offset = letter.origin
    return {
        "id": letter.id,
        "time": timestamp_from_ms(letter.time),
        "group": death.group or None,
        "state": state,
        "reason": death.reason or None,
        "event_name": letter.event_name or None,
        "app_id": letter.app_id or None,
        "topic": topic or None,
        "partition": _known(partition),
        "offset": _known(offset),
        "attempts": _known(death.attempts),
        "status": _known(death.status),
    }


def in_full(letter: Letter, state: State) -> dict[str, Any]:
    """Everything about a letter: the summary, why it died, and the record that died; its event as the messages of the
    gateway have it, its value in base64 when it is none.
    """
    death, original = letter.death, letter.original
    full = summary(letter, state) | {
        "exception": death.exception or None,
        "traceback": death.traceback or None,
        "response": death.response or None,
        "missing": letter.missing or None,
    }
    if original is None:
        return full
    reading = Reading(original)
    message = json_text.loads("{" + reading.body().decode())
    return full | {
        "timestamp": original.timestamp,
        "headers": {name: value.decode("utf-8", "backslashreplace") for name, value in original.headers},
        **{name: message[name] for name in ("key", "event", "payload", "source", "validation", "producer")},
        "value": None if reading.is_event else b64encode(original.value).decode(),
    }


def _before_its_retry(record: Record) -> Record:
    """The record itself; when it died as a copy on the topic of retries, what that was of."""
    if record.topic != RETRY_TOPIC:
        return record
    try:
        return original_of(record)
    except ValueError:
        return record


def _header(record: Record | None, name: str) -> str:
    return ((record.header(name) if record else None) or b"").decode("utf-8", "replace")


def _known(number: int | None) -> int | None:
    return None if number is None or number < 0 else number
