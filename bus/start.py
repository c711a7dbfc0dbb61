"""Where reading starts: what people write for it, the positions in the log that it means, and what is missing there."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from .clock import now_ms
from .cursor import decode_cursor, encode_cursor
from .errors import StartError
from .event import TopicPartition
from .log.interface import Log, Offsets
from .tracker_protocol import timestamp_from_ms

Positions = dict[TopicPartition, int]

MAX_LAST = 100_000
_FIRST_STEP_MS = 1_000
_BEYOND_ANY_TIME_MS = 1 << 42
_LAST = re.compile(r"-[0-9]{1,9}")
_AGO = re.compile(r"([0-9]{1,9})([smhd])")
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_BLANK_OFFSET = re.compile(r" (?=[0-9]{2}:?[0-9]{2}$)")  # a + that stood in a URL unescaped


@dataclass(frozen=True)
class Latest:
    """From now on."""


@dataclass(frozen=True)
class Earliest:
    """From the oldest record there is."""


@dataclass(frozen=True)
class Last:
    """From the last `count` records on, whatever the filters."""

    count: int


@dataclass(frozen=True)
class Since:
    """From the first records at or after `timestamp`, in ms since 1970."""

    timestamp: int


@dataclass(frozen=True)
class Resume:
    """From where a cursor stands."""

    positions: Mapping[TopicPartition, int]


Start = Latest | Earliest | Last | Since | Resume


class Gap(NamedTuple):
    """Records of a partition that are not there, from offset `start` on, before `end`; `missing` is None when nobody
    knows how many.
    """

    partition: TopicPartition
    start: int
    end: int
    missing: int | None
    reason: str

    def from_offset(self, offset: int) -> "Gap":
        """What of it is missing to who has had everything before an offset that lies before its end."""
        if offset <= self.start:
            return self
        missing = None if self.missing is None else min(self.missing, self.end - offset)
        return self._replace(start=offset, missing=missing)


def parse_start(text: str, *, now: int) -> Start:
    """The start that a text means `now` (ms since 1970): `latest`, `earliest`, `-N`, a time or a cursor. Raises
    StartError.
    """
    if text in ("", "latest"):
        return Latest()
    if text == "earliest":
        return Earliest()
    if _LAST.fullmatch(text):
        count = -int(text)
        if not 1 <= count <= MAX_LAST:
            raise StartError(f"{text} is not between -1 and -{MAX_LAST}")
        return Last(count)
    if "~" in text:
        return Resume(decode_cursor(text))
    timestamp = _timestamp(text, now)
    if timestamp is None:
        raise StartError(
            f"{text[:100]!r} is none of latest, earliest, -N, a time (ISO, or 90s, 15m, 2h, 7d ago) or a cursor"
        )
    return Since(timestamp)


def parse_time(text: str, *, now: int) -> int:
    """The time that a text means `now`, both in ms since 1970: an ISO time, in UTC unless it says otherwise, or how
    long ago as `90s`, `15m`, `2h` or `7d`. Raises StartError.
    """
    timestamp = _timestamp(text, now)
    if timestamp is None:
        raise StartError(f"{text[:100]!r} is no time: write an ISO time, or 90s, 15m, 2h, 7d for how long ago it is")
    return timestamp


def start_text(start: Start) -> str:
    """A text that `parse_start` reads as this start."""
    match start:
        case Latest():
            return "latest"
        case Earliest():
            return "earliest"
        case Last(count):
            return f"-{count}"
        case Since(timestamp):
            return timestamp_from_ms(timestamp)
        case Resume(positions):
            return encode_cursor(positions)


def _timestamp(text: str, now: int) -> int | None:
    if ago := _AGO.fullmatch(text):
        return max(0, now - int(ago[1]) * _UNIT_MS[ago[2]])
    try:
        moment = datetime.fromisoformat(_BLANK_OFFSET.sub("+", text) if "T" in text else text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0, round(moment.timestamp() * 1000))
    except (ValueError, OverflowError):
        return None


async def find_start(log: Log, topic: str, start: Start) -> tuple[Positions, list[Gap]]:
    """The positions that a start means now. Raises LogError."""
    match start:
        case Latest():
            return await log.end_offsets(topic), []
        case Earliest():
            return await log.beginning_offsets(topic), []
        case Last(count):
            return await last_positions(log, topic, count), []
        case Since(timestamp):
            return await log.offsets_for_time(topic, timestamp), []
        case Resume(positions):
            return check_positions(positions, await log.beginning_offsets(topic), await log.end_offsets(topic))


def check_positions(positions: Offsets, beginnings: Offsets, ends: Offsets) -> tuple[Positions, list[Gap]]:
    """Positions that the log can be read from, and what is missing since those that were asked for.

    A partition that is not named is read from its beginning. A position beyond the end is one of an older log.
    """
    found = dict(beginnings)
    gaps = []
    for partition, position in sorted(positions.items()):
        beginning = beginnings.get(partition)
        if beginning is None or position > ends.get(partition, 0):
            gaps.append(Gap(partition, position, beginning or 0, None, "log restarted"))
        elif position < beginning:
            gaps.append(Gap(partition, position, beginning, beginning - position, "expired"))
        else:
            found[partition] = position
    return found, gaps


def is_another(positions: Offsets, ends: Offsets) -> bool:
    """Whether a topic that ends here is not as it was for who stands at these positions: begun anew, or with partitions
    more.
    """
    return any(offset > ends.get(partition, 0) for partition, offset in positions.items()) or bool(
        ends.keys() - positions.keys()
    )


async def last_positions(log: Log, topic: str, count: int) -> Positions:
    """Where the last `count` records of all partitions together begin, by their time. Raises LogError."""
    beginnings, ends = await log.beginning_offsets(topic), await log.end_offsets(topic)

    def after(positions: Offsets) -> int:
        return sum(ends[partition] - min(position, ends[partition]) for partition, position in positions.items())

    if after(beginnings) <= count:
        return beginnings
    # `early` has at least `count` records at or after it, `late` fewer: close in on the millisecond where that changes.
    early, from_early = now_ms(), ends
    late, from_late = _BEYOND_ANY_TIME_MS, ends
    step = _FIRST_STEP_MS
    while after(from_early) < count:
        late, from_late = early, from_early
        early, step = early - step, step * 4
        from_early = await log.offsets_for_time(topic, early) if early > 0 else beginnings
    while late - early > 1:
        middle = (early + late) // 2
        from_middle = await log.offsets_for_time(topic, middle)
        if after(from_middle) >= count:
            early, from_early = middle, from_middle
        else:
            late, from_late = middle, from_middle
    return _without_surplus(from_early, from_late, after(from_early) - count)


def _without_surplus(positions: Offsets, limits: Offsets, surplus: int) -> Positions:
    """Positions moved on by `surplus` records in all, none beyond its limit."""
    found = {}
    for partition, position in positions.items():
        skipped = max(0, min(surplus, limits.get(partition, position) - position))
        surplus -= skipped
        found[partition] = position + skipped
    return found
