"""What a collector's answer means for the events that were sent: delivered, again later, in smaller parts, dead,
denied, or stop and say so.
"""

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import NamedTuple

LONGEST_RETRY_AFTER = 3600.0
"""The most seconds of a Retry-After that are obeyed."""

_CONFIGURATION = {
    401: "it asks for credentials",
    404: "there is no collector at this URL",
    405: "what is at this URL takes no POST",
    407: "a proxy asks for credentials",
    411: "something on the way takes the length from our requests",
    414: "the URL is longer than it takes",
    417: "it finds an expectation, and we send none",
    421: "what listens there does not answer for this name",
    426: "it wants another protocol",
    431: "the headers are larger than it takes (collect_headers)",
    501: "what is at this URL knows no POST",
    505: "it does not speak HTTP/1.1",
    511: "a network on the way asks to sign in",
}
"""No event can be to blame for these: what they speak of is the same in every request."""

_REDIRECT = "it redirects, and a POST does not survive that; name the URL that it leads to"
_HEALING = frozenset({408, 425, 429})


class Answer(NamedTuple):
    """An HTTP answer: its status, its Retry-After ('' when it has none) and how its body begins."""

    status: int
    retry_after: str = ""
    excerpt: str = ""


class NoAnswer(NamedTuple):
    """There was no answer, or no whole one, and why. What was sent may have arrived all the same.

    `configuration` says that waiting alone will not heal it: a certificate that is not for this host, say.
    """

    error: str
    configuration: bool = False


@dataclass(frozen=True, slots=True)
class Delivered:
    """The collector has the events."""


@dataclass(frozen=True, slots=True)
class Retry:
    """It may heal: send the same again, after so many seconds when the collector said how many."""

    reason: str
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Split:
    """Something among the events is not taken: send them in two parts."""

    reason: str


@dataclass(frozen=True, slots=True)
class Dead:
    """The one event that was sent will never be taken."""

    reason: str
    status: int
    response: str


@dataclass(frozen=True, slots=True)
class Stop:
    """No event is at fault but the configuration, here or there: say so, and try again now and then.

    `supposed` says that it is gathered from many refusals, none of which said so.
    """

    reason: str
    supposed: bool = False


@dataclass(frozen=True, slots=True)
class Denied:
    """It forbids this: a firewall that reads along means one of the events, and anything else all that we send.

    `denials` counts how often this event has been denied alone, this time included; 0 where there are several.
    """

    reason: str
    denials: int


Verdict = Delivered | Retry | Split | Dead | Stop | Denied


def judge(outcome: Answer | NoAnswer, *, events: int, denials: int = 0, now: float) -> Verdict:
    """What an outcome means when so many events were sent, or one that had been denied alone so many times; `now` is in
    seconds since 1970, for a Retry-After that is a date.

    An event dies only of a 4xx that it may be the cause of, and only when it was sent alone. Whatever else is not a
    2xx, a status that no standard knows among them, leaves the events where they are.
    """
    if isinstance(outcome, NoAnswer):
        return Stop(outcome.error) if outcome.configuration else Retry(outcome.error)
    status = outcome.status
    if 200 <= status < 300:
        return Delivered()
    if status == 403:
        return Denied("HTTP 403: it forbids us to send this", denials + 1 if events == 1 else 0)
    if status in _CONFIGURATION or 300 <= status < 400:
        return Stop(f"HTTP {status}: {_CONFIGURATION.get(status, _REDIRECT)}")
    if status in _HEALING or not 400 <= status < 500:
        return Retry(f"HTTP {status}", retry_after_seconds(outcome.retry_after, now))
    reason = f"the collector answered {status}"
    return Split(reason) if events > 1 else Dead(reason, status, outcome.excerpt)


def retry_after_seconds(value: str, now: float) -> float | None:
    """The seconds in a Retry-After, which may be a number or a date (RFC 9110, 10.2.3); None for anything else."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(LONGEST_RETRY_AFTER, float(value))
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(LONGEST_RETRY_AFTER, max(0.0, moment.timestamp() - now))
