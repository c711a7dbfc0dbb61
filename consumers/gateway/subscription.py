"""What a reader asks for, from the query string of its URL."""

from dataclasses import dataclass
from typing import Literal, get_args
from urllib.parse import parse_qsl

from snowbus.bus.errors import FilterError, StartError
from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.filters import PARAMETERS, Filter, parse_filter
from snowbus.bus.start import Resume, Since, Start, parse_start, parse_time, start_text

from .rights import EVERY_RIGHT, Rights

Policy = Literal["pause", "sample", "latest", "disconnect"]

_MAX_PARAMETERS = 200


@dataclass(frozen=True)
class Subscription:
    """Where to start, what to let through, and whether to tell what becomes of events on their way to collectors.

    `policy` is what a reader wants that does not take events as fast as they come: to catch up with all of them, a
    sample of what it would be behind by, the latest, or to be disconnected.

    `deliveries_since`, in ms since 1970, asks for what became since then of earlier events too.
    """

    start: Start
    filter: Filter
    deliveries: bool = True
    deliveries_since: int | None = None
    topics: tuple[str, ...] = (EVENTS_TOPIC,)
    policy: Policy = "pause"
    rights: Rights = EVERY_RIGHT

    def as_json(self) -> dict[str, object]:
        """The subscription as it was understood, for the reader to see."""
        return {
            "from": start_text(self.start),
            "filters": {name: list(values) for name, values in self.filter.conditions},
            "deliveries": self.deliveries
            if self.deliveries_since is None
            else start_text(Since(self.deliveries_since)),
            "topics": list(self.topics),
            "policy": self.policy,
            "masked": self.rights.mask.names if self.rights.mask else [],
        }


def query_pairs(query: str) -> list[tuple[str, str]]:
    """The parameters of a query string. Raises FilterError when it is not one."""
    try:
        return parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS)
    except UnicodeDecodeError:
        raise FilterError("query", "is not UTF-8 once percent-decoded") from None
    except ValueError:
        raise FilterError("query", f"has more than {_MAX_PARAMETERS} parameters") from None


def parse_subscription(pairs: list[tuple[str, str]], *, now: int, rights: Rights = EVERY_RIGHT) -> Subscription:
    """The subscription that the parameters of a URL mean `now` (ms since 1970). Raises FilterError, which names the
    parameter that is wrong, and NotAllowedError for what goes beyond the reader's rights.
    """
    own = {"from": "", "deliveries": "", "policy": ""}
    rest = [(name, value) for name, value in pairs if name not in own]
    for name, _ in rest:
        if name not in PARAMETERS:
            raise FilterError(name[:100], f"unknown; parameters are {', '.join((*own, *PARAMETERS))}")
    for name in own:
        values = [value for other, value in pairs if other == name]
        if len(values) > 1:
            raise FilterError(name, "is given twice")
        own[name] = "".join(values)
    deliveries, since = _parse_deliveries(own["deliveries"], now)
    start, asked = _parse_start(own["from"], now), parse_filter(rest)
    policy = _parse_policy(own["policy"])
    return Subscription(start, rights.narrow(asked), deliveries, since, policy=policy, rights=rights)


def _parse_policy(text: str) -> Policy:
    for policy in get_args(Policy):
        if text == policy:
            return policy  # type: ignore[no-any-return]
    if not text:
        return "pause"
    raise FilterError("policy", f"{text[:100]!r} is none of {', '.join(get_args(Policy))}")


def _parse_deliveries(text: str, now: int) -> tuple[bool, int | None]:
    if text in ("", "true", "false"):
        return text != "false", None
    try:
        return True, parse_time(text, now=now)
    except StartError:
        raise FilterError("deliveries", f"{text[:100]!r} is none of true, false or an ISO time") from None


def _parse_start(text: str, now: int) -> Start:
    try:
        start = parse_start(text, now=now)
    except StartError as error:
        raise FilterError("from", str(error)) from None
    for partition in start.positions if isinstance(start, Resume) else ():
        if partition.topic != EVENTS_TOPIC:
            raise FilterError("from", f"the cursor is of topic {partition.topic!r}, not {EVENTS_TOPIC!r}")
    return start
