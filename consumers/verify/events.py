"""The events of one test: a bus in memory to track to, and what may be asked of the events on it."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from snowbus.bus.clock import now_ms
from snowbus.bus.event import EVENTS_TOPIC, ProducerRecord, Record
from snowbus.bus.log.memory import MemoryLog, named_store
from snowbus.bus.log.memory_store import Store
from snowbus.bus.payload import as_payload, payload_from_plain_json
from snowbus.bus.version import producer_name

from .checking import SchemaChecks, checks_of, unchecked_of
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
    """Checks events and puts them in memory at once: `Tracker("ns", [events.emitter])`, of the official tracker.

    An event that is none raises PayloadError where it is tracked.
    """

    def __init__(self, store: Store, checks: SchemaChecks) -> None:
        self._store = store
        self._checks = checks
        self._lock = threading.Lock()

    def input(self, payload: Mapping[str, Any]) -> None:
        """Take one event."""
        self.append(self._checks.accept(as_payload(payload), producer=producer_name("testing")))

    def append(self, record: ProducerRecord) -> None:
        """Take one event as it stands on the log."""
        with self._lock:
            self._store.append(EVENTS_TOPIC, [record], now=now_ms())

    def flush(self) -> None:
        """Nothing waits."""

    async_flush = sync_flush = flush


class Events:
    """The events of one test.

    `emitter` is for the official tracker; `url` (`memory:…`) for whatever is told which log to write to; `log` is that
    log, for what takes one, such as the ASGI app of ingest. All are in this process. What is asked is asked of the
    events that are there by now: flush what tracks from a thread of its own. What does not hold raises AssertionError
    with the report.

    Events are checked as everywhere, with the registries that the file `iglu_resolver` names, also those that whoever
    put them there left unchecked. Raises ConfigurationError for a file that cannot work.
    """

    def __init__(self, *, iglu_resolver: str = "") -> None:
        name = f"events-{uuid4()}"
        self._store = named_store(name)
        self._store.grow(EVENTS_TOPIC, 1)  # one partition: events stay in the order in which they came
        self._begin = 0
        self._checks = checks_of(iglu_resolver)
        self.url = f"memory:{name}"
        self.log = MemoryLog(store=self._store, url=self.url)
        self.emitter = MemoryEmitter(self._store, self._checks)

    def publish(self, event: Mapping[str, Any] | ProducerRecord) -> None:
        """Put an event there: as `snowbus publish` takes it, or made by `snowbus.consumers.testing.event`.

        Raises PayloadError when it is none.
        """
        if isinstance(event, ProducerRecord):
            self.emitter.append(event)
        else:
            self.emitter.input(payload_from_plain_json(event))

    @property
    def all(self) -> list[Seen]:
        """The events that have come, in order."""
        return self._checks.check_all([unchecked_of(seen_record(record)) for record in self._records[self._begin :]])

    def clear(self) -> None:
        """Forget those that have come."""
        self._begin = len(self._records)

    @property
    def _records(self) -> list[Record]:
        (partition,) = self._store.partitions(EVENTS_TOPIC)
        return list(self._store.records[partition])

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
        """Assert that every event that came is one, and as its parameters' types and its schemas want it.

        With a resolver, one whose schemas could not be looked up is not taken for valid.
        """
        __tracebackhide__ = True
        self.never(valid=False)
        unchecked = [seen for seen in self.all if seen.validation == "unchecked"] if self._checks.is_strict else []
        if unchecked:
            names = ", ".join(dict.fromkeys(f"{seen.name} {seen.schema}".rstrip() for seen in unchecked[:_SHOWN]))
            raise AssertionError(f"could not be checked, as registries of their schemas gave no answer: {names}")

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
