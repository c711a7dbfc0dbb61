"""How collectors stand for the groups that deliver to them, from what the members of the groups report."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from .receipts import CollectorState, Report

REPORT_SECONDS = 10.0
"""Who delivers reports how the collectors stand at least so often."""

LATELY_SECONDS = 3 * REPORT_SECONDS
"""Who has told nothing for so long, while others have, is gone."""

_WORST_FIRST = ("refusing", "down", "up")


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorStatus:
    """How a collector stands for a group: as told by the members to whom it stands worst, if they differ.

    Times are in seconds: an `age` counts from then to the look, an `in` from the look to then. `state_members` of the
    `members` that told of it lately found it in the `state`, the first of them `state_age` ago; `heard_age` is how
    long ago the last of them told. `next_try_in` is None for one that is up.
    """

    group: str
    collector: str
    state: Literal["up", "down", "refusing"]
    state_members: int
    members: int
    state_age: float
    heard_age: float
    next_try_in: float | None = None
    last_error: str = ""


def collector_statuses(reports: Iterable[Report], *, now: int) -> list[CollectorStatus]:
    """How each collector stands, from reports in the order in which they came; `now` is in ms since 1970."""
    by_group: defaultdict[str, dict[str, Report]] = defaultdict(dict)
    for report in reports:
        if report.collectors:
            by_group[report.group][report.sender] = report
    statuses = []
    for group, by_sender in sorted(by_group.items()):
        heard = max(report.time for report in by_sender.values())
        found: defaultdict[str, list[CollectorState]] = defaultdict(list)
        for report in by_sender.values():
            for told in report.collectors if report.time >= heard - 1000 * LATELY_SECONDS else ():
                found[told.url].append(told)
        statuses += [_status(group, url, told, heard=heard, now=now) for url, told in found.items()]
    return statuses


def _status(group: str, url: str, told: Sequence[CollectorState], *, heard: int, now: int) -> CollectorStatus:
    state = min((each.state for each in told), key=_WORST_FIRST.index)
    these = [each for each in told if each.state == state]
    next_tries = [each.next_try for each in these if each.next_try is not None]
    return CollectorStatus(
        group=group,
        collector=url,
        state=state,
        state_members=len(these),
        members=len(told),
        state_age=_seconds(now - min(each.since for each in these)),
        heard_age=_seconds(now - heard),
        next_try_in=_seconds(min(next_tries) - now) if next_tries else None,
        last_error=next((each.error for each in reversed(these) if each.error), ""),
    )


def _seconds(ms: int) -> float:
    return max(0, ms) / 1000
