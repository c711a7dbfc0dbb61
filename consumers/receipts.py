"""Receipts: what became of events on their way to the collector, as ranges of offsets on the topic of deliveries.

A record of that topic is one report, a JSON object, with the group as its key:

    {"group": "collector", "time": 1795558695823, "sender": "snowbus-collect/0.1.0@host:4711",
     "receipts": [{"topic": "snowbus.events", "partition": 0, "offsets": [[120, 187], [190, 190]],
                   "status": "delivered", "attempts": 1, "http_status": 200, "error": ""}],
     "collectors": [{"url": "https://collector.example", "state": "up", "since": 1795558000000,
                     "error": "", "next_try": null}]}

Times are in ms since 1970. `sender` is the process that tells it. `offsets` are ranges, both ends included. `status` is
delivered, retrying or dead; of several receipts for an event the last counts. `http_status` is null when there was no
answer.
"""

from collections.abc import Iterable
from itertools import groupby
from operator import attrgetter
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from snowbus.bus.event import ProducerRecord, Record

Status = Literal["delivered", "retrying", "dead"]
Standing = Literal["untried", "up", "down", "refusing"]
OffsetRange = tuple[int, int]

_PLACE = attrgetter("topic", "partition")
_MOST_RANGES = 5_000
_ERROR_CHARACTERS = 200


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Receipt(_Frozen):
    """What became of ranges of offsets of one partition; both ends of a range are included."""

    topic: str
    partition: Annotated[int, Field(ge=0)]
    offsets: tuple[OffsetRange, ...]
    status: Status
    attempts: int = 1
    http_status: int | None = None
    error: str = ""


class CollectorState(_Frozen):
    """How a collector stood: untried, before it has answered anything; up; down, when waiting may help; or refusing,
    when only another configuration will.

    `since` and `next_try` are in ms since 1970.
    """

    url: str
    state: Standing
    since: int
    error: str = ""
    next_try: int | None = None


class Report(_Frozen):
    """What one member of a group has to tell at a time (ms since 1970)."""

    group: str
    time: int
    sender: str = ""
    receipts: tuple[Receipt, ...] = ()
    collectors: tuple[CollectorState, ...] = ()


def report_record(report: Report) -> ProducerRecord:
    """The record that carries a report."""
    return ProducerRecord(report.group.encode(), report.model_dump_json().encode(), (), report.time)


def read_report(record: Record) -> Report | None:
    """The report in a record; None when it is none that we understand."""
    try:
        return Report.model_validate_json(record.value)
    except ValidationError:
        return None


class Outcome(NamedTuple):
    """What a receipt says of each of its events."""

    status: Status
    attempts: int = 1
    http_status: int | None = None
    error: str = ""


class PendingReceipts:
    """Gathers what becomes of events until it is reported."""

    def __init__(self) -> None:
        self._offsets: dict[tuple[str, int, Outcome], list[int]] = {}

    def __len__(self) -> int:
        """How many outcomes there are."""
        return sum(map(len, self._offsets.values()))

    def add(self, records: Iterable[Record], outcome: Outcome) -> None:
        """This became of these records."""
        kept = outcome._replace(error=outcome.error[:_ERROR_CHARACTERS])
        for (topic, partition), run in groupby(records, key=_PLACE):
            offsets = self._offsets.setdefault((topic, partition, kept), [])
            offsets.extend([record.offset for record in run])

    def take(self) -> list[Receipt]:
        """The receipts for all of them, at most so many ranges that a record can carry them; the others stay.

        What is retried comes before what became of it in the end.
        """
        receipts: list[Receipt] = []
        room = _MOST_RANGES
        for key in sorted(self._offsets, key=_in_the_end):
            topic, partition, outcome = key
            ranges = _ranges(sorted(self._offsets[key]))
            told, left = ranges[:room], ranges[room:]
            room -= len(told)
            if told:
                receipts.append(Receipt(topic=topic, partition=partition, offsets=tuple(told), **outcome._asdict()))
            if left:
                self._offsets[key] = [offset for first, last in left for offset in range(first, last + 1)]
            else:
                del self._offsets[key]
        return receipts

    def put_back(self, receipts: Iterable[Receipt]) -> None:
        """Receipts could not be reported."""
        for receipt in receipts:
            outcome = Outcome(receipt.status, receipt.attempts, receipt.http_status, receipt.error)
            offsets = self._offsets.setdefault((receipt.topic, receipt.partition, outcome), [])
            offsets.extend(offset for first, last in receipt.offsets for offset in range(first, last + 1))

    def forget_beyond(self, most: int) -> None:
        """Keep at most this many outcomes; those of events that are still to be retried go first."""
        if len(self) > most:
            self._offsets = {key: offsets for key, offsets in self._offsets.items() if _in_the_end(key)}
        for key in list(self._offsets):
            if len(self) <= most:
                return
            del self._offsets[key]


def _in_the_end(key: tuple[str, int, Outcome]) -> bool:
    return key[2].status != "retrying"


def _ranges(offsets: Iterable[int]) -> list[OffsetRange]:
    """Offsets in order, none of them or several equal, as ranges."""
    ranges: list[OffsetRange] = []
    first = last = -2
    for offset in offsets:
        if offset > last + 1:
            if last >= 0:
                ranges.append((first, last))
            first = offset
        last = offset
    return [*ranges, (first, last)] if last >= 0 else ranges
