"""The collector consumer's handler: sends its records in one request, and says what the answer means for them."""

import time
from collections import Counter
from collections.abc import Sequence
from weakref import WeakKeyDictionary

from snowbus.bus import tracing
from snowbus.bus.clock import now_ms
from snowbus.bus.collector.batches import MAX_BODY_BYTES, Outgoing, Refused, body_of, prepare
from snowbus.bus.collector.verdicts import Answer, Dead, Delivered, Denied, NoAnswer, Split, Stop, Verdict, judge
from snowbus.bus.collector.verdicts import Retry as Again
from snowbus.bus.errors import SnowbusError
from snowbus.bus.event import Record as BusRecord
from snowbus.bus.metrics import Metrics
from snowbus.bus.traceparent import request_headers

from ..intents import DeadLetter, Hold, Retry
from ..receipts import Outcome, PendingReceipts, Status
from ..record import Record
from .announcing import Announcer
from .collectors import Attempt, Collectors, Wait

_FAILURES_IN_A_ROW = 3
_WHILE_ANOTHER_PROBES_SECONDS = 0.1


class NotTogetherError(SnowbusError):
    """These records cannot go in one request; the runner calls again with each half of them."""


class Delivery:
    """Sends records of one call in one request.

    When it returns, a collector has them. A collector that fails three times in a row, or says how long it wants to be
    left alone, is away: another one gets the request, and when none is left, everything is held. A failure before that
    puts off its own records alone. What the collector will not take is halved by the runner, down to the guilty event,
    which becomes a dead letter, or is put off where it was denied; a collector that refuses one after the other, and
    takes none, is away.
    """

    def __init__(self, collectors: Collectors, *, max_bytes: int, metrics: Metrics, receipts: PendingReceipts) -> None:
        self._collectors = collectors
        self._max_bytes = max_bytes
        self._metrics = metrics
        self._receipts = receipts
        self._announcer = Announcer()
        self._failures: Counter[str] = Counter()
        self._denials: WeakKeyDictionary[Record, int] = WeakKeyDictionary()  # how often each was denied alone

    @property
    def refusal(self) -> str:
        """Why the configuration, here or at the collectors, keeps events from them; empty when it does not."""
        outage = self._collectors.outage
        return outage.reason if outage is not None and outage.configuration else ""

    async def __call__(self, records: Sequence[Record]) -> None:
        """Deliver records. Raises Retry, Hold, DeadLetter, NotTogetherError."""
        events = self._prepared(records)
        reason = ""
        while True:
            body = self._body(records, events)
            attempt = self._pick(reason)
            if attempt.alone and len(records) > 1:
                self._collectors.give_up(attempt)
                raise NotTogetherError("while the collector refuses, it is tried with one event")
            outcome, verdict = await self._send(body, attempt, records)
            http_status = _status(outcome)
            match verdict:
                case Delivered():
                    self._metrics.collect_delivered.inc(len(records))
                    oldest = min(record.timestamp for record in records)
                    self._metrics.collect_delivery_seconds.observe(max(0.0, time.time() - oldest / 1000))
                    self._note(records, "delivered", http_status)
                    return
                case Split(reason):
                    raise NotTogetherError(reason)
                case Dead(reason, _, response):
                    self._note(records, "dead", http_status, reason)
                    raise DeadLetter(reason, status=http_status, response=response)
                case Denied(reason) if len(records) > 1:
                    raise NotTogetherError(reason)
                case Denied(reason):
                    self._denials[records[0]] = verdict.denials
                    self._note(records, "retrying", http_status, reason)
                    raise Retry(reason, delay=self._collectors.put_off(attempt, verdict))
                case Again(reason) | Stop(reason):
                    self._note(records, "retrying", http_status, reason)
                    if attempt.collector.outage is None:
                        raise Retry(reason, overloaded=True)

    def _prepared(self, records: Sequence[Record]) -> list[Outgoing]:
        """The records as events to send. Raises DeadLetter, NotTogetherError."""
        events: list[Outgoing] = []
        denials = self._denials if len(self._denials) else ()  # to look into it costs 1 % of all
        for record in records:
            prepared = prepare(record.raw)
            if isinstance(prepared, Refused):
                if len(records) > 1:
                    raise NotTogetherError(prepared.reason)
                self._note(records, "dead", None, prepared.reason)
                raise DeadLetter(prepared.reason)
            if prepared.alone and len(records) > 1:
                raise NotTogetherError("one of them would make a bad row of the others")
            if record in denials and len(records) > 1:
                raise NotTogetherError("one of them is denied alone")
            events.append(prepared)
        return events

    def _body(self, records: Sequence[Record], events: Sequence[Outgoing]) -> bytes:
        """The body of a request with events. Raises DeadLetter, NotTogetherError."""
        body = body_of(events, now_ms())
        if len(body) > self._max_bytes and len(events) > 1:
            raise NotTogetherError("together they are too large")
        if len(body) > MAX_BODY_BYTES:
            reason = f"too large: no collector takes a body over {MAX_BODY_BYTES} bytes, and it would be {len(body)}"
            self._note(records, "dead", None, reason)
            raise DeadLetter(reason)
        return body

    def _pick(self, reason: str) -> Attempt:
        """Where the request goes. Raises Hold when no collector is to be tried now."""
        now = time.monotonic()
        choice = self._collectors.pick(now)
        if isinstance(choice, Wait):
            outage = self._collectors.outage
            why = reason or (outage.reason if outage is not None else "no collector is to be tried now")
            wait = _WHILE_ANOTHER_PROBES_SECONDS if choice.until is None else max(0.0, choice.until - now)
            raise Hold(why, delay=wait)
        return choice

    async def _send(
        self, body: bytes, attempt: Attempt, records: Sequence[Record]
    ) -> tuple[Answer | NoAnswer, Verdict]:
        """Send a body with records; returns what came back, and what it means, which the collectors know then."""
        metrics, collector = self._metrics, attempt.collector
        metrics.collect_batch_events.observe(len(records))
        metrics.collect_batch_bytes.observe(len(body))
        try:
            with metrics.collect_in_flight.track_inprogress(), metrics.collect_seconds.labels(collector.name).time():
                trace = tracing.onward(record.traceparent for record in records)
                outcome = await collector.sender.post(body, request_headers(trace))
            metrics.collect_requests.labels(collector.name, _status(outcome) or 0).inc()
            denials = self._denials.get(records[0], 0)
            judged = judge(outcome, events=len(records), denials=denials, now=time.time())
            verdict = self._collectors.weigh(attempt, judged)
            self._settle(attempt, verdict)
        finally:
            self._collectors.give_up(attempt)
        return outcome, verdict

    def _settle(self, attempt: Attempt, verdict: Verdict) -> None:
        """Tell the collectors what came of an attempt; a failure that may be by chance is none, until it repeats."""
        name = attempt.collector.name
        if not isinstance(verdict, Again | Stop):
            self._failures.pop(name, None)
        elif isinstance(verdict, Again) and verdict.after is None and attempt.collector.outage is None:
            self._failures[name] += 1
            if self._failures[name] < _FAILURES_IN_A_ROW:
                return
        now = time.monotonic()
        change = self._collectors.settle(attempt, verdict, now)
        if not attempt.collector.untried:
            self._metrics.collect_collector_up.labels(name).set(attempt.collector.outage is None)
        if change is not None:
            self._announcer.say(change, now)

    def _note(self, records: Sequence[Record], status: Status, http_status: int | None, error: str = "") -> None:
        by_attempt: dict[int, list[BusRecord]] = {}
        for record in records:
            by_attempt.setdefault(record.attempt, []).append(record.raw)
        for attempt, sent in by_attempt.items():
            self._receipts.add(sent, Outcome(status, attempt, http_status, error))


def _status(outcome: Answer | NoAnswer) -> int | None:
    return outcome.status if isinstance(outcome, Answer) else None
