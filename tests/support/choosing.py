"""A choice among collectors, and requests that are made up."""

from collections.abc import Mapping

from snowbus.bus.collector.verdicts import Answer, Dead, Denied, NoAnswer, Retry, Stop, Verdict
from snowbus.consumers.collector.collectors import Attempt, Collectors, Patience, Wait

PATIENCE = Patience(first=1.0, maximum=4.0, failback=16.0, configuration=24.0)
AWAY = Retry("away")
FORBIDDEN = Stop("HTTP 401")
REFUSED = Dead("no", 400, "")
REFUSALS = 3
DENIED_TOGETHER = Denied("HTTP 403", 0)


def denied(denials: int = 1) -> Denied:
    """What an event that is sent alone comes to, so often by now."""
    return Denied("HTTP 403", denials)


class Unused:
    """What a collector has for a sender where nothing is sent."""

    async def post(self, body: bytes, headers: Mapping[str, str]) -> Answer | NoAnswer:
        raise AssertionError(body, headers)


def collectors(*names: str, refusals: int = REFUSALS, draw: float = 1.0) -> Collectors:
    senders = [(name, Unused()) for name in names]
    return Collectors(senders, PATIENCE, refusals=refusals, now=0.0, draw=lambda: draw)


def pick(choice: Collectors, now: float) -> Attempt:
    attempt = choice.pick(now)
    assert isinstance(attempt, Attempt)
    return attempt


def send(choice: Collectors, verdict: Verdict, now: float) -> str:
    """Send one request; the name of the collector that it went to."""
    attempt = pick(choice, now)
    choice.settle(attempt, choice.weigh(attempt, verdict), now)
    return attempt.collector.name


def weighed(choice: Collectors, verdict: Verdict, now: float) -> Verdict:
    """Send one request; what it comes to."""
    attempt = pick(choice, now)
    outcome = choice.weigh(attempt, verdict)
    choice.settle(attempt, outcome, now)
    return outcome


def refuse(choice: Collectors, now: float) -> bool:
    """Send one event, which is refused; whether it dies."""
    return weighed(choice, REFUSED, now) == REFUSED


def waiting(choice: Collectors, now: float) -> float | None:
    wait = choice.pick(now)
    assert isinstance(wait, Wait)
    return wait.until
