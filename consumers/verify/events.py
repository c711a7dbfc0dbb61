"""The events of one test: a bus in memory to track to, and what may be asked of the events on it."""

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from snowbus.bus.acceptance import accept
from snowbus.bus.event import EVENTS_TOPIC, ProducerRecord
from snowbus.bus.log.memory import MemoryLog, named_store
from snowbus.bus.log.memory_store import Store
from snowbus.bus.payload import as_payload, payload_from_plain_json
from snowbus.bus.version import producer_name

from .matching import is_right
from .outcome import Outcome
from .parsing import parse_expectation, parse_never
from .plan import Plan
from .plan_text import as_plan
from .report import report_lines
from .seen import Seen, seen_record
from .shape import check_shape
from .verification import Verification

_SHOWN = 50


class MemoryEmitter:
    """Puts events in memory at once: `Tracker("ns", [events.emitter])`, of the official tracker.

    An event that is none raises PayloadError where it is tracked.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()

    def input(self, payload: Mapping[str, Any]) -> None:
        """Take one event."""
        self.append(accept(as_payload(payload), now=_now(), producer=producer_name("testing")))

    def append(self, record: ProducerRecord) -> None:
        """Take one event as it stands on the log."""
        with self._lock:
            self._store.append(EVENTS_TOPIC, [record], now=_now())

    def flush(self) -> None:
        """Nothing waits."""

    async_flush = sync_flush = flush


class Events:
    """The events of one test.

    `emitter` is for the official tracker; `url` (`memory:…`) for whatever is told which log to write to; `log` is that
    log, for what takes one, such as the ASGI app of ingest. All are in this process. What is asked is asked of the
    events that are there by now: flush what tracks from a thread of its own. What does not hold raises AssertionError
    with the report.
    """

    def __init__(self) -> None:
        name = f"events-{uuid4()}"
        self._store = named_store(name)
        self._store.grow(EVENTS_TOPIC, 1)  # one partition: events stay in the order in which they came
        self._begin = 0
        self.url = f"memory:{name}"
        self.log = MemoryLog(store=self._store, url=self.url)
        self.emitter = MemoryEmitter(self._store)

    def publish(self, event: Mapping[str, Any] | ProducerRecord) -> None:
        """Put an event there: as `snowbus publish` takes it, or made by `snowbus.consumers.testing.event`.

        Raises PayloadError when it is none.
        """
        if not isinstance(event, ProducerRecord):
            event = accept(payload_from_plain_json(event), now=_now(), producer=producer_name("testing"))
        self.emitter.append(event)

    @property
    def all(self) -> list[Seen]:
        """The events that have come, in order."""
        (partition,) = self._store.partitions(EVENTS_TOPIC)
        return [seen_record(record) for record in list(self._store.records[partition])[self._begin :]]

    def clear(self) -> None:
        """Forget those that have come."""
        self._begin += len(self.all)

    def expect(self, name: str = "", /, **wanted: Any) -> list[Seen]:
        """Assert that such an event came, and return all that fit.

        `name` and the keywords are those of an item of `events` in a plan: `event_name, schema, app_id, where, data,
        entities, valid, count` and so on. Others of its kind may have come, too, unless `others="wrong"`.
        """
        __tracebackhide__ = True
        item = _item(name, {"others": "ignored", **wanted}, "event")
        expectation = parse_expectation(item)
        self._check(Plan(name="expected", expectations=(expectation,)))
        return [seen for seen in self.all if is_right(expectation.wanted, seen)]

    def never(self, name: str = "", /, **wanted: Any) -> None:
        """Assert that no such event came; the keywords are those of an item of `never` in a plan."""
        __tracebackhide__ = True
        self._check(Plan(name="never", never=(parse_never(_item(name, wanted, "never_event")),)))

    def none_invalid(self) -> None:
        """Assert that every event that came is one, with parameters of the types of the tracker protocol."""
        __tracebackhide__ = True
        self.never(valid=False)

    def fits(self, plan: Plan | Mapping[str, Any] | str | Path) -> Outcome:
        """Assert that the events are what a plan wants: a file, or the same as data. Raises PlanError."""
        __tracebackhide__ = True
        return self._check(as_plan(plan))

    def _check(self, plan: Plan) -> Outcome:
        __tracebackhide__ = True
        verification = Verification(plan)
        for seen in self.all:
            verification.see(seen)
        outcome = verification.outcome()
        _assert_fits(outcome, self.all)
        return outcome


def _item(name: str, wanted: Mapping[str, Any], part: str) -> dict[str, Any]:
    """An item of a plan, from keywords. Raises PlanError."""
    item = {key: _as_list(value) for key, value in wanted.items() if value is not None}
    if name:
        item["name"] = name
    check_shape(item, part)
    return item


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _assert_fits(outcome: Outcome, there: Sequence[Seen]) -> None:
    __tracebackhide__ = True
    if not outcome.fits:
        lines = [*report_lines(outcome), "  what came:"]
        lines += [f"      {seen.name} {seen.schema}".rstrip() for seen in there[:_SHOWN]]
        lines += [f"      and {len(there) - _SHOWN} more"] if len(there) > _SHOWN else []
        raise AssertionError("\n".join(lines))


def _now() -> int:
    return time.time_ns() // 1_000_000
