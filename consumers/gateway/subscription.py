"""What a reader asks for, from the query string of its URL."""

from dataclasses import dataclass
from typing import get_args
from urllib.parse import parse_qsl

from snowbus.bus.errors import FilterError, StartError
from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.filters import PARAMETERS, Filter, parse_filter
from snowbus.bus.start import Earliest, Latest, Resume, Since, Start, parse_start, parse_time, start_text

from ..websocket_protocol import GROUP_OPTIONS, Policy
from .rights import EVERY_RIGHT, Rights

_MAX_PARAMETERS = 200
_NOT_IN_A_GROUP = ("deliveries", "policy")
_LONGEST_GROUP_NAME = 200
_LONGEST_ACK_TIMEOUT = 86_400.0


@dataclass(frozen=True)
class GroupTerms:
    """The durable group that a connection is in, how many events it may have that it has not acknowledged, and for how
    long, in seconds.
    """

    name: str
    max_in_flight: int = 100
    ack_timeout: float = 60.0


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
    group: GroupTerms | None = None

    def as_json(self) -> dict[str, object]:
        """The subscription as it was understood, for the reader to see."""
        shown: dict[str, object] = {
            "from": start_text(self.start),
            "filters": {name: list(values) for name, values in self.filter.conditions},
            "deliveries": self.deliveries
            if self.deliveries_since is None
            else start_text(Since(self.deliveries_since)),
            "topics": list(self.topics),
            "policy": self.policy,
            "masked": self.rights.mask.names if self.rights.mask else [],
        }
        if self.group is not None:
            shown |= {
                "group": self.group.name,
                "max_in_flight": self.group.max_in_flight,
                "ack_timeout": self.group.ack_timeout,
            }
        return shown


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
    group = _parse_group(pairs)
    own = {"from": "", "deliveries": "", "policy": "", "group": "", **dict.fromkeys(GROUP_OPTIONS, "")}
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
    start, wanted = _parse_start(own["from"], now), rights.narrow(parse_filter(rest))
    if group is not None:
        rights.check_group(group.name)
        if not isinstance(start, Latest | Earliest):
            raise FilterError("from", "is latest or earliest for a group: where a new one begins; others go on")
        deliveries = False
    policy = _parse_policy(own["policy"])
    return Subscription(start, wanted, deliveries, since, policy=policy, rights=rights, group=group)


def _parse_policy(text: str) -> Policy:
    for policy in get_args(Policy):
        if text == policy:
            return policy  # type: ignore[no-any-return]
    if not text:
        return "pause"
    raise FilterError("policy", f"{text[:100]!r} is none of {', '.join(get_args(Policy))}")


def _parse_group(pairs: list[tuple[str, str]]) -> GroupTerms | None:
    given = dict(pairs)
    if "group" not in given:
        for name in GROUP_OPTIONS:
            if name in given:
                raise FilterError(name, "is for a group: say group=NAME, too")
        return None
    for name in _NOT_IN_A_GROUP:
        if name in given:
            raise FilterError(name, "is not for a connection of a group")
    name = given["group"]
    if not name.strip() or not name.isprintable() or len(name) > _LONGEST_GROUP_NAME:
        raise FilterError("group", f"{name[:40]!r} is no name: it has 1 to {_LONGEST_GROUP_NAME} printable characters")
    most = given.get("max_in_flight") or str(GroupTerms.max_in_flight)
    if not (most.isascii() and most.isdigit() and len(most) < 10 and int(most)):
        raise FilterError("max_in_flight", f"{most[:40]!r} is not a whole number from 1 on")
    try:
        ack_timeout = float(given.get("ack_timeout") or GroupTerms.ack_timeout)
    except ValueError:
        ack_timeout = 0.0
    if not 0.0 < ack_timeout <= _LONGEST_ACK_TIMEOUT:
        what = f"{given['ack_timeout'][:40]!r} is not a number of seconds, above 0 and up to {_LONGEST_ACK_TIMEOUT:.0f}"
        raise FilterError("ack_timeout", what)
    return GroupTerms(name, int(most), ack_timeout)


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
