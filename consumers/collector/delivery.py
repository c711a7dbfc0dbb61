"""The collector consumer's handler: sends its records in one request, and says what the answer means for them."""

import time
from collections.abc import Sequence

from snowbus.bus.errors import SnowbusError
from snowbus.bus.metrics import Metrics

from ..intents import DeadLetter, Hold, Retry
from ..receipts import Outcome, PendingReceipts, Status
from ..record import Record
from .batches import Outgoing, Refused, body_of, prepare, size_of
from .sender import Sender
from .verdicts import Answer, Dead, Delivered, NoAnswer, Split, Stop, Verdict, judge
from .verdicts import Retry as Again

_HOLD_AFTER = 3


class NotTogetherError(SnowbusError):
    """These records cannot go in one request; the runner calls again with each half of them."""


class Delivery:
    """Sends records of one call in one request.

    When it returns, the collector has them. What may heal is put off; when it happens three times without a success in
    between, or when the collector says how long it wants to be left alone, everything is held. What the collector will
    not take is halved by the runner, down to the guilty event, which becomes a dead letter.
    """

    def __init__(
        self,
        sender: Sender,
        *,
        max_bytes: int,
        configuration_wait: float,
        metrics: Metrics,
        receipts: PendingReceipts,
    ) -> None:
        self.refusal = ""
        """Why the configuration, here or at the collector, keeps events from it; empty when it does not."""
        self._sender = sender
        self._max_bytes = max_bytes
        self._configuration_wait = configuration_wait
        self._metrics = metrics
        self._receipts = receipts
        self._failures = 0

    async def __call__(self, records: Sequence[Record]) -> None:
        """Deliver records. Raises Retry, Hold, DeadLetter, NotTogetherError."""
        outcome, verdict = await self._send(self._prepared(records))
        status = outcome.status if isinstance(outcome, Answer) else None
        if not isinstance(verdict, Again | Stop):
            self._failures, self.refusal = 0, ""
        match verdict:
            case Delivered():
                self._metrics.collect_delivered.inc(len(records))
                self._note(records, "delivered", status)
            case Split(reason):
                raise NotTogetherError(reason)
            case Dead(reason, _, response):
                self._note(records, "dead", status, reason)
                raise DeadLetter(reason, status=status, response=response)
            case Stop(reason):
                self.refusal = reason
                self._note(records, "retrying", status, reason)
                raise Hold(reason, delay=self._configuration_wait)
            case Again(reason, after):
                self._failures += 1
                self._note(records, "retrying", status, reason)
                if after is not None or self._failures >= _HOLD_AFTER:
                    raise Hold(reason, delay=after)
                raise Retry(reason, overloaded=True)

    def _note(self, records: Sequence[Record], outcome: Status, http_status: int | None, error: str = "") -> None:
        attempts = records[0].attempt  # those of a request have been sent together, as a rule
        self._receipts.add([record.raw for record in records], Outcome(outcome, attempts, http_status, error))

    def _prepared(self, records: Sequence[Record]) -> list[Outgoing]:
        """The records as events to send. Raises DeadLetter, NotTogetherError."""
        events: list[Outgoing] = []
        for record in records:
            prepared = prepare(record.raw)
            if isinstance(prepared, Refused):
                if len(records) > 1:
                    raise NotTogetherError(prepared.reason)
                self._note(records, "dead", None, prepared.reason)
                raise DeadLetter(prepared.reason)
            events.append(prepared)
        if len(events) > 1 and size_of(events) > self._max_bytes:
            raise NotTogetherError("together they are too large")
        return events

    async def _send(self, events: Sequence[Outgoing]) -> tuple[Answer | NoAnswer, Verdict]:
        metrics = self._metrics
        body = body_of(events, time.time_ns() // 1_000_000)
        metrics.collect_batch_events.observe(len(events))
        metrics.collect_batch_bytes.observe(len(body))
        with metrics.collect_in_flight.track_inprogress(), metrics.collect_seconds.time():
            outcome = await self._sender.post(body)
        metrics.collect_requests.labels(outcome.status if isinstance(outcome, Answer) else 0).inc()
        return outcome, judge(outcome, events=len(events), now=time.time())
