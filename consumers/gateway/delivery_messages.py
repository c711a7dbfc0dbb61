"""The messages that tell readers what became of events: of one report, of what a group committed, of all that is held.

Times are ISO texts, as in the gateway's other messages. A reader may be told the same twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from snowbus.bus.event import TopicPartition
from snowbus.bus.shown_urls import without_secrets
from snowbus.bus.tracker_protocol import timestamp_from_ms

from ..receipts import CollectorState, OffsetRange, Report
from .delivery_store import DeliveryStore, Lane, Step, in_order, step_of

Message = dict[str, Any]

_MOST_STEPS_A_MESSAGE = 300
_ERROR_CHARACTERS = 200


def report_message(report: Report, topic: str, *, with_collectors: bool) -> Message:
    """What a report tells of the events of a topic, and, where that is new, of how its collectors stand."""
    receipts = [
        _receipt(
            TopicPartition(receipt.topic, receipt.partition),
            in_order(receipt.offsets),
            step_of(receipt, report.time),
        )
        for receipt in report.receipts
        if receipt.topic == topic
    ]
    collectors = report.collectors if with_collectors else ()
    return _message(report.group, report.time, receipts, collectors)


def commits_message(group: str, offsets: Mapping[TopicPartition, int], *, now: int) -> Message:
    """What a group is done with: everything before its committed offsets. `now` is in ms since 1970."""
    return _message(group, now, _done(offsets, now))


class Window(NamedTuple):
    """Which events a reader is told of: those from `starts` on, a partition that it does not name from its beginning,
    and those that something was told of since a time (ms since 1970).

    Without starts it is only the latter, without a time only the former.
    """

    starts: Mapping[TopicPartition, int] | None
    since: int | None = None


class Snapshot:
    """Tells one reader all that is held, message by message. What is told to all meanwhile may come once more."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._groups: list[str] | None = None
        self._lane: Lane | None = None
        self._offset = 0

    def next_message(self, store: DeliveryStore, *, now: int) -> Message | None:
        """The next message, or None when everything is told. `now` is in ms since 1970."""
        if self._groups is None:
            self._groups = sorted(store.groups, reverse=True)
        while self._groups:
            name = self._groups.pop()
            if group := store.groups.get(name):
                return _message(name, group.heard or now, _done(group.committed, now), group.collectors)
        for lane in store.lanes():
            if self._lane is None or lane >= self._lane:
                if lane != self._lane:
                    self._lane, self._offset = lane, self._start(lane)
                if receipts := self._receipts(store, lane):
                    return _message(lane.group, store.groups[lane.group].heard, receipts)
        return None

    def _start(self, lane: Lane) -> int:
        starts, since = self._window
        return 0 if starts is None or since is not None else starts.get(lane.partition, 0)

    def _receipts(self, store: DeliveryStore, lane: Lane) -> list[Message]:
        """The next receipts of a lane; those of an event's first steps come first."""
        starts, since = self._window
        start = None if starts is None else starts.get(lane.partition, 0)
        steps: dict[tuple[int, Step], list[OffsetRange]] = {}
        count = 0
        for first, last, story in store.told(lane, self._offset):
            self._offset = last + 1
            if (start is None or last < start) and (since is None or story[-1].time < since):
                continue
            for place, step in enumerate(story):
                steps.setdefault((place, step), []).append((first, last))
            count += len(story)
            if count >= _MOST_STEPS_A_MESSAGE:
                break
        in_turn = sorted(steps.items(), key=lambda item: item[0][0])
        return [_receipt(lane.partition, in_order(offsets), step) for (_, step), offsets in in_turn]


def _message(group: str, time: int, receipts: Sequence[Message], collectors: Iterable[CollectorState] = ()) -> Message:
    return {
        "type": "delivery",
        "group": group,
        "time": timestamp_from_ms(time),
        "receipts": receipts,
        "collectors": [_collector(state) for state in collectors],
    }


def _receipt(partition: TopicPartition, offsets: Sequence[OffsetRange], step: Step) -> Message:
    return {
        "topic": partition.topic,
        "partition": partition.partition,
        "offsets": offsets,
        **step._asdict(),
        "time": timestamp_from_ms(step.time),
    }


def _done(offsets: Mapping[TopicPartition, int], now: int) -> list[Message]:
    return [
        {
            "topic": partition.topic,
            "partition": partition.partition,
            "offsets": [(0, offset - 1)],
            "status": "done",
            "attempts": None,
            "http_status": None,
            "error": "",
            "time": timestamp_from_ms(now),
        }
        for partition, offset in sorted(offsets.items())
        if offset > 0
    ]


def _collector(state: CollectorState) -> Message:
    return {
        "url": without_secrets(state.url),
        "state": state.state,
        "since": timestamp_from_ms(state.since),
        "error": state.error[:_ERROR_CHARACTERS],
        "next_try": None if state.next_try is None else timestamp_from_ms(state.next_try),
    }
