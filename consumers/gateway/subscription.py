"""What a reader asks for, from the query string of its URL."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from snowbus.bus.errors import FilterError
from snowbus.bus.event import EVENTS_TOPIC, TopicPartition
from snowbus.bus.filters import PARAMETERS, Filter, parse_filter

from .cursor import CursorError, decode_cursor, encode_cursor

MAX_LAST = 100_000
_MAX_PARAMETERS = 200
_LAST = re.compile(r"-[0-9]{1,9}")
_BLANK_OFFSET = re.compile(r" (?=[0-9]{2}:?[0-9]{2}$)")  # a + that stood in a URL unescaped


@dataclass(frozen=True)
class Latest:
    """From now on."""


@dataclass(frozen=True)
class Earliest:
    """From the oldest event there is."""


@dataclass(frozen=True)
class Last:
    """From the last `count` events on, whatever the filters."""

    count: int


@dataclass(frozen=True)
class Since:
    """From the first events at or after `timestamp`, in ms since 1970."""

    timestamp: int


@dataclass(frozen=True)
class Resume:
    """From where a cursor stands."""

    positions: Mapping[TopicPartition, int]


Start = Latest | Earliest | Last | Since | Resume


@dataclass(frozen=True)
class Subscription:
    """Where to start, what to let through, and whether to tell what becomes of events on their way to collectors.

    `deliveries_since`, in ms since 1970, asks for what became since then of earlier events too.
    """

    start: Start
    filter: Filter
    deliveries: bool = True
    deliveries_since: int | None = None
    topics: tuple[str, ...] = (EVENTS_TOPIC,)

    def as_json(self) -> dict[str, object]:
        """The subscription as it was understood, for the reader to see."""
        return {
            "from": _start_text(self.start),
            "filters": {name: list(values) for name, values in self.filter.conditions},
            "deliveries": self.deliveries if self.deliveries_since is None else _time_text(self.deliveries_since),
            "topics": list(self.topics),
        }


def query_pairs(query: str) -> list[tuple[str, str]]:
    """The parameters of a query string. Raises FilterError when it is not one."""
    try:
        return parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS)
    except UnicodeDecodeError:
        raise FilterError("query", "is not UTF-8 once percent-decoded") from None
    except ValueError:
        raise FilterError("query", f"has more than {_MAX_PARAMETERS} parameters") from None


def parse_subscription(pairs: list[tuple[str, str]]) -> Subscription:
    """The subscription in the parameters of a URL. Raises FilterError, which names the parameter that is wrong."""
    own = {"from": "", "deliveries": ""}
    rest = [(name, value) for name, value in pairs if name not in own]
    for name, _ in rest:
        if name not in PARAMETERS:
            raise FilterError(name[:100], f"unknown; parameters are {', '.join((*own, *PARAMETERS))}")
    for name in own:
        values = [value for other, value in pairs if other == name]
        if len(values) > 1:
            raise FilterError(name, "is given twice")
        own[name] = "".join(values)
    deliveries, since = _parse_deliveries(own["deliveries"])
    return Subscription(_parse_start(own["from"]), parse_filter(rest), deliveries, since)


def _parse_deliveries(text: str) -> tuple[bool, int | None]:
    if text in ("", "true", "false"):
        return text != "false", None
    since = _parse_time(text)
    if since is None:
        raise FilterError("deliveries", f"{text[:100]!r} is none of true, false or an ISO time")
    return True, since


def _parse_start(text: str) -> Start:
    if text in ("", "latest"):
        return Latest()
    if text == "earliest":
        return Earliest()
    if _LAST.fullmatch(text):
        count = -int(text)
        if not 1 <= count <= MAX_LAST:
            raise FilterError("from", f"{text} is not between -1 and -{MAX_LAST}")
        return Last(count)
    if "~" in text:
        return _resume(text)
    timestamp = _parse_time(text)
    if timestamp is None:
        raise FilterError("from", f"{text[:100]!r} is none of latest, earliest, -N, an ISO time or a cursor")
    return Since(timestamp)


def _resume(text: str) -> Resume:
    try:
        positions = decode_cursor(text)
    except CursorError as error:
        raise FilterError("from", str(error)) from None
    for partition in positions:
        if partition.topic != EVENTS_TOPIC:
            raise FilterError("from", f"the cursor is of topic {partition.topic!r}, not {EVENTS_TOPIC!r}")
    return Resume(positions)


def _parse_time(text: str) -> int | None:
    try:
        time = datetime.fromisoformat(_BLANK_OFFSET.sub("+", text) if "T" in text else text)
        if time.tzinfo is None:
            time = time.replace(tzinfo=UTC)
        return max(0, round(time.timestamp() * 1000))
    except (ValueError, OverflowError):
        return None


def _start_text(start: Start) -> str:
    match start:
        case Latest():
            return "latest"
        case Earliest():
            return "earliest"
        case Last(count):
            return f"-{count}"
        case Since(timestamp):
            return _time_text(timestamp)
        case Resume(positions):
            return encode_cursor(positions)


def _time_text(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
