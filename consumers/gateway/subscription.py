"""What a reader asks for, from the query string of its URL."""

from dataclasses import dataclass
from urllib.parse import parse_qsl

from snowbus.bus.errors import FilterError, StartError
from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.filters import PARAMETERS, Filter, parse_filter
from snowbus.bus.start import Latest, Resume, Start, parse_start, start_text

_MAX_PARAMETERS = 200


@dataclass(frozen=True)
class Subscription:
    """Where to start, and what to let through."""

    start: Start
    filter: Filter
    topics: tuple[str, ...] = (EVENTS_TOPIC,)

    def as_json(self) -> dict[str, object]:
        """The subscription as it was understood, for the reader to see."""
        return {
            "from": start_text(self.start),
            "filters": {name: list(values) for name, values in self.filter.conditions},
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


def parse_subscription(pairs: list[tuple[str, str]], *, now: int) -> Subscription:
    """The subscription that the parameters of a URL mean `now` (ms since 1970). Raises FilterError, which names the
    parameter that is wrong.
    """
    starts = [value for name, value in pairs if name == "from"]
    rest = [(name, value) for name, value in pairs if name != "from"]
    for name, _ in rest:
        if name not in PARAMETERS:
            raise FilterError(name[:100], f"unknown; parameters are from, {', '.join(PARAMETERS)}")
    if len(starts) > 1:
        raise FilterError("from", "is given twice")
    return Subscription(_parse_start(starts[0], now) if starts else Latest(), parse_filter(rest))


def _parse_start(text: str, now: int) -> Start:
    try:
        start = parse_start(text, now=now)
    except StartError as error:
        raise FilterError("from", str(error)) from None
    for partition in start.positions if isinstance(start, Resume) else ():
        if partition.topic != EVENTS_TOPIC:
            raise FilterError("from", f"the cursor is of topic {partition.topic!r}, not {EVENTS_TOPIC!r}")
    return start
