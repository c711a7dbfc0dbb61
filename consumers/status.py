"""How groups stand: from what they have committed, where the topics end, and the time; it asks nobody."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

from snowbus.bus.event import RETRY_TOPIC, TopicPartition
from snowbus.bus.log.interface import Committed, Offsets, Place

from .offsets import Position
from .progress import Progress, read_position, read_progress
from .receipts import Report

State = Literal["running", "idle", "waiting", "stuck", "silent", "stopped", "unknown", "never_committed"]
"""What a group does: `waiting` is for a retry; `stuck` is in a call that should have ended long ago; `silent` has
committed nothing for SILENT_MS, and has not said that it stops; `unknown` commits without a word of how it stands.
"""

SILENT_MS = 10_000
"""Three heartbeats and a little: a consumer of ours commits every three seconds at least."""

KEEPS_UP_SECONDS = 2.0
"""What a group handles in so many seconds is no backlog."""

# Of the partitions of a topic, the one whose state comes first here tells how the whole stands.
_WORST_FIRST: tuple[State, ...] = (
    "stuck",
    "silent",
    "running",
    "waiting",
    "idle",
    "stopped",
    "unknown",
    "never_committed",
)

_NOTHING = Committed(0)
_N = TypeVar("_N", int, float)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the log tells at one time (`at`, in ms since 1970).

    `committed` has what each group has committed. Of the topics in `silent_topics` the log did not tell where they
    begin and end, with the reason. `timestamps` has what is known of the places that `oldest_places` names. `reports`
    are those of lately about deliveries, or the last there are.
    """

    at: int
    committed: Mapping[str, Mapping[TopicPartition, Committed]]
    beginnings: Offsets
    ends: Offsets
    silent_topics: Mapping[str, str] = field(default_factory=dict)
    timestamps: Mapping[Place, int] = field(default_factory=dict)
    reports: Sequence[Report] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How a group stands in a topic, or in one `partition` of it; `topic` is None for a group without commits.

    Times are in seconds: an `age` counts from then to the look, an `in` from the look to then. What is not known is
    None. `lag` counts the records that are not done; `done_ahead` those that are done behind one that is not.
    `state_partitions` of the `partitions` are in the `state`; `state_age` says for how long it is stuck, silent or
    stopped. `heard_age` is how long ago a consumer told how it stands; `in_flight`, `waiting`, `next_try_in` and
    `last_error` are from then. Rates, and when the backlog will be done with, take two looks.
    """

    group: str
    topic: str | None
    partition: int | None = None
    partitions: int
    state: State
    state_partitions: int
    state_age: float | None = None
    heard_age: float | None = None
    committed: int | None = None
    end_offset: int | None = None
    lag: int | None = None
    done_ahead: int = 0
    oldest_age: float | None = None
    in_flight: int = 0
    waiting: int = 0
    next_try_in: float | None = None
    last_error: str = ""
    handled_per_second: float | None = None
    appended_per_second: float | None = None
    backlog_done_in: float | None = None


def oldest_places(look: Look) -> frozenset[Place]:
    """Where the oldest records stand that are not done, of all groups; their timestamps tell how old they are."""
    return frozenset(
        (partition, unread.first)
        for partitions in look.committed.values()
        for partition, committed in _all_partitions(look, partitions)
        if (unread := _unread(look, partition, committed)) is not None and unread.lag
    )


def partition_statuses(look: Look) -> list[Status]:
    """How each group stands in each partition of the topics that it has committed in."""
    statuses = []
    for group, partitions in sorted(look.committed.items()):
        if not partitions:
            statuses.append(Status(group=group, topic=None, partitions=0, state="never_committed", state_partitions=0))
        statuses += [
            _partition_status(look, group, partition, committed)
            for partition, committed in _all_partitions(look, partitions)
        ]
    return statuses


def topic_statuses(statuses: Iterable[Status]) -> list[Status]:
    """How each group stands in each topic, from how it stands in the partitions.

    The topic of retries is left out where nothing waits in it: every group reads it, and there is hardly ever
    anything for one.
    """
    by_topic: defaultdict[tuple[str, str | None], list[Status]] = defaultdict(list)
    for status in statuses:
        by_topic[status.group, status.topic].append(status)
    return [
        _together(parts)
        for (_, topic), parts in by_topic.items()
        if topic != RETRY_TOPIC or any(part.lag is None or part.lag for part in parts)
    ]


def left_groups(statuses: Iterable[Status]) -> set[str]:
    """The groups in which nobody is at work: all have stopped, or are not heard of."""
    states: defaultdict[str, set[State]] = defaultdict(set)
    for status in statuses:
        states[status.group].add(status.state)
    return {
        group
        for group, those in states.items()
        if those & {"stopped", "silent"} and those <= {"stopped", "silent", "never_committed"}
    }


def with_rates(statuses: Iterable[Status], before: Iterable[Status], *, seconds: float) -> list[Status]:
    """Statuses of partitions with how fast they move, given those of a look so many seconds before."""
    known = {(status.group, status.topic, status.partition): status for status in before}
    rated = []
    for status in statuses:
        earlier = known.get((status.group, status.topic, status.partition))
        handled = appended = None
        if earlier is not None and None not in (earlier.committed, status.committed, earlier.lag, status.lag):
            handled = _rate(_finished(status) - _finished(earlier), seconds)
            appended = _rate((status.end_offset or 0) - (earlier.end_offset or 0), seconds)
        rated.append(_rated(status, handled, appended))
    return rated


@dataclass(frozen=True, slots=True)
class _Unread:
    """What a group has still to do in a partition: the first offset, how many, and how many done ones are between."""

    first: int
    lag: int
    done: int


def _all_partitions(
    look: Look, partitions: Mapping[TopicPartition, Committed]
) -> Iterator[tuple[TopicPartition, Committed | None]]:
    """The partitions of all topics in which something is committed, in order."""
    topics = {partition.topic for partition in partitions}
    known = {partition for partition in look.ends if partition.topic in topics}
    for partition in sorted(known | partitions.keys()):
        yield partition, partitions.get(partition)


def _unread(look: Look, partition: TopicPartition, committed: Committed | None) -> _Unread | None:
    """What is still to do; None when the log does not tell. Reading goes on as Reader does: what has expired, or lies
    beyond the end, is read from the earliest record on.
    """
    if partition not in look.ends or partition not in look.beginnings:
        return None
    beginning, end = look.beginnings[partition], look.ends[partition]
    position = read_position(committed) if committed is not None else Position(beginning)
    if position.offset > end:
        position = Position(beginning)
    first = start = max(beginning, position.offset)
    done = 0
    for begin, stop in position.done:
        done += max(0, min(stop, end) - max(begin, start))
        if begin <= first < stop:
            first = stop
    return _Unread(first, end - start - done, done)


def _partition_status(look: Look, group: str, partition: TopicPartition, committed: Committed | None) -> Status:
    unread = _unread(look, partition, committed)
    progress = read_progress(committed or _NOTHING)
    lag = None if unread is None else unread.lag
    state, since = _state(progress, lag, now=look.at) if committed is not None else ("never_committed", None)
    next_try = progress.next_try if progress is not None and state not in ("stopped", "silent") else None
    oldest = look.timestamps.get((partition, unread.first)) if unread is not None and unread.lag else None
    return Status(
        group=group,
        topic=partition.topic,
        partition=partition.partition,
        partitions=1,
        state=state,
        state_partitions=1,
        state_age=_age(look, since),
        heard_age=_age(look, progress.at if progress is not None else None),
        committed=committed.offset if committed is not None else None,
        end_offset=look.ends.get(partition),
        lag=lag,
        done_ahead=unread.done if unread is not None else 0,
        oldest_age=_age(look, oldest),
        in_flight=progress.in_flight if progress is not None else 0,
        waiting=progress.waiting if progress is not None else 0,
        next_try_in=None if next_try is None else max(0.0, (next_try - look.at) / 1000),
        last_error=progress.last_error if progress is not None else "",
    )


def _state(progress: Progress | None, lag: int | None, *, now: int) -> tuple[State, int | None]:
    """The state of a partition, and since when (ms) where that matters."""
    if progress is None:
        return "unknown", None
    if progress.left:
        return "stopped", progress.at
    if now - progress.at > SILENT_MS:
        return "silent", progress.at
    if progress.stuck_since is not None:
        return "stuck", progress.stuck_since
    if (progress.waiting or progress.next_try is not None) and not progress.in_flight:
        return "waiting", None
    return "running" if lag or progress.in_flight else "idle", None


def _age(look: Look, then: int | None) -> float | None:
    return None if then is None else max(0.0, (look.at - then) / 1000)


def _together(parts: Sequence[Status]) -> Status:
    """The status of a topic."""
    state = min((part.state for part in parts), key=_WORST_FIRST.index)
    these = [part for part in parts if part.state == state]
    heard = sorted((part for part in parts if part.heard_age is not None), key=lambda part: part.heard_age or 0.0)
    total = replace(
        parts[0],
        partition=None,
        partitions=sum(part.partitions for part in parts),
        state=state,
        state_partitions=sum(part.state_partitions for part in these),
        state_age=_least(part.state_age for part in these) if state == "stopped" else _most(p.state_age for p in these),
        heard_age=heard[0].heard_age if heard else None,
        committed=_sum(part.committed for part in parts),
        end_offset=_sum(part.end_offset for part in parts),
        lag=_sum(part.lag for part in parts),
        done_ahead=sum(part.done_ahead for part in parts),
        oldest_age=_most(part.oldest_age for part in parts),
        in_flight=sum(part.in_flight for part in parts),
        waiting=sum(part.waiting for part in parts),
        next_try_in=_least(part.next_try_in for part in parts),
        last_error=next((part.last_error for part in heard if part.last_error), ""),
    )
    return _rated(total, _sum(part.handled_per_second for part in parts), _sum(p.appended_per_second for p in parts))


def _finished(status: Status) -> int:
    return (status.committed or 0) + status.done_ahead


def _rate(moved: int, seconds: float) -> float | None:
    """How fast something moved; None when it was set back, which says nothing of its speed."""
    return moved / seconds if moved >= 0 and seconds > 0 else None


def _rated(status: Status, handled: float | None, appended: float | None) -> Status:
    """A status with its rates, and with when the backlog is done with, if it is one and becomes less."""
    done_in = None
    if handled is not None and appended is not None and status.lag is not None:
        gained = handled - appended
        if gained > 0 and status.lag > KEEPS_UP_SECONDS * handled:
            done_in = status.lag / gained
    return replace(status, handled_per_second=handled, appended_per_second=appended, backlog_done_in=done_in)


def _known(values: Iterable[_N | None]) -> list[_N]:
    return [value for value in values if value is not None]


def _sum(values: Iterable[_N | None]) -> _N | None:
    return sum(known[1:], known[0]) if (known := _known(values)) else None


def _most(values: Iterable[_N | None]) -> _N | None:
    return max(_known(values), default=None)


def _least(values: Iterable[_N | None]) -> _N | None:
    return min(_known(values), default=None)
