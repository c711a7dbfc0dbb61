"""How `snowbus status` looks in a terminal: a table of groups, one of collectors, and below what went wrong."""

from collections.abc import Iterable, Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from snowbus.consumers.collector_status import CollectorStatus
from snowbus.consumers.receipts import Standing
from snowbus.consumers.status import KEEPS_UP_SECONDS, State, Status

from .tables import cell, duration, line, table

_WORDS: dict[State, str] = {
    "running": "running",
    "idle": "idle",
    "waiting": "waiting for a retry",
    "stuck": "stuck for {}",
    "silent": "not heard of for {}",
    "stopped": "stopped {} ago",
    "unknown": "does not say",
    "never_committed": "never committed",
}
_STYLES: dict[State, str] = {"running": "green", "waiting": "yellow", "stuck": "red", "silent": "red", "stopped": "dim"}
_COLLECTOR_STYLES: dict[Standing | None, str] = {"up": "green", "down": "yellow", "refusing": "red"}


def status_view(
    statuses: Sequence[Status], collectors: Sequence[CollectorStatus] = (), *, notes: Iterable[str] = ()
) -> Group:
    """The tables, the last error of each line of them, and then the notes."""
    by_partition = any(status.partition is not None for status in statuses)
    rated = any(status.handled_per_second is not None for status in statuses)
    errors = [line(f"{_place(status)}: {status.last_error}") for status in statuses if status.last_error]
    errors += [line(f"{each.collector}: {each.last_error}") for each in collectors if each.last_error]
    told = [line(note, "yellow") for note in notes]
    parts: list[Table | Text] = [_table(statuses, by_partition=by_partition, rated=rated)] if statuses else []
    if collectors:
        parts += [Text(), _collector_table(collectors)]
    if errors:
        parts += [Text(), line("Last errors", "bold"), *errors]
    if told:
        parts += [Text(), *told] if parts else told
    return Group(*parts)


def state_in_words(status: Status) -> str:
    """What a group does, and in how many of the partitions where that is not what it does in all."""
    words = _WORDS[status.state].format(duration(status.state_age))
    if status.state in ("stuck", "silent") and status.state_partitions < status.partitions:
        words += f" ({status.state_partitions} of {status.partitions})"
    return words


def _table(statuses: Iterable[Status], *, by_partition: bool, rated: bool) -> Table:
    numbers = ["lag", "oldest", "in flight", "waiting", "next try"]
    if by_partition:
        numbers = ["committed", "end", *numbers]
    if rated:
        numbers += ["done/s", "new/s", "done in"]
    made = table("group", "topic", *(["partition"] if by_partition else []), "state", numbers=tuple(numbers))
    for status in statuses:
        values = [status.lag, _about(status), status.in_flight or None, status.waiting or None, _in(status.next_try_in)]
        if by_partition:
            values = [status.committed, status.end_offset, *values]
        if rated:
            values += [_rate(status.handled_per_second), _rate(status.appended_per_second), _done_in(status)]
        made.add_row(
            cell(status.group),
            cell(status.topic),
            *([cell(status.partition)] if by_partition else []),
            cell(state_in_words(status), _STYLES.get(status.state, "")),
            *map(cell, values),
        )
    return made


def _collector_table(collectors: Iterable[CollectorStatus]) -> Table:
    made = table("group", "collector", "state", numbers=("next try", "heard of"))
    for each in collectors:
        made.add_row(
            cell(each.group),
            cell(each.collector),
            cell(_collector_in_words(each), _COLLECTOR_STYLES.get(each.state, "")),
            cell(_in(each.next_try_in)),
            cell(f"{duration(each.heard_age)} ago"),
        )
    return made


def _collector_in_words(status: CollectorStatus) -> str:
    """How a collector stands, and to how many of those who deliver, if they differ."""
    if status.state in (None, "untried"):
        return status.state or ""
    words = f"{status.state} for {duration(status.state_age)}"
    return words if status.state_members == status.members else f"{words} ({status.state_members} of {status.members})"


def _place(status: Status) -> str:
    partition = "" if status.partition is None else f"/{status.partition}"
    return f"{status.group}, {status.topic}{partition}"


def _about(status: Status) -> str:
    return "?" if status.lag and status.oldest_age is None else duration(status.oldest_age)


def _in(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"in {duration(seconds)}" if seconds else "now"


def _rate(rate: float | None) -> str:
    if rate is None:
        return ""
    return f"{rate:,.0f}" if rate >= 10 or not rate else f"{rate:.1f}"


def _done_in(status: Status) -> str:
    """When the backlog is done with; in words where it never will be as things go."""
    handled, appended = status.handled_per_second, status.appended_per_second
    if status.backlog_done_in is not None:
        return duration(status.backlog_done_in)
    if handled is None or appended is None or not status.lag or status.lag <= KEEPS_UP_SECONDS * handled:
        return ""
    return "grows" if appended > handled else "never"
