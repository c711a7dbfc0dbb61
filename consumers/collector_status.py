"""How collectors stand for the groups that deliver to them, from what the members of the groups report."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from .receipts import CollectorState, Report, Standing

REPORT_SECONDS = 10.0
"""Who delivers reports how the collectors stand at least so often."""

LATELY_SECONDS = 3 * REPORT_SECONDS
"""Who has told nothing for so long, while others have, is gone."""

_WORST_FIRST: tuple[Standing, ...] = ("refusing", "down", "up", "untried")


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorStatus:
    """How a collector stands for a group: as told by the members to whom it stands worst, if they differ.

    Times are in seconds: an `age` counts from then to the look, an `in` from the look to then. `state_members` of the
    `members` that told of it lately found it in the `state`, the first of them `state_age` ago; `heard_age` is how
    long ago the last of them told. `next_try_in` is None for one that is not tried again. When nobody delivers for the
    group any more, the `state` and its age are None, too.
    """

    group: str
    collector: str
    state: Standing | None
    state_members: int
    members: int
    state_age: float | None
    heard_age: float
    next_try_in: float | None = None
    last_error: str = ""


def lately(reports: Iterable[Report]) -> list[Report]:
    """The last report of each member of a group that told of its collectors, of reports in the order in which they
    came; less those of members who have told nothing for so long, while others have, that they must be gone.
    """
    last = {report.sender: report for report in reports if report.collectors}
    heard = max((report.time for report in last.values()), default=0)
    return [report for report in last.values() if report.time >= heard - 1000 * LATELY_SECONDS]


def by_collector(reports: Iterable[Report]) -> dict[str, list[CollectorState]]:
    """How each collector stands, by its URL, as each of some reports tells, with the worst first."""
    found: defaultdict[str, list[CollectorState]] = defaultdict(list)
    for report in reports:
        for told in report.collectors:
            found[told.url].append(told)
    return {url: sorted(told, key=_badness) for url, told in found.items()}


def collector_statuses(reports: Iterable[Report], *, now: int, left: Collection[str] = ()) -> list[CollectorStatus]:
    """How each collector stands, from reports in the order in which they came; `now` is in ms since 1970.

    For the groups in `left` nobody delivers any more.
    """
    by_group: defaultdict[str, list[Report]] = defaultdict(list)
    for report in reports:
        by_group[report.group].append(report)
    statuses = []
    for group, told_by_group in sorted(by_group.items()):
        last = lately(told_by_group)
        heard = max((report.time for report in last), default=0)
        found = [_status(group, told, heard=heard, now=now) for told in by_collector(last).values()]
        if group in left:
            found = [replace(each, state=None, state_members=0, state_age=None, next_try_in=None) for each in found]
        statuses += found
    return statuses


def _badness(told: CollectorState) -> tuple[int, int]:
    return _WORST_FIRST.index(told.state), told.since


def _status(group: str, told: Sequence[CollectorState], *, heard: int, now: int) -> CollectorStatus:
    worst = told[0]
    these = [each for each in told if each.state == worst.state]
    next_tries = [each.next_try for each in these if each.next_try is not None]
    return CollectorStatus(
        group=group,
        collector=worst.url,
        state=worst.state,
        state_members=len(these),
        members=len(told),
        state_age=_seconds(now - worst.since),
        heard_age=_seconds(now - heard),
        next_try_in=_seconds(min(next_tries) - now) if next_tries else None,
        last_error=next((each.error for each in these if each.error), ""),
    )


def _seconds(ms: int) -> float:
    return max(0, ms) / 1000
